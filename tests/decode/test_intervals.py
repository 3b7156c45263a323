"""Intervals of decoding scores: what they cover, where there is none, and differences of the same trials."""

import re

import numpy as np
import pytest

from neurodyn.decode.intervals import FEW, FIXED, stretches
from neurodyn.decode.labels import Labels
from neurodyn.decode.protocol import evaluate
from neurodyn.decode.settings import Protocol
from tests.decode.recordings import recording

MINUS = re.compile(r"minus strong: (\S+) \(95 %: (\S+) to (\S+)\)")


def scored(task, decoder, trials, strength, seed, rho=0.0, **settings):
    features, labels = recording(np.random.default_rng([trials, seed]), task, trials, strength, rho)
    found = evaluate(features, labels, decoder=decoder, protocol=Protocol(shuffles=0, **settings))
    return {(score.features, score.metric): score for score in found if score.fold == "all"}


def covered(ends: list[tuple[float, float, float]]) -> float:
    """Return how often (value, low, high) hold the mean of the values."""
    value, low, high = np.array(ends).T
    return float(((low <= value.mean()) & (value.mean() <= high)).mean())


@pytest.mark.parametrize(("task", "decoder", "metric"), [("classify", "lda", "accuracy"), ("regress", "knn", "r2")])
def test_the_mean_score_and_the_mean_difference_are_covered(task, decoder, metric):
    found = [scored(task, decoder, 24, 2.0, seed, tune=False) for seed in range(60)]
    ends = [(s.value, s.ci_low, s.ci_high) for s in (one["strong", metric] for one in found)]
    said = [MINUS.search(one["weak", metric].note) for one in found]
    least = 0.95 - 3 * np.sqrt(0.95 * 0.05 / len(found))
    assert covered(ends) >= least
    assert covered([tuple(float(x) for x in one.groups()) for one in said if one]) >= least
    spread = np.std([end[0] for end in ends])
    assert (
        3 < np.mean([high - low for _, low, high in ends]) / spread < 6.5
    )  # about 2 x 1.96 to 2.26, and not much more


def test_stretches_are_neighbours_of_about_one_size():
    assert np.unique(stretches(43), return_counts=True)[1].tolist() == [5, 4, 4, 5, 4, 4, 5, 4, 4, 4]
    assert (np.diff(stretches(43)) >= 0).all()
    assert stretches(8).tolist() == list(range(8))


def test_all_correct_has_an_interval_below_and_none_above():
    score = scored("classify", "lda", 40, 40.0, 0)["strong", "accuracy"]
    assert score.value == 1
    assert 0.8 < score.ci_low < 0.98
    assert score.ci_high == 1


def test_seven_trials_have_no_interval_and_say_so():
    few = scored("regress", "ridge", 7, 1.0, 0, folds=3, gap=0)
    enough = scored("regress", "ridge", 8, 1.0, 0, folds=3, gap=0)
    assert np.isnan(few["strong", "r2"].ci_low)
    assert FEW in few["strong", "r2"].note
    assert np.isfinite(enough["strong", "r2"].ci_low)
    assert FEW not in enough["strong", "r2"].note


def test_the_difference_of_a_feature_to_itself_is_nothing():
    features, labels = recording(np.random.default_rng(1), "regress", 20, 1.0, 0.0)
    found = evaluate({"strong": features["strong"], "again": features["strong"]}, labels, protocol=Protocol(shuffles=0))
    note = next(s.note for s in found if s.features == "again" and s.metric == "mse")
    assert "minus strong: 0.000 (95 %: 0.000 to 0.000)" in note


def test_r2_of_nothing_is_as_uncertain_as_that_of_shuffled_labels():
    rng = np.random.default_rng(3)
    score = evaluate(
        rng.standard_normal((30, 8)),
        Labels(rng.standard_normal(30), np.arange(30), np.arange(30.0), "regress"),
        protocol=Protocol(shuffles=0),
    )[0]
    assert score.metric == "r2"
    assert score.ci_high - score.ci_low > 0.05


@pytest.mark.parametrize(("task", "decoder"), [("circular", "ridge"), ("circular", "knn"), ("classify", "logistic")])
def test_every_metric_lies_within_its_interval(task, decoder):
    for (_, metric), score in scored(task, decoder, 20, 2.0, 0, tune=False).items():
        assert score.ci_low < score.value < score.ci_high, metric
        assert FIXED not in score.note
