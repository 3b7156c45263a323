"""Traces before and inferred events after deconvolution: stretches, baseline, noise, timing, smoothing, units."""

from __future__ import annotations

import math

import numpy as np
import zarr
from scipy.ndimage import gaussian_filter1d

from neurodyn.calcium.traces import bridged
from neurodyn.preprocess.base import Workspace
from neurodyn.preprocess.baselines import maximin

TRUNCATE = 4.0


def subtract_percentile(traces: np.ndarray, percentile: float) -> np.ndarray:
    """Subtract a percentile of each trace, shape (trace, time); traces without a finite frame stay as they are."""
    rows = np.isfinite(traces).any(axis=1)
    out = traces.copy()
    out[rows] -= np.nanpercentile(traces[rows], percentile, axis=1, keepdims=True)
    return out


def subtract_maximin(
    traces: np.ndarray, stretches: list[slice], window: float, sigma: float, rate_hz: float
) -> np.ndarray:
    """Subtract the rolling maximum of the rolling minimum of each smoothed trace, stretch by stretch.

    Parameters
    ----------
    traces
        ΔF/F, shape (trace, time); NaN frames are bridged linearly for the baseline and stay NaN.
    window
        Length of the rolling windows, s; the longest odd number of frames in a stretch where that is shorter.
    sigma
        Standard deviation of the Gaussian, s.
    """
    out = traces.copy()
    for part in stretches:
        frames = min(2 * int(window * rate_hz / 2) + 1, 2 * ((part.stop - part.start - 1) // 2) + 1)
        for row in range(len(traces)):
            trace = bridged(traces[row, part])
            out[row, part] -= maximin(trace[None], frames, sigma * rate_hz)[0].astype(traces.dtype)
    return out


def noise_levels(traces: np.ndarray, starts: np.ndarray, rate_hz: float) -> np.ndarray:
    """Return the standardised noise level ν = 100 median |x(t+1) - x(t)| / √rate of each trace, %/√Hz for ΔF/F.

    Rupprecht et al., Nat Neurosci 24, 1324 (2021): about 1 in very good recordings, above 5 in poor ones; comparable
    between frame rates.

    Parameters
    ----------
    traces
        ΔF/F, shape (trace, time); NaN frames and steps across gaps are left out.

    Returns
    -------
    np.ndarray
        Shape (trace,); 0 where no step is finite.
    """
    steps = np.abs(np.diff(traces, axis=1))
    if starts.size > 1:
        steps = np.delete(steps, starts[1:] - 1, axis=1)
    levels = np.zeros(len(traces))
    rows = np.isfinite(steps).any(axis=1)
    whole = np.isfinite(steps).all()
    levels[rows] = np.median(steps[rows], axis=1) if whole else np.nanmedian(steps[rows], axis=1)
    return 100 * levels / math.sqrt(rate_hz)


def keep_noise_levels(workspace: Workspace, target: zarr.Array, levels: np.ndarray, source: str, prefix: str) -> None:
    """Put the noise level of each ROI, as `noise_levels` gives it, beside spikes: in their attributes and in `qc`."""
    unit = "%/√Hz, of ΔF/F"
    target.attrs.update({"noise_level": levels.tolist(), "noise_level_unit": unit})
    workspace.keep("qc", f"{prefix}_noise_level", ("roi",), levels, unit, input=source)


def earlier(spikes: np.ndarray, delay: float, rate_hz: float, stretches: list[slice]) -> np.ndarray:
    """Move events earlier in time, split between neighbouring frames; their sum is kept within each stretch.

    Parameters
    ----------
    spikes
        Events per frame, shape (trace, time); NaN frames count as empty and stay NaN.
    delay
        By how much, s.
    """
    out = np.where(np.isfinite(spikes), 0.0, np.nan).astype(spikes.dtype)
    whole, part = divmod(delay * rate_hz, 1)
    for stretch in stretches:
        values = np.nan_to_num(spikes[:, stretch])
        for shift, weight in ((int(whole), 1 - part), (int(whole) + 1, part)):
            shift = min(shift, values.shape[1])
            out[:, stretch.start : stretch.stop - shift] += weight * values[:, shift:]
            out[:, stretch.start] += weight * values[:, :shift].sum(axis=1)
    return out


def smoothed(spikes: np.ndarray, sd: float, rate_hz: float, stretches: list[slice]) -> np.ndarray:
    """Smooth events with a Gaussian, stretch by stretch, mirrored at the ends; NaN frames count as empty and stay NaN.

    Parameters
    ----------
    spikes
        Events per frame, shape (trace, time).
    sd
        Standard deviation, s.
    """
    out = spikes.copy()
    for stretch in stretches:
        values = np.nan_to_num(spikes[:, stretch])
        soft = gaussian_filter1d(values, sd * rate_hz, axis=1, mode="reflect", truncate=TRUNCATE)
        out[:, stretch] = np.where(np.isfinite(spikes[:, stretch]), soft, np.nan)
    return out
