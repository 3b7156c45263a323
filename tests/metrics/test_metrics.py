"""Metrics against closed forms."""

import numpy as np
import pytest
from scipy import stats

from neurodyn.metrics.interpolation import linear_interpolation
from neurodyn.metrics.intervals import block_indices, block_length, bootstrap_interval, jackknife_interval
from neurodyn.metrics.regression import mse, pearson, r2, squared_pearson


def test_mse_and_r2_by_hand():
    target, predicted = np.array([1.0, 2.0, 3.0, 6.0]), np.array([1.0, 2.0, 5.0, 6.0])
    assert mse(target, predicted) == 1.0
    assert r2(target, predicted) == pytest.approx(1 - 4 / 14)
    assert mse(target, predicted, where=target < 3) == 0.0
    assert np.isnan(mse(target, predicted, where=target > 9))


def test_r2_takes_the_mean_entry_by_entry():
    target = np.array([[0.0, 100.0], [2.0, 102.0]])
    assert r2(target, np.array([[1.0, 101.0], [1.0, 101.0]])) == pytest.approx(0.0)
    assert r2(target, target) == 1.0
    assert np.isnan(r2(np.ones((3, 2)), np.zeros((3, 2))))


def test_pearson_is_blind_to_scale_and_r2_is_not():
    rng = np.random.default_rng(0)
    x = rng.normal(size=500)
    y = 0.6 * x + 0.8 * rng.normal(size=500)
    assert pearson(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert squared_pearson(x, 7 * x + 3) == pytest.approx(1.0)
    assert r2(x, 7 * x + 3) < 0
    assert np.isnan(pearson(x, np.ones(500)))


def test_linear_interpolation_equals_numpy():
    rng = np.random.default_rng(0)
    t = np.cumsum(rng.random(8) + 0.1)
    values, visible = rng.normal(size=(5, 8, 3)), rng.random((5, 8, 3)) < 0.5
    visible[0, :, 0] = False
    filled = linear_interpolation(np.where(visible, values, 1e9), t, visible)
    assert np.isnan(filled[0, :, 0]).all()
    for w, e in np.ndindex(5, 3):
        seen = visible[w, :, e]
        if seen.any():
            np.testing.assert_allclose(filled[w, :, e], np.interp(t, t[seen], values[w, seen, e]), atol=1e-12)


def test_blocks_are_contiguous_and_wrap():
    indices = block_indices(10, 4, 200, seed=0)
    assert indices.shape == (200, 10)
    steps = np.diff(indices, axis=1) % 10
    inside = [i for i in range(9) if (i + 1) % 4]
    assert (steps[:, inside] == 1).all()
    assert len(np.unique(indices)) == 10
    assert (block_length(1), block_length(27), block_length(28)) == (1, 3, 4)


def test_the_interval_of_a_mean_has_the_textbook_width_and_widens_with_blocks_of_copies():
    x = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap_interval(lambda i: x[i].mean(), 400, resamples=2000)
    assert (high - low) / 2 == pytest.approx(1.96 * x.std() / 20, rel=0.08)
    copies = np.repeat(x[:100], 4)
    narrow = np.subtract(*bootstrap_interval(lambda i: copies[i].mean(), 400)[::-1])
    wide = np.subtract(*bootstrap_interval(lambda i: copies[i].mean(), 400, block=16)[::-1])
    assert wide > 1.5 * narrow
    assert np.isnan(bootstrap_interval(lambda i: 0.0, 1)).all()


def test_jackknife_of_a_mean_is_students_interval():
    x = np.random.default_rng(1).normal(size=30)
    left_out = np.array([np.delete(x, k).mean() for k in range(30)])
    expected = stats.t.interval(0.95, 29, loc=x.mean(), scale=stats.sem(x))
    np.testing.assert_allclose(jackknife_interval(x.mean(), left_out), expected)
    assert np.isnan(jackknife_interval(1.0, np.ones(1))).all()
