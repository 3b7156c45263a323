"""Reduced-rank regression against its closed form, and independent sources against those that were mixed."""

import numpy as np
import pytest

from neurodyn.metrics.reduced_rank import fit_reduced_rank, sparse_sources


def series(frames: int, seed: int = 0) -> np.ndarray:
    """Six observed courses of two hidden ones that decay, and noise of their own."""
    rng = np.random.default_rng(seed)
    hidden = np.zeros((frames, 2))
    for t in range(1, frames):
        hidden[t] = 0.9 * hidden[t - 1] + rng.normal(size=2)
    return hidden @ rng.normal(size=(2, 6)) + 0.5 * rng.normal(size=(frames, 6))


def stretches(values: np.ndarray, past: int, ahead: int) -> tuple[np.ndarray, np.ndarray]:
    first = np.arange(len(values) - past - ahead + 1)[:, None]
    return values[first + np.arange(past)], values[first + past + np.arange(ahead)]


def test_a_full_rank_is_ridge_regression():
    past, future = stretches(series(400), 4, 2)
    found = fit_reduced_rank(past, future, ranks=(12,), lags=(4,))
    fit = slice(0, int(0.85 * len(past)) - 6)
    x, y = past[fit].reshape(fit.stop, -1), future[fit].reshape(fit.stop, -1)
    x, y = x - x.mean(0), y - y.mean(0)
    unit = np.trace(x.T @ x) / x.shape[1]
    slope = np.linalg.solve(x.T @ x + found.penalty * unit * np.eye(x.shape[1]), x.T @ y)
    np.testing.assert_allclose(found.weights @ found.axes.T, slope, atol=1e-10)


def test_two_hidden_courses_need_two_numbers():
    past, future = stretches(series(3000), 8, 3)
    explained = [fit_reduced_rank(past, future, ranks=(rank,)).explained for rank in (1, 2, 6)]
    assert explained[0] < explained[1] - 0.05
    assert explained[2] == pytest.approx(explained[1], abs=0.01)


def test_codes_of_every_frame_end_with_that_of_the_whole_window():
    past, future = stretches(series(300), 5, 2)
    found = fit_reduced_rank(past, future, ranks=(3,), lags=(5,))
    codes = found(past)
    np.testing.assert_allclose(codes[:, -1], (past.reshape(len(past), -1) - found.mean) @ found.weights)
    held = np.concatenate([np.repeat(past[:, :1], 2, axis=1), past[:, :3]], axis=1)
    np.testing.assert_allclose(codes[:, 2], found(held)[:, -1])


@pytest.mark.parametrize("seed", range(3))
def test_sparse_sources_are_found_and_count_by_their_sparsity(seed):
    rng = np.random.default_rng(seed)
    spikes = np.where(rng.random((5000, 2)) < 0.1, rng.exponential(3.0, (5000, 2)), 0.0)
    truth = np.concatenate([spikes, rng.normal(size=(5000, 3))], axis=1)
    mixed = truth @ np.linalg.qr(rng.normal(size=(5, 5)))[0] * rng.uniform(0.5, 2, 5)
    mean, matrix = sparse_sources(mixed)
    sources = (mixed - mean) @ matrix
    for course in spikes.T:
        assert max(np.corrcoef(course, found)[0, 1] for found in sources[:, :2].T) > 0.99
    assert sources[:, :2].std(axis=0).min() > 5 * sources[:, 2:].std(axis=0).max()
    np.testing.assert_allclose(np.cov(sources.T), np.diag(sources.var(axis=0, ddof=1)), atol=1e-8)
