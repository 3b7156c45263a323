"""Scores of predictions with uncertainty, against integrals and known distributions."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from neurodyn.metrics.probabilistic import (
    crps_ensemble,
    crps_gaussian,
    inside,
    normal_quantiles,
    psnr,
    rank_histogram,
    spread_skill,
)


def integral(cdf, x: float, low: float = -40.0, high: float = 40.0) -> float:
    """CRPS by its definition, ∫ (F(y) − 1[y ≥ x])² dy."""
    below = quad(lambda y: cdf(y) ** 2, low, x, limit=500)[0]
    return below + quad(lambda y: (cdf(y) - 1) ** 2, x, high, limit=500)[0]


@pytest.mark.parametrize(("x", "mean", "sd"), [(0.3, 0.0, 1.0), (-2.0, 1.0, 0.5), (4.0, 4.0, 3.0)])
def test_crps_of_a_normal_is_its_integral(x, mean, sd):
    expected = integral(norm(mean, sd).cdf, x)
    np.testing.assert_allclose(crps_gaussian(np.array(x), np.array(mean), np.array(sd)), expected, rtol=1e-6)


def test_crps_without_spread_is_the_absolute_error():
    np.testing.assert_allclose(crps_gaussian(np.array([1.0, -2.0]), np.zeros(2), np.zeros(2)), [1.0, 2.0], atol=1e-9)


def test_crps_of_an_ensemble_is_its_integral_less_the_correction_that_makes_it_fair():
    members, x = np.array([-1.0, 0.2, 0.7, 2.5]), 0.4
    plain = integral(lambda y: np.mean(members <= y), x, -5, 5)
    pairs = np.abs(members[:, None] - members[None]).sum()
    correction = pairs / (2 * 4 * 4) - pairs / (2 * 4 * 3)
    np.testing.assert_allclose(crps_ensemble(np.array(x), members, fair=False), plain, atol=1e-4)
    np.testing.assert_allclose(crps_ensemble(np.array(x), members, fair=True), plain + correction, atol=1e-4)


def test_the_fair_score_does_not_depend_on_the_number_of_members():
    rng = np.random.default_rng(0)
    target = rng.normal(size=60000)
    small, large = (crps_ensemble(target, rng.normal(size=(count, target.size)), fair=True).mean() for count in (2, 10))
    exact = crps_gaussian(target, np.zeros_like(target), np.ones_like(target)).mean()
    np.testing.assert_allclose([small, large], exact, atol=0.006)


def test_honest_predictions_have_ratio_one_flat_ranks_and_the_coverage_they_state():
    rng = np.random.default_rng(1)
    sd = rng.uniform(0.5, 2, 40000)
    mean = rng.normal(size=sd.size)
    target = mean + sd * rng.normal(size=sd.size)
    error = np.sum((target - mean) ** 2)
    assert abs(spread_skill(np.sum(sd**2), error) - 1) < 0.02
    assert abs(spread_skill(np.sum((sd / 2) ** 2), error) - 0.5) < 0.01
    for level in (0.5, 0.9):
        assert abs(inside(target, mean, sd, level).mean() - level) < 0.01
    ranks = rank_histogram(target, mean + sd * rng.normal(size=(7, sd.size)))
    np.testing.assert_allclose(ranks, 1 / 8, atol=0.01)
    narrow = rank_histogram(target, mean + 0.3 * sd * rng.normal(size=(7, sd.size)))
    assert min(narrow[0], narrow[-1]) > 2 / 8  # too narrow an ensemble leaves the target outside


def test_degenerate_input_has_no_score():
    assert np.isnan(spread_skill(3.0, 0.0))
    assert np.isnan(spread_skill(0.0, 0.0))
    assert np.isnan(psnr(0.0, 1.0)) and np.isnan(psnr(1.0, 0.0))
    assert psnr(0.01, 1.0) == pytest.approx(20.0)
    np.testing.assert_allclose(normal_quantiles(3), norm.ppf([1 / 6, 0.5, 5 / 6]))
