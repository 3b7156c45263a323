"""What is done to single traces before anything is fitted; only numpy is imported at first."""

from __future__ import annotations

import numpy as np


def bridged(trace: np.ndarray) -> np.ndarray:
    """Return a trace with NaN frames interpolated linearly, shape (time,); all zero where nothing is finite."""
    finite = np.isfinite(trace)
    if finite.all():
        return trace
    frames = np.arange(trace.size)
    return np.interp(frames, frames[finite], trace[finite]) if finite.any() else np.zeros_like(trace)


def maximin(traces: np.ndarray, frames: int, sigma: float, mode: str = "reflect", truncate: float = 4.0) -> np.ndarray:
    """Return the rolling maximum of the rolling minimum of each smoothed trace, shape (..., time).

    Parameters
    ----------
    traces
        Fluorescence or ΔF/F, shape (..., time).
    frames
        Window length of minimum and maximum.
    sigma
        Standard deviation of the Gaussian, in frames.
    mode
        What scipy's filters see beyond the ends.
    truncate
        Where the Gaussian ends, in standard deviations.
    """
    from scipy.ndimage import gaussian_filter1d, maximum_filter1d, minimum_filter1d  # `inspect` imports this module

    smooth = gaussian_filter1d(traces, sigma, axis=-1, mode=mode, truncate=truncate)
    return maximum_filter1d(minimum_filter1d(smooth, frames, axis=-1, mode=mode), frames, axis=-1, mode=mode)
