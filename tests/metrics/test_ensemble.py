"""Weights of a mean of forecasts."""

import numpy as np
import pytest

from neurodyn.metrics.ensemble import mean_weights


def courses(windows: int = 50) -> tuple[np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    target = rng.normal(0, [1.0, 10.0], (windows, 20, 2))
    return target, [target + np.array([1.0, 10.0]) * rng.normal(0, sd, target.shape) for sd in (1.0, 2.0, 2.0)]


def test_independent_errors_are_weighed_by_the_inverse_of_their_power():
    target, forecasts = courses()
    np.testing.assert_allclose(mean_weights(target, forecasts), [2 / 3, 1 / 6, 1 / 6], atol=0.05)


def test_no_weight_is_negative_and_their_sum_is_one():
    target, forecasts = courses()
    worse = forecasts[0] + 2 * (forecasts[0] - target)
    weights = mean_weights(target, [forecasts[0], worse, np.zeros((50, 1, 2)) + 100])
    np.testing.assert_allclose(weights, [1, 0, 0], atol=1e-3)
    assert weights.sum() == pytest.approx(1)


def test_constant_cells_and_missing_values_do_not_count():
    target, forecasts = courses()
    more = [np.concatenate([one, np.full((50, 20, 1), 1e6 * (k + 1))], axis=2) for k, one in enumerate(forecasts)]
    constant = np.concatenate([target, np.full((50, 20, 1), 3.0)], axis=2)
    np.testing.assert_allclose(mean_weights(constant, more), mean_weights(target, forecasts))
    missing = target.copy()
    missing[:, 5] = np.nan
    spoiled = [np.where(np.isnan(missing), 1e9, one) for one in forecasts]
    np.testing.assert_allclose(mean_weights(missing, spoiled), mean_weights(missing, forecasts))


def test_forecasts_without_error_share_it_equally_or_any_way():
    target, _ = courses()
    weights = mean_weights(target, [target, target])
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
