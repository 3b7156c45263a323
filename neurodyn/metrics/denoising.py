"""Linear and rank-order denoising that any model has to beat, and how reliable traces are."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter

from neurodyn.metrics.components import thin_svd
from neurodyn.metrics.photon import StepNoise


def median_in_time(movie: np.ndarray, frames: int) -> np.ndarray:
    """Return the running median of every pixel, shape (time, y, x); the ends are repeated."""
    return median_filter(movie, size=(frames, 1, 1), mode="nearest")


def optimal_shrinkage(movie: np.ndarray, inside: np.ndarray, *, hard: bool = False) -> tuple[np.ndarray, int]:
    """Denoise a movie by shrinking its singular values optimally for the squared error.

    Of pixels in units of their noise, shape (n frames, p pixels), y a singular value over √n, β = p / n:
    η(y) = √((y² − β − 1)² − 4β) / y where y > 1 + √β, else 0. Gavish M. & Donoho D. (2017). Optimal shrinkage of singular
    values. IEEE Trans. Inf. Theory 63:2137.

    Parameters
    ----------
    movie
        Shape (time, y, x), finite.
    inside
        Pixels that are data, bool, shape (y, x).
    hard
        Instead keep the singular values above 1 + √β as they are: PCA whose rank is that of what stands out from noise.

    Returns
    -------
    movie
        float32, the same shape; pixels that are not inside as they were.
    rank
        Singular values that stay.
    """
    flat = movie[:, inside].astype(np.float64)
    noise = StepNoise()
    noise.add(flat)
    mean, sd = noise.mean, np.sqrt(np.where(noise.variance > 0, noise.variance, 1.0))
    left, values, right = thin_svd((flat - mean) / sd, min(flat.shape))
    y, beta = values / np.sqrt(len(flat)), flat.shape[1] / len(flat)
    kept = y > 1 + np.sqrt(beta)
    shrunk = np.sqrt(np.maximum((y**2 - beta - 1) ** 2 - 4 * beta, 0)) / np.maximum(y, 1e-12)
    given = (y if hard else shrunk)[kept] * np.sqrt(len(flat))
    out = movie.astype(np.float32)
    out[:, inside] = (left[:, kept] * given) @ right[kept] * sd + mean
    return out, int(kept.sum())


def split_half(movie: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return Pearson's r between the mean traces of two halves of every ROI, its even and its odd pixels on a chequerboard.

    Parameters
    ----------
    movie
        Shape (time, y, x).
    masks
        bool, shape (roi, y, x).
    """
    odd = np.indices(movie.shape[1:]).sum(0) % 2 == 1
    found = []
    for mask in masks:
        halves = [movie[:, mask & half].mean(1) for half in (odd, ~odd)]
        found.append(np.corrcoef(np.stack(halves))[0, 1])
    return np.array(found)
