"""Baselines F0 of fluorescence traces: pure functions of arrays, shape (trace, time)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter1d, percentile_filter
from scipy.stats import norm

from neurodyn.calcium import traces as single
from neurodyn.core.errors import DataError
from neurodyn.preprocess.threads import by_rows

Edge = Literal["reflect", "nearest", "mirror", "zero"]
SCIPY_MODES = {"reflect": "reflect", "nearest": "nearest", "mirror": "mirror", "zero": "constant"}
TRUNCATE = 4.0
MAD_TO_SD = 1.0 / float(norm.ppf(0.75))
MAX_BINS = 2**18


def odd(frames: float) -> int:
    """Return the odd window that reaches as far to both sides as `frames`: 600 -> 601, 601 -> 601."""
    return 2 * int(frames / 2 + 1e-9) + 1


def rolling_percentile(traces: np.ndarray, frames: int, percentile: float, edge: Edge = "reflect") -> np.ndarray:
    """Return the rolling percentile of each trace.

    F0(t) is the value of rank floor(frames * percentile / 100) among the `frames` values centred on t. The filter is
    called row by row because the fast rank filter exists in one dimension only.

    Parameters
    ----------
    traces
        Fluorescence, shape (trace, time).
    frames
        Window length, odd.
    """
    traces = np.ascontiguousarray(traces)  # scipy's rank filter loses its result where a row is strided
    baseline = np.empty(traces.shape, traces.dtype)
    for trace, row in zip(traces, baseline, strict=True):
        percentile_filter(trace, percentile, size=frames, mode=SCIPY_MODES[edge], output=row)
    return baseline


def decimated_percentile(
    traces: np.ndarray, frames: int, percentile: float, every: int, edge: Edge = "reflect"
) -> np.ndarray:
    """Return the rolling percentile over every k-th frame, interpolated linearly between; the last value is held.

    Parameters
    ----------
    traces
        Fluorescence, shape (trace, time).
    frames
        Window length in frames before decimation.
    every
        k; 1 is exact.
    """
    if every == 1:
        return rolling_percentile(traces, frames, percentile, edge)
    knots = rolling_percentile(traces[:, ::every], odd(frames / every), percentile, edge)
    left, rest = np.divmod(np.arange(traces.shape[1]), every)
    right = np.minimum(left + 1, knots.shape[1] - 1)
    return knots[:, left] + (knots[:, right] - knots[:, left]) * (rest / every)


def rolling_median(traces: np.ndarray, frames: int, edge: Edge = "reflect") -> np.ndarray:
    """Return the median of the `frames` (odd) values centred on each frame of each trace, shape (trace, time)."""
    return rolling_percentile(traces, frames, 50, edge)


def maximin(
    traces: np.ndarray, frames: int, sigma: float, edge: Edge = "reflect", truncate: float = TRUNCATE
) -> np.ndarray:
    """Return the rolling maximum of the rolling minimum of each smoothed trace.

    suite2p's baseline (Pachitariu et al., bioRxiv 061507, 2017) is this with edge "nearest" and truncate 3.

    Parameters
    ----------
    traces
        Fluorescence, shape (trace, time).
    frames
        Window length of minimum and maximum, odd.
    sigma
        Standard deviation of the Gaussian, in frames.
    truncate
        Where the Gaussian ends, in standard deviations.
    """
    return by_rows(lambda rows: single.maximin(rows, frames, sigma, SCIPY_MODES[edge], truncate), traces)


def rolling_mean(traces: np.ndarray, frames: int) -> np.ndarray:
    """Return the mean of the `frames` (odd) values centred on each frame, fewer at the ends, shape (trace, time)."""
    length, half = traces.shape[1], frames // 2
    offset = traces[:, :1]  # so that the running sum keeps its digits
    total = np.concatenate([np.zeros_like(offset), np.cumsum(traces - offset, axis=1)], axis=1)
    at = np.arange(length)
    first, last = np.maximum(at - half, 0), np.minimum(at + half + 1, length)
    return offset + (total[:, last] - total[:, first]) / (last - first)


def rolling_mode(traces: np.ndarray, frames: int, width: float = 1.0) -> np.ndarray:
    """Return the most frequent value around each frame, the smallest one where several are equally frequent.

    Values are rounded to multiples of `width`; the window is cut at the ends.

    Parameters
    ----------
    traces
        Fluorescence, shape (trace, time).
    frames
        Window length, odd.
    width
        Width of a bin, in the traces' unit.

    Raises
    ------
    DataError
        If the traces span more than 262,144 bins.
    """
    binned = np.rint(traces / width)
    lowest = binned.min(axis=1, keepdims=True)
    if np.ptp(binned, axis=1).max(initial=0) >= MAX_BINS:
        raise _too_many_bins(traces, width)
    bins = (binned - lowest).astype(np.int64)
    rows, half, length = np.arange(len(bins)), frames // 2, bins.shape[1]
    count = np.zeros((len(bins), int(bins.max(initial=0)) + 1), dtype=np.int32)
    np.add.at(count, (rows[:, None], bins[:, :half]), 1)
    mode, result = count.argmax(axis=1), np.empty(bins.shape, dtype=np.int64)
    for t in range(length):
        if t > half:
            gone = bins[:, t - half - 1]
            count[rows, gone] -= 1
            lost = np.flatnonzero(gone == mode)
            if lost.size:
                mode[lost] = count[lost].argmax(axis=1)
        if t + half < length:
            new = bins[:, t + half]
            count[rows, new] += 1
            ahead = count[rows, new] - count[rows, mode]
            mode = np.where((ahead > 0) | ((ahead == 0) & (new < mode)), new, mode)
        result[:, t] = mode
    return (result + lowest) * width


def _too_many_bins(traces: np.ndarray, width: float) -> DataError:
    span = float(np.ptp(traces, axis=1).max())
    return DataError(
        f"dff: bins of {width:g} are too narrow for a mode.",
        f"The traces span {span:g}; at most {MAX_BINS} bins are counted.",
        f"Widen them: --set dff.bin={span / 4096:.3g}",
    )


def noise_level(traces: np.ndarray, frames: int) -> np.ndarray:
    """Return the noise level of each trace, in its unit, shape (trace, 1).

    Of the residual about a short running median (zero beyond the ends), peaks above 1.5 times the largest dip are left out, then everything
    beyond 2.5 robust standard deviations; a robust standard deviation is 1.4826 times the median absolute deviation.
    The rule of the Allen Brain Observatory (de Vries et al., Nat Neurosci 23, 138, 2020).

    Parameters
    ----------
    traces
        Fluorescence or ΔF/F, shape (trace, time).
    frames
        Window of the running median, odd.
    """
    residuals = traces - rolling_median(traces, frames, "zero")
    return np.array([[_noise(residual)] for residual in residuals])


def _noise(residual: np.ndarray) -> float:
    kept = residual[residual < 1.5 * abs(residual.min())]
    return _robust_sd(kept[np.abs(kept) < 2.5 * _robust_sd(kept)])


def _robust_sd(values: np.ndarray) -> float:
    if not values.size:
        return 0.0
    return MAD_TO_SD * float(np.median(np.abs(values - np.median(values))))


def lowest_mean(traces: np.ndarray, percentile: float = 10.0) -> np.ndarray:
    """Return the mean of the lowest `percentile` per cent of each trace's frames, one at least, shape (trace,).

    NaN frames are left out.
    """
    result = np.empty(len(traces))
    for row, trace in enumerate(traces):
        trace = trace[np.isfinite(trace)]
        count = max(1, round(trace.size * percentile / 100))
        result[row] = np.partition(trace, count - 1)[:count].mean() if trace.size else np.nan
    return result


def whole_percentile(traces: np.ndarray, percentile: float = 8.0) -> np.ndarray:
    """Return one percentile of each trace, interpolated linearly, NaN frames left out, shape (trace,)."""
    result = np.empty(len(traces))
    for row, trace in enumerate(traces):
        trace = trace[np.isfinite(trace)]
        result[row] = np.percentile(trace, percentile) if trace.size else np.nan
    return result


def smoothed_minimum(traces: np.ndarray, sigma: float, edge: Edge = "reflect") -> np.ndarray:
    """Return the minimum of each trace after Gaussian smoothing, shape (trace,).

    suite2p's "constant" baseline, but each trace has its own minimum: suite2p takes one over all ROIs.

    Parameters
    ----------
    traces
        Fluorescence, finite, shape (trace, time).
    sigma
        Standard deviation of the Gaussian, in frames.
    """
    return gaussian_filter1d(traces, sigma, axis=1, mode=SCIPY_MODES[edge], truncate=TRUNCATE).min(axis=1)
