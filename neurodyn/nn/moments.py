"""Mean and spread of training data, in one pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np


def moments(chunks: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return count, mean and variance of every entry, NaN left out.

    Chan, Golub & LeVeque 1983, Algorithms for computing the sample variance (pairwise update).

    Parameters
    ----------
    chunks
        Each of shape (window, time, *space).

    Returns
    -------
    tuple
        Three float64 arrays of shape (*space); mean 0 and variance 0 for an entry without data.
    """
    count: np.ndarray | None = None
    mean = square = np.zeros(())
    for chunk in chunks:
        flat = chunk.reshape(-1, *chunk.shape[2:])
        data = np.isfinite(flat)
        n = data.sum(0).astype(np.float64)
        m = np.where(data, flat, 0.0).sum(0, dtype=np.float64) / np.maximum(n, 1)
        s = (np.where(data, flat - m, 0.0) ** 2).sum(0, dtype=np.float64)
        if count is None:
            count, mean, square = n, m, s
            continue
        total = np.maximum(count + n, 1)
        shift = m - mean
        square = square + s + shift**2 * count * n / total
        mean, count = mean + shift * n / total, count + n
    if count is None:
        raise ValueError("moments of no data")
    return count, mean, square / np.maximum(count, 1)


def levels(
    chunks: Iterable[np.ndarray], inside: np.ndarray, normalise: Literal["entry", "global"]
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation to z-score by; an entry that never changes gets the unit 1.

    Parameters
    ----------
    chunks
        Each of shape (window, time, *space), NaN where there is no datum.
    inside
        Entries that are data, bool, shape (*space).
    normalise
        One mean and standard deviation per entry, or one for all entries inside.

    Returns
    -------
    tuple
        Two arrays of shape (*space); mean 0 and standard deviation 1 outside.
    """
    count, mean, variance = (values[inside] for values in moments(chunks))
    if normalise == "global" and count.any():
        overall = np.average(mean, weights=count)
        spread = np.average(variance + (mean - overall) ** 2, weights=count)
        mean, variance = np.full_like(mean, overall), np.full_like(variance, spread)
    whole = np.zeros(inside.shape), np.ones(inside.shape)
    whole[0][inside], whole[1][inside] = mean, np.where(variance > 0, np.sqrt(variance), 1.0)
    return whole
