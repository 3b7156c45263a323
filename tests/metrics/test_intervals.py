"""Intervals from resampling cover as often as they say, of few samples and of neighbours that are alike, too."""

import numpy as np
import pytest
from scipy.stats import t as student

from neurodyn.metrics.intervals import alike, block_length, bootstrap_interval, long_run, widening

DRAWS = 200


def covers(count: int, rho: float, block: int) -> float:
    """Return how often the interval of a mean of normal samples, of that autocorrelation, holds the true mean, 0."""
    rng, hits = np.random.default_rng(count), 0
    for seed in range(DRAWS):
        values = rng.standard_normal(count)
        for k in range(1, count):
            values[k] = rho * values[k - 1] + np.sqrt(1 - rho**2) * values[k]
        low, high = bootstrap_interval(
            lambda index, values=values: values[index].mean(), count, block=block, resamples=300, seed=seed
        )
        hits += low < 0 < high
    return hits / DRAWS


@pytest.mark.parametrize("count", [6, 12])
def test_the_interval_of_few_samples_covers_as_it_says(count):
    assert abs(covers(count, 0.0, 1) - 0.95) < 4 * np.sqrt(0.95 * 0.05 / DRAWS)


def test_blocks_of_neighbours_that_are_alike_cover_nearly_as_they_say():
    count = 60
    assert covers(count, 0.5, block_length(count)) > 0.91
    assert covers(count, 0.0, block_length(count)) > 0.93


def test_the_interval_of_a_mean_is_that_of_students_t():
    values = np.random.default_rng(1).standard_normal(9)
    low, high = bootstrap_interval(lambda index: values[index].mean(), 9, resamples=20_000)
    width = 2 * student.ppf(0.975, 8) * values.std(ddof=1) / 3
    assert high - low == pytest.approx(width, rel=0.08)
    assert widening(10_000) == pytest.approx(1, abs=0.001)


def test_the_long_run_variance_of_autoregressive_samples():
    rho, block = 0.5, 4
    lags = np.abs(np.subtract.outer(np.arange(block), np.arange(block)))
    assert long_run(rho, block) == (pytest.approx(3), pytest.approx((rho**lags).sum() / block))
    assert long_run(0.0, 3) == (1, 1)
    assert alike(np.ones(5)) == 0
    assert alike(np.repeat(np.random.default_rng(0).normal(size=100), 10)) == pytest.approx(0.9, abs=0.01)


def test_samples_that_leave_a_statistic_without_a_finite_value_do_not_spoil_its_interval():
    square = np.array([0.0, 0.0, 4.0, 0.0, 0.0, 0.0])  # without the third there is nothing to divide by

    def r2(index):
        with np.errstate(divide="ignore"):
            return float(1 - np.float64(1.0) / square[index].sum())

    with np.errstate(invalid="ignore"):  # as the scores of constant data have it
        _, high = bootstrap_interval(r2, 6, block=2)
    assert 0.75 < high < 1.5
