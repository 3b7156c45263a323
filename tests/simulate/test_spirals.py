"""Spirals: the equation, the published statistics, and the errors of the reference estimates."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.integrate import trapezoid
from scipy.interpolate import CubicSpline

from neurodyn.core.errors import DataError
from neurodyn.data.window_config import WindowConfig
from neurodyn.data.windows import Windows
from neurodyn.simulate.spirals import Spirals, SpiralsParams, fit_offsets, solve

TIMES = np.linspace(0, 1, 100)


def make(**params):
    return Spirals(SpiralsParams(**params)).make()


def offsets(count, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, 2))


def by_trial(recording, points=10):
    """Return times from each trial's start and positions, shapes (trial, point) and (trial, point, 2)."""
    time = recording.time.reshape(-1, points)
    return time - time[:, :1], recording["position"].values.reshape(-1, points, 2)


@pytest.fixture(scope="module")
def published():
    """The published data set: noise of its own, and more on what is observed."""
    return make(grain=0.02)


def right_side(a, b, y, t):
    """Integrate the equation's right side directly, with its kernel matrix; y has shape (time, 2)."""
    out = np.stack([np.cos(t) + a, b - np.cos(t)], axis=1)
    u = 2 * np.pi * (t[:, None] + t)
    bent = np.tanh(2 * np.pi * y)
    first = np.cos(u) * bent[:, 0] - np.sin(u) * bent[:, 1]
    second = -np.sin(u) * bent[:, 0] - np.cos(u) * bent[:, 1]
    for i in range(1, t.size):
        upto = slice(0, i + 1)
        out[i] += trapezoid(first[i, upto], t[upto]), trapezoid(second[i, upto], t[upto])
    return out


@pytest.mark.parametrize("averagings", [0, 5])
def test_the_solver_against_direct_quadrature(averagings):
    t = np.linspace(0, 1, 199)
    drawn = offsets(3)
    for (a, b), found in zip(drawn, solve(drawn, averagings), strict=True):
        y = np.stack([np.cos(t) + a, b - np.cos(t)], axis=1)
        g = right_side(a, b, y, t)
        for _ in range(averagings):
            y = (y + g) / 2
            g = right_side(a, b, y, t)
        np.testing.assert_allclose(found, g[::2], atol=1e-12)


def test_a_hundred_iterations_solve_the_equation_and_five_do_not():
    drawn = offsets(200)
    settled, published = solve(drawn, 100), solve(drawn, 5)
    np.testing.assert_allclose(settled, solve(drawn, 101), atol=1e-8)
    assert np.sqrt(np.mean((published - settled) ** 2)) == pytest.approx(0.027, abs=0.012)
    assert np.abs(published - settled).max() > 0.1


def test_statistics_of_the_published_curves():
    figures = []
    for seed in range(5):
        y = solve(offsets(500, seed), 5)
        figures.append([y.std(), np.quantile(np.abs(y), 0.98), y.min(), y.max()])
        np.testing.assert_allclose(y[:, 0], offsets(500, seed) + [1, -1], atol=1e-12)
    spread, largest, low, high = np.mean(figures, axis=0)
    assert spread == pytest.approx(1.040, abs=0.025)
    assert largest == pytest.approx(2.012, abs=0.02)
    assert low == pytest.approx(-2.318, abs=0.05)
    assert high == pytest.approx(2.184, abs=0.05)


def errors(recording, estimate):
    """Return the scaled distance per held-out point, averaged per test curve, shape (curve,)."""
    truth, test = recording.table("truth"), recording.stimulus["part"].values == "test"
    hidden = ~truth["observed"].values
    distance = np.linalg.norm(estimate - truth["dense"].values, axis=2) / truth["dense"].attrs["scale"]
    assert test.sum() == 150
    return np.array([d[h].mean() for d, h in zip(distance[test], hidden[test], strict=True)])


def interpolated(recording):
    """Return linear interpolation and cubic spline at all 100 times."""
    pairs = list(zip(*by_trial(recording), strict=True))
    linear = [np.stack([np.interp(TIMES, t, y[:, k]) for k in (0, 1)], axis=1) for t, y in pairs]
    return np.stack(linear), np.stack([CubicSpline(t, y)(TIMES) for t, y in pairs])


def within_sampling_error(found, expected):
    assert found.mean() == pytest.approx(expected, abs=3 * found.std() / np.sqrt(found.size))


def test_reference_errors_on_the_test_curves(published):
    clean = make()
    linear, spline = interpolated(clean)
    within_sampling_error(errors(clean, linear), 0.0534)
    within_sampling_error(errors(clean, spline), 0.0603)
    within_sampling_error(errors(published, published.table("truth")["oracle"].values), 0.0238)
    # the published floor is mostly the noise of the published truth
    assert errors(clean, clean.table("truth")["oracle"].values).mean() < 0.0215


def test_reference_errors_of_the_published_curves_without_further_noise():
    quiet = make(grain=0.02, noise=0.0)
    linear, spline = interpolated(quiet)
    assert errors(quiet, linear).mean() == pytest.approx(0.0239, rel=0.05)
    assert errors(quiet, spline).mean() == pytest.approx(0.0186, rel=0.06)


def test_scale_is_the_quantile_the_published_data_are_divided_by(published):
    truth = published.table("truth")
    for name in ("dense", "oracle"):
        assert truth[name].dims == ("event", "query", "roi")
        assert truth[name].dtype == np.float32
        assert truth[name].attrs["units"] == "a.u."
        assert truth[name].attrs["scale"] == pytest.approx(np.quantile(np.abs(truth["dense"].values), 0.98))
    np.testing.assert_array_equal(truth["query"].values, TIMES)


def test_observed_points_are_clean_ones_plus_noise(published):
    truth = published.table("truth")
    t, found = by_trial(published)
    np.testing.assert_allclose(t, np.tile(np.arange(10) / 9, (500, 1)), atol=1e-9)
    clean = truth["dense"].values[truth["observed"].values].reshape(found.shape)
    assert (found - clean).std() == pytest.approx(0.1, rel=0.03)
    exact = solve(np.stack([published.stimulus[k].values for k in "ab"], axis=1), 5)
    assert (truth["dense"].values - exact).std() == pytest.approx(0.02, rel=0.02)


def test_without_noise_the_fit_finds_the_constants():
    drawn = offsets(40)
    index = np.tile(np.linspace(0, 99, 10).astype(int), (40, 1))
    found = fit_offsets(solve(drawn, 5)[:, index[0]], index, 5)
    np.testing.assert_allclose(found, drawn, atol=1e-5)


def test_the_fit_is_the_best_of_a_neighbourhood():
    recording = make(trials=20, sampling="random", seed=4)
    truth = recording.table("truth")
    oracle, dense, seen = (truth[name].values for name in ("oracle", "dense", "observed"))
    _, found = by_trial(recording)
    fitted = np.stack([oracle[k, 0] for k in range(20)]) - [1, -1]
    loss = ((oracle[seen].reshape(found.shape) - found) ** 2).sum(axis=(1, 2))
    assert (loss <= ((dense[seen].reshape(found.shape) - found) ** 2).sum(axis=(1, 2)) + 1e-6).all()
    for shift in ([0.01, 0], [-0.01, 0], [0, 0.01], [0, -0.01]):
        moved = solve(fitted + shift, 5)[seen].reshape(found.shape)
        assert (loss <= ((moved - found) ** 2).sum(axis=(1, 2)) + 1e-5).all()


def test_parts_by_curve(published):
    part = published.stimulus["part"].values
    assert [int((part == name).sum()) for name in ("train", "valid", "test")] == [315, 35, 150]
    windows = Windows.cut(
        [published], WindowConfig(variable="position", duration=10 / 9, split="column", condition="part")
    )
    assert {name: len(one) for name, one in windows.split().items()} == {"train": 315, "valid": 35, "test": 150}
    np.testing.assert_array_equal(windows.first, np.arange(500) * 10)


def test_irregular_points_keep_their_own_times_and_both_ends():
    recording = make(trials=50, sampling="random", noise=0.0)
    truth = recording.table("truth")
    t, found = by_trial(recording)
    np.testing.assert_allclose(t[:, [0, -1]], np.tile([0.0, 1.0], (50, 1)), atol=1e-9)
    assert len(np.unique(t.round(6), axis=0)) == 50
    for times, positions, seen, dense in zip(t, found, truth["observed"].values, truth["dense"].values, strict=True):
        np.testing.assert_allclose(times, TIMES[seen], atol=1e-9)
        np.testing.assert_array_equal(positions, dense[seen])
    assert recording.rate_hz == pytest.approx(1 / np.median(np.diff(recording.time)))


def test_noise_changes_neither_curves_nor_points():
    quiet, loud = (make(trials=20, sampling="random", noise=noise) for noise in (0.0, 0.3))
    np.testing.assert_array_equal(quiet.time, loud.time)
    np.testing.assert_array_equal(quiet.table("truth")["dense"].values, loud.table("truth")["dense"].values)


def test_points_that_do_not_lie_on_the_grid_are_refused():
    with pytest.raises(ValidationError, match="evenly spaced"):
        SpiralsParams(points=11)
    assert SpiralsParams(points=11, sampling="random").points == 11
    with pytest.raises(DataError, match="No window"):
        Windows.cut([make(trials=4)], WindowConfig(variable="position", duration=11 / 9))
