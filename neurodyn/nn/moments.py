"""Mean and spread of training data, in one pass."""

from __future__ import annotations

from collections.abc import Iterable

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
