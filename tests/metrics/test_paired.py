"""Signed ranks and their correction against closed forms."""

import numpy as np
import pytest
from scipy.ndimage import uniform_filter1d
from scipy.stats import ttest_1samp

from neurodyn.metrics.paired import (
    adjusted_p,
    block_means,
    correlated_mean_test,
    effective_number,
    mean_test,
    signed_rank_p,
)


def test_eight_differences_of_one_sign_give_two_in_two_hundred_and_fifty_six():
    values = np.array([0.3, 0.1, 0.25, 0.4, 0.05, 0.7, 0.15, 0.6])
    assert signed_rank_p(values, np.zeros(8)) == pytest.approx(2 / 2**8)


def test_nothing_is_tested_of_one_unit_or_of_no_difference():
    assert np.isnan(signed_rank_p(np.ones(1), np.zeros(1)))
    assert np.isnan(signed_rank_p(np.ones(5), np.ones(5)))


def test_correction_is_benjamini_and_yekutieli_s():
    harmonic = 1 + 1 / 2 + 1 / 3
    found = adjusted_p([0.01, float("nan"), 0.04, 0.03])
    assert found[0] == pytest.approx(0.01 * 3 * harmonic)
    assert found[2:] == pytest.approx([0.04 * harmonic, 0.04 * harmonic])
    assert np.isnan(found[1])


def test_the_mean_of_independent_units_has_student_s_interval():
    values = np.random.default_rng(0).normal(1, 2, 9)
    expected = ttest_1samp(values, 0)
    found = mean_test(values)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert np.isnan(mean_test(np.ones(1)).low)


def test_blocks_are_neighbours_of_all_but_one_length():
    np.testing.assert_allclose(block_means(np.arange(40.0)), np.arange(20) * 2 + 0.5)
    np.testing.assert_allclose(block_means(np.arange(7.0)), np.arange(7.0))
    assert block_means(np.arange(1001.0)).size == 20


def equal_models(kind, windows, seeds):
    """Differences of two equal models over the windows of one movie, correlated by nothing, overlap or slow changes."""
    for seed in seeds:
        noise = np.random.default_rng([seed, 3]).normal(size=windows + 60)
        if kind == "overlap":
            noise = uniform_filter1d(noise, 8)
        elif kind == "slow":
            for k in range(1, noise.size):
                noise[k] += np.exp(-1 / 5) * noise[k - 1]
        yield noise[60:] / noise.std()


@pytest.mark.parametrize("kind", ["nothing", "overlap", "slow"])
@pytest.mark.parametrize("windows", [20, 40, 120, 400])
def test_equal_models_differ_as_often_as_p_says(kind, windows):
    found = [correlated_mean_test(one) for one in equal_models(kind, windows, range(600))]
    told = [one for one in found if one.p == one.p]
    assert np.sum([one.p <= 0.05 for one in told]) <= 0.07 * len(found)
    assert np.sum([not one.low <= 0 <= one.high for one in told]) <= 0.07 * len(found)
    if kind == "nothing" or windows >= 400:
        assert len(told) > 0.9 * len(found)
        assert np.mean([one.p <= 0.05 for one in told]) >= 0.03


def test_equal_models_over_sessions():
    rng = np.random.default_rng(1)
    for sessions in (6, 8, 12):
        values = rng.normal(size=(800, sessions))
        assert 0.02 <= np.mean([signed_rank_p(one, 0 * one) <= 0.05 for one in values]) <= 0.07
        found = [mean_test(one) for one in values]
        assert 0.93 <= np.mean([one.low <= 0 <= one.high for one in found]) <= 0.97


def test_the_effective_number_is_that_of_the_autocorrelation():
    rng = np.random.default_rng(2)
    assert effective_number(rng.normal(size=4000)) == pytest.approx(4000, rel=0.1)
    slow = next(equal_models("slow", 4000, [0]))
    rho = np.exp(-1 / 5)
    assert effective_number(slow) == pytest.approx(4000 * (1 - rho) / (1 + rho), rel=0.2)
    assert effective_number(np.zeros(9)) == 9
    assert np.isnan(correlated_mean_test(np.repeat([0.0, 1.0], 50)).p)


def test_a_better_model_is_found_in_blocks():
    found = [correlated_mean_test(one + 0.5).p for one in equal_models("slow", 400, range(50))]
    assert np.mean(np.array(found) <= 0.05) > 0.6
