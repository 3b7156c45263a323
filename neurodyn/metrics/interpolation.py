"""Linear interpolation in time: the reference every model of hidden frames is measured against."""

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
        Increasing times in s, shape (time,).
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
    start, stop = t[low], t[high]
    weight = (t[None, :, None] - start) / np.where(stop > start, stop - start, 1.0)
    first, second = np.take_along_axis(values, low, 1), np.take_along_axis(values, high, 1)
    out = np.where(stop > start, first + weight * (second - first), first)
    return np.where(visible.any(1, keepdims=True), out, np.nan).reshape(shape).astype(values.dtype)
