"""Linear interpolation in time, the reference of every model of hidden frames, and errors between frames."""

from __future__ import annotations

import numpy as np


def linear_interpolation(values: np.ndarray, t: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Fill hidden entries linearly between the nearest visible ones in time; hold the nearest beyond the ends.

    y(t) = y₀ + (t − t₀) / (t₁ − t₀) · (y₁ − y₀), entry by entry.

    Parameters
    ----------
    values
        Shape (window, time, ...).
    t
        Increasing times in s, shape (time,) or (window, time).
    visible
        bool, like `values`; hidden values are not used.

    Returns
    -------
    np.ndarray
        Like `values`; NaN for an entry never visible in its window.
    """
    shape = values.shape
    values = values.reshape(*shape[:2], -1)
    visible = np.broadcast_to(visible, shape).reshape(*shape[:2], -1)
    frames = np.arange(shape[1])[None, :, None]
    before = np.maximum.accumulate(np.where(visible, frames, -1), axis=1)
    after = np.minimum.accumulate(np.where(visible, frames, shape[1])[:, ::-1], axis=1)[:, ::-1]
    low = np.where(before < 0, after, before).clip(0, shape[1] - 1)
    high = np.where(after >= shape[1], before, after).clip(0, shape[1] - 1)
    times = np.broadcast_to(t, shape[:2])[:, :, None]
    start, stop = (np.take_along_axis(times, index.reshape(*shape[:2], -1), 1) for index in (low, high))
    weight = (times - start) / np.where(stop > start, stop - start, 1.0)
    first, second = np.take_along_axis(values, low, 1), np.take_along_axis(values, high, 1)
    out = np.where(stop > start, first + weight * (second - first), first)
    return np.where(visible.any(1, keepdims=True), out, np.nan).reshape(shape).astype(values.dtype)


def interpolation_errors(values: np.ndarray, truth: np.ndarray, chosen: np.ndarray) -> dict[str, np.ndarray]:
    """Return errors of curves or movies over chosen times, one per window.

    `l2_error` = mean over times of |y - ŷ|; `mse` = mean over times and entries of (y - ŷ)²; `relative_l2_error` =
    √(Σ (y - ŷ)² / Σ y²) over times and entries.

    Parameters
    ----------
    values, truth
        Shape (window, time, *space).
    chosen
        bool, shape (window, time); at least one per window.

    Returns
    -------
    dict
        Name -> error, shape (window,).
    """
    squares = _over_space((values - truth) ** 2).sum(-1)
    size = _over_space(truth**2).sum(-1)
    weight = chosen / chosen.sum(axis=1, keepdims=True)
    entries = int(np.prod(values.shape[2:]))
    return {
        "l2_error": (np.sqrt(squares) * weight).sum(1),
        "mse": (squares * weight).sum(1) / entries,
        "relative_l2_error": np.sqrt((squares * weight).sum(1) / (size * weight).sum(1)),
    }


def roughness(values: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return the mean length of the second divided difference along time, per s², one per window.

    Parameters
    ----------
    values
        Shape (window, time, *space), at least three times.
    t
        Increasing, s, shape (time,).
    """
    flat = _over_space(values)
    slope = np.diff(flat, axis=1) / np.diff(t)[:, None]
    bend = 2 * np.diff(slope, axis=1) / (t[2:] - t[:-2])[:, None]
    return np.sqrt((bend**2).sum(-1)).mean(1)


def _over_space(values: np.ndarray) -> np.ndarray:
    return values.reshape(*values.shape[:2], -1).astype(np.float64)
