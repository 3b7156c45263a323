"""Metrics from sums equal metrics from samples; intervals cover; p is honest."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, mean_squared_error, r2_score

from neurodyn.data.circle import Circle
from neurodyn.decode.scoring import bootstrap_interval, metric_gradients, metric_values, null_summary, trial_sums


def test_regression_metrics():
    rng = np.random.default_rng(0)
    truth, guess, groups = rng.normal(size=(50, 1)), rng.normal(size=(50, 1)), np.arange(50) // 5
    sums = trial_sums("regress", truth, guess, np.full_like(truth, truth.mean()), groups, (10, 0))
    values = metric_values("regress", sums.sum(axis=0))
    assert values["r2"][0] == pytest.approx(r2_score(truth, guess))
    assert values["mse"][0] == pytest.approx(mean_squared_error(truth, guess))


def test_the_training_mean_scores_zero():
    truth = np.random.default_rng(0).normal(size=(30, 1))
    mean = np.full_like(truth, 0.7)
    sums = trial_sums("regress", truth, mean, mean, np.arange(30), (30, 0))
    assert metric_values("regress", sums.sum(axis=0))["r2"][0] == 0


def test_classification_metrics():
    rng = np.random.default_rng(1)
    truth, guess = rng.choice(3, size=(60, 1), p=[0.7, 0.2, 0.1]), rng.integers(0, 3, size=(60, 1))
    sums = trial_sums("classify", truth, guess, truth, np.arange(60) // 4, (15, 3))
    values = metric_values("classify", sums.sum(axis=0))
    assert values["accuracy"][0] == pytest.approx(accuracy_score(truth, guess))
    assert values["balanced accuracy"][0] == pytest.approx(balanced_accuracy_score(truth, guess))


@pytest.mark.parametrize("period", [360.0, 180.0])
def test_circular_metrics_are_those_of_degrees(period):
    rng = np.random.default_rng(3)
    truth, guess = period * rng.random((40, 1)), period * rng.random((40, 1))
    apart = np.abs(truth - guess)
    apart = np.minimum(apart, period - apart)
    radians = Circle(period, period).radians
    sums = trial_sums("circular", radians(truth), radians(guess), truth, np.arange(40) // 4, (10, 0), period)
    values = metric_values("circular", sums.sum(axis=0))
    assert values["error, deg"][0] == pytest.approx(apart.mean())
    assert values["mean cosine"][0] == pytest.approx(np.cos(np.deg2rad(apart * 360 / period)).mean())


def test_interval_covers_the_true_accuracy_and_respects_trials():
    rng = np.random.default_rng(2)
    covered, widths = 0, []
    for draw in range(200):
        skill = rng.beta(7, 3, size=60)  # trials differ, samples of a trial are alike
        hits = rng.random((60, 1)) < skill[:, None]
        sums = np.zeros((1, 60, 4))
        sums[0, :, :2] = np.stack([np.full(60, 4), np.full(60, 4)], axis=1)
        sums[0, :, 2:] = 4 * hits
        low, high = bootstrap_interval("classify", sums, 300, draw)["accuracy"]
        covered += low <= 0.7 <= high
        widths.append(high - low)
    assert 0.88 <= covered / 200 <= 0.99
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.sqrt(0.21 / 60), rel=0.15)  # 60 units, not 480 samples


@pytest.mark.parametrize("task", ["regress", "circular", "classify"])
def test_gradients_are_those_of_the_metrics(task):
    rng = np.random.default_rng(4)
    sums = rng.uniform(5, 9, 6) if task == "classify" else rng.uniform(1, 2, 3)
    if task == "classify":
        sums[3:] *= 0.6
    slopes = metric_gradients(task, sums)
    for k in range(sums.size):
        step = np.zeros(sums.size)
        step[k] = 1e-6
        up, down = metric_values(task, sums + step), metric_values(task, sums - step)
        for name, slope in slopes.items():
            assert slope[k] == pytest.approx(float(up[name] - down[name]) / 2e-6, rel=1e-5, abs=1e-8), name


def test_p_counts_shuffles_at_least_as_good():
    null = np.array([0.1, 0.2, 0.3, 0.4])
    mean, p, words = null_summary("accuracy", 0.3, null)
    assert (mean, p) == (pytest.approx(0.25), pytest.approx(3 / 5))
    assert null_summary("mse", 0.1, null)[1] == pytest.approx(2 / 5)
    assert null_summary("error, deg", 0.1, null)[1] == pytest.approx(2 / 5)
    assert "shuffled 95 %" in words
    assert np.isnan(null_summary("r2", 0.3, np.empty(0))[1])
