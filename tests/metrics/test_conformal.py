"""Intervals for samples of groups that nobody has seen."""

import math

import numpy as np
import pytest

from neurodyn.metrics.conformal import grouped_half_width


def test_of_groups_of_one_it_is_the_order_statistic_of_split_conformal():
    errors = np.random.default_rng(0).permutation(np.arange(19.0))
    assert grouped_half_width(errors, range(19), 0.9) == 17  # the ceil(20 * 0.9)th of 19


def test_a_large_group_weighs_no_more_than_a_small_one():
    errors = np.r_[np.full(1000, 5.0), np.arange(18.0) / 100]
    groups = ["large"] * 1000 + list(range(18))
    assert grouped_half_width(errors, groups, 0.89) == 0.17
    assert grouped_half_width(errors, groups, 0.95) == 5.0


def test_too_few_groups_say_nothing():
    assert math.isinf(grouped_half_width(np.ones(80), [0, 1, 2, 3] * 20, 0.9))


def test_new_groups_are_covered_as_often_as_said():
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(400):
        middles, sizes = rng.normal(size=20), rng.integers(3, 20, 20)
        samples = [np.abs(middle + 0.5 * rng.normal(size=size)) for middle, size in zip(middles, sizes, strict=True)]
        groups = np.repeat(np.arange(19), sizes[:19])
        width = grouped_half_width(np.concatenate(samples[:19]), groups.tolist(), 0.9)
        covered.append(np.mean(samples[19] <= width))
    assert np.mean(covered) == pytest.approx(0.92, abs=0.03)
