"""Whole spikes in frames from expected ones."""

from __future__ import annotations

import math

import numpy as np

WIDTH = 0.05
"""Standard deviation, s, of the Gaussian that one spike is expected as: F1 was greatest in datasets left out."""
REACH = 4.0  # standard deviations


def whole_spikes(expected: np.ndarray, rate_hz: float) -> np.ndarray:
    """Return spikes per frame, whole numbers, float32, shape (time,); NaN stays NaN.

    One spike after another is put where a Gaussian of one spike leaves the least squares of what is expected, until none
    makes them less. The same numbers give the same spikes. What is expected thinly over long times makes none, so that
    they are fewer than expected.

    Parameters
    ----------
    expected
        Expected spikes per frame, shape (time,).
    rate_hz
        Frames per second.
    """
    reach = math.ceil(REACH * WIDTH * rate_hz)
    one = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (WIDTH * rate_hz)) ** 2)
    one /= one.sum()
    overlap = np.convolve(one, one)
    fits = np.convolve(np.nan_to_num(expected).astype(float), one)[reach : reach + expected.size]
    fits[~np.isfinite(expected)] = -np.inf
    fits = np.pad(fits, 2 * reach, constant_values=-np.inf)
    counts = np.where(np.isfinite(expected), 0.0, np.nan).astype(np.float32)
    while (best := int(fits.argmax())) and fits[best] > overlap[2 * reach] / 2:
        counts[best - 2 * reach] += 1
        fits[best - 2 * reach : best + 2 * reach + 1] -= overlap
    return counts
