"""Alignment and likelihood against independent computations."""

import numpy as np
import pytest
from scipy.stats import poisson

from neurodyn.metrics.alignment import (
    Alignment,
    bits_per_spike,
    pooled_r2,
    pooled_squared_pearson,
    products,
    spike_likelihoods,
)
from neurodyn.metrics.regression import squared_pearson

RNG = np.random.default_rng(0)


def test_alignment_undoes_any_affine_map():
    known = RNG.standard_normal((5, 40, 3))
    mixed = known @ RNG.standard_normal((3, 7)) + RNG.standard_normal(7)
    align = Alignment.fit(mixed[:3], known[:3])
    np.testing.assert_allclose(align(mixed), known, atol=1e-9)


def test_alignment_is_ordinary_least_squares_with_an_intercept():
    inferred, known = RNG.standard_normal((4, 50, 3)) + 5, RNG.standard_normal((4, 50, 2)) - 3
    design = np.column_stack([inferred.reshape(-1, 3), np.ones(200)])
    expected = np.linalg.solve(design.T @ design, design.T @ known.reshape(-1, 2))
    align = Alignment.fit(inferred, known)
    np.testing.assert_allclose(np.vstack([align.weights, align.intercept]), expected, atol=1e-9)
    residual = (align(inferred) - known).reshape(-1, 2)
    np.testing.assert_allclose(residual.mean(axis=0), 0, atol=1e-12)


def test_dead_features_do_not_break_the_alignment():
    known = RNG.standard_normal((3, 30, 2))
    inferred = np.concatenate([known, np.ones((3, 30, 1)), np.zeros((3, 30, 1))], axis=-1)
    np.testing.assert_allclose(Alignment.fit(inferred, known)(inferred), known, atol=1e-9)


def test_pooled_scores_equal_the_plain_ones():
    y, z = RNG.standard_normal((6, 20, 3)), RNG.standard_normal((6, 20, 3))
    z = 0.7 * y + 0.5 * z + 0.3
    sums = products(y, z).sum(axis=0)
    assert pooled_squared_pearson(sums) == pytest.approx(np.corrcoef(y.ravel(), z.ravel())[0, 1] ** 2)
    assert pooled_squared_pearson(sums) == pytest.approx(squared_pearson(y, z))
    assert pooled_r2(sums) == pytest.approx(1 - ((y - z) ** 2).sum() / ((y - y.mean()) ** 2).sum())
    some = np.array([1, 1, 4])
    assert pooled_r2(products(y, z)[some].sum(axis=0)) == pytest.approx(
        1 - ((y[some] - z[some]) ** 2).sum() / ((y[some] - y[some].mean()) ** 2).sum()
    )


def test_missing_entries_do_not_count_and_constants_have_no_score():
    y, z = RNG.standard_normal((2, 30)), RNG.standard_normal((2, 30))
    y[0, :5] = np.nan
    use = np.isfinite(y)
    assert pooled_squared_pearson(products(y, z).sum(axis=0)) == pytest.approx(np.corrcoef(y[use], z[use])[0, 1] ** 2)
    assert np.isnan(pooled_squared_pearson(products(np.ones((2, 3)), z[:, :3]).sum(axis=0)))
    assert np.isnan(pooled_r2(products(np.ones((2, 3)), z[:, :3]).sum(axis=0)))


def test_bits_per_spike_equals_the_difference_of_log_likelihoods():
    rates = RNG.gamma(2.0, 0.5, (5, 40, 3))
    counts = RNG.poisson(rates)
    mean = counts.mean(axis=(0, 1))
    expected = (poisson.logpmf(counts, rates).sum() - poisson.logpmf(counts, mean).sum()) / (counts.sum() * np.log(2))
    sums = spike_likelihoods(rates, counts, mean).sum(axis=0)
    assert bits_per_spike(sums) == pytest.approx(expected)
    assert expected > 0.1
    null = spike_likelihoods(np.broadcast_to(mean, rates.shape), counts, mean).sum(axis=0)
    assert bits_per_spike(null) == pytest.approx(0)


def test_a_rate_of_zero_is_finite_and_no_spikes_have_no_score():
    counts = np.ones((1, 2, 1))
    assert np.isfinite(bits_per_spike(spike_likelihoods(np.zeros((1, 2, 1)), counts, np.ones(1)).sum(axis=0)))
    assert np.isnan(bits_per_spike(spike_likelihoods(np.ones((1, 2, 1)), 0 * counts, np.ones(1)).sum(axis=0)))
