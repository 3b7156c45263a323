"""How well hidden frames are filled in, against linear interpolation, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from neurodyn.backends.batch import Batch
from neurodyn.data.scores import Score, blank_score
from neurodyn.data.windows import Windows
from neurodyn.metrics.interpolation import linear_interpolation
from neurodyn.metrics.intervals import block_length, bootstrap_interval
from neurodyn.nn.moments import moments
from neurodyn.training.batches import Chunks, derive_seed, model_sessions, read_batch

HIDDEN_SHARE = 0.6


@dataclass(frozen=True)
class Filled:
    """One batch with some inner frames hidden.

    Parameters
    ----------
    batch
        The model's input.
    hidden
        bool, shape (window, time).
    linear
        Linear interpolation of the visible frames, like Batch.x.
    """

    batch: Batch
    hidden: np.ndarray
    linear: np.ndarray


def hidden_frames(windows: Windows, indices: np.ndarray, seed: int) -> np.ndarray:
    """Choose the frames to hide: 1 to 60 % of the inner ones, uniformly in number and place; both ends stay.

    The choice depends on the seed and on the window's session and first frame alone. With a horizon it is the horizon.

    Returns
    -------
    np.ndarray
        bool, shape (window, time).
    """
    inner = windows.frames - 2
    hidden = np.zeros((indices.size, windows.frames), dtype=bool)
    if windows.horizon:
        hidden[:, -windows.horizon :] = True
        return hidden
    for row, index in enumerate(indices):
        key = (int(windows.session[index]), int(windows.first[index]))
        rng = np.random.default_rng(derive_seed(seed, "hidden test", *key))
        if inner > 0:
            count = rng.integers(1, max(1, round(HIDDEN_SHARE * inner)), endpoint=True)
            hidden[row, 1 + rng.permutation(inner)[:count]] = True
    return hidden


def hide(windows: Windows, indices: np.ndarray, seed: int) -> Filled:
    """Read windows with some frames hidden, and interpolate them linearly; an entry never seen gets 0."""
    hidden = hidden_frames(windows, indices, seed)
    batch = read_batch(windows, indices, hidden)
    linear = linear_interpolation(batch.x.numpy(), batch.t.numpy(), batch.visible.numpy())
    return Filled(batch, hidden, np.nan_to_num(linear, nan=0.0))


class Errors:
    """Sums of squares per window, for R² = 1 − Σ (x − x̂)² / Σ (x − x̄)² over chosen valid entries.

    x are the targets, and x̄ is the mean of each entry over all valid frames of all windows, so differences between entries explain nothing;
    cells of different sessions are different entries where windows are padded.

    Parameters
    ----------
    windows
        All windows of one part.
    """

    def __init__(self, windows: Windows) -> None:
        self.padded, self.means = windows.padded is not None, _means(windows)
        self.rows: list[np.ndarray] = []

    def add(self, filled: Filled, mean: np.ndarray, hidden_mean: np.ndarray) -> None:
        """Add a batch: `mean` predicted with nothing hidden, `hidden_mean` with hidden frames."""
        x, valid = filled.batch.target.numpy(), filled.batch.valid.numpy()
        wanted = valid & filled.hidden.reshape(*filled.hidden.shape, *[1] * (x.ndim - 2))
        sessions = filled.batch.session.tolist() if self.padded else [0]
        level = np.stack([self.means[session] for session in sessions])[:, None]
        pairs = [(hidden_mean, wanted), (filled.linear, wanted), (level, wanted), (mean, valid), (level, valid)]
        self.rows.append(np.stack([_squares(x - estimate, where) for estimate, where in pairs], -1))

    def scores(self, run: str, variable: str, split: str, windows: Windows, seed: int) -> list[Score]:
        """Return hidden-frame R² of the model, of linear interpolation and their paired difference, and R² of all frames."""
        sums = np.concatenate(self.rows)
        simple = "last value" if windows.horizon else "linear interpolation"
        row = blank_score(windows, run, seed, split, variable)
        cases: list[tuple[str, str, Callable[[np.ndarray], float]]] = [
            (run, "hidden_frame_r2", lambda s: 1 - s[0] / s[2]),
            (simple, "hidden_frame_r2", lambda s: 1 - s[1] / s[2]),
            (run, "hidden_frame_r2_gain", lambda s: (s[1] - s[0]) / s[2]),
            (run, "reconstruction_r2", lambda s: 1 - s[3] / s[4]),
        ]
        scores = []
        for model, metric, statistic in cases:
            value, low, high = _with_interval(sums, statistic, seed)
            numbers = {"value": value, "ci_low": low, "ci_high": high, "n": len(sums)}
            scores.append(replace(row, model=model, metric=metric, **numbers))
        return scores


def _means(windows: Windows) -> dict[int, np.ndarray]:
    """Return the mean of every entry; of every session, where sessions have cells of their own."""
    sessions = np.zeros(len(windows), dtype=int) if windows.padded is None else model_sessions(windows)
    return {
        int(session): moments(Chunks(windows.targets.take(np.flatnonzero(sessions == session))))[1].astype(np.float32)
        for session in np.unique(sessions)
    }


def _squares(error: np.ndarray, where: np.ndarray) -> np.ndarray:
    squared = np.where(where, error, 0.0).astype(np.float64) ** 2
    return squared.reshape(len(squared), -1).sum(1)


def _with_interval(sums: np.ndarray, statistic: Callable[[np.ndarray], float], seed: int) -> tuple[float, float, float]:
    with np.errstate(invalid="ignore", divide="ignore"):  # constant data have no R²
        value = float(statistic(sums.sum(0)))
        low, high = bootstrap_interval(
            lambda index: float(statistic(sums[index].sum(0))), len(sums), block=block_length(len(sums)), seed=seed
        )
    return value, low, high
