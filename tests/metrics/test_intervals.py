"""Intervals from resampling cover as often as they say, of few samples, too."""

import numpy as np
import pytest
from scipy.stats import t as student

from neurodyn.metrics.intervals import bootstrap_interval

DRAWS = 600


def covers(count: int, expanded: bool) -> float:
    """Return how often the interval of a mean of normal samples holds the true mean, 0."""
    samples = np.random.default_rng(count).standard_normal((DRAWS, count))
    hits = 0
    for seed, values in enumerate(samples):
        low, high = bootstrap_interval(
            lambda index, values=values: values[index].mean(), count, seed=seed, expanded=expanded
        )
        hits += low < 0 < high
    return hits / DRAWS


@pytest.mark.parametrize("count", [6, 12])
def test_the_expanded_interval_covers_as_it_says_where_the_plain_one_does_not(count):
    error = np.sqrt(0.95 * 0.05 / DRAWS)
    assert abs(covers(count, expanded=True) - 0.95) < 4 * error
    assert covers(count, expanded=False) < 0.95 - 2 * error


def test_the_expanded_interval_is_that_of_students_t_for_a_mean():
    values = np.random.default_rng(1).standard_normal(9)
    low, high = bootstrap_interval(lambda index: values[index].mean(), 9, resamples=20_000, expanded=True)
    width = 2 * student.ppf(0.975, 8) * values.std(ddof=1) / 3
    assert high - low == pytest.approx(width, rel=0.08)
