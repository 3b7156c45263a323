"""What the spike network sees of a cell: means over intervals in seconds, in units of the noise."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurodyn.calcium.traces import maximin

HALF = (0.0, 0.02, 0.05, 0.09, 0.15, 0.23, 0.35, 0.5, 0.75, 1.1, 1.6, 2.4, 3.5)
EDGES = np.array([*(-edge for edge in HALF[:0:-1]), *HALF])
"""Borders, s from a frame's middle, of the intervals over which the trace is averaged: finer where they are nearer."""
SLOW = 15.0
"""Half the length, s, of the running mean that says how active the cell is about then."""
BASELINE, SMOOTH = 60.0, 1.0
"""Length of the rolling minimum and maximum, and standard deviation of the Gaussian before them, s."""
CONTEXT = 8
TAUS = (0.4, 1.2)
"""Decay times, s, with which the trace is deconvolved beforehand, whatever the indicator."""
INPUTS = (2 + len(TAUS)) * (EDGES.size - 1) + 2
LEAST_AMPLITUDE = 3.0  # √Hz; a trace of noise alone reaches about as far
STEP_OF_NOISE = math.sqrt(2) * 0.6745  # median step between neighbouring frames of white noise of standard deviation 1
STILL = 1e-6  # of the largest value: what varies less is rounding
LARGEST = 1000.0  # noise is taken for at least the 99.5th percentile over this: simulations may have none


@dataclass(frozen=True)
class Scaled:
    """A cell as the network sees it.

    Parameters
    ----------
    stretches
        ΔF/F above its baseline in units of the noise's density, float32, √Hz, each shape (time,).
    events
        Non-negative jumps that with each of `TAUS` explain the stretches best, √Hz, each shape (tau, time).
    amplitude
        How high the trace rises, smoothed over .25 s: the 99.5th percentile above the baseline, √Hz.
    context
        What is told of the whole cell, float32, shape (CONTEXT,): noise, rate, how high the trace rises, and how it
        correlates with itself .3, .6 and 1.2 s later.
    rate_hz
        Frames per second.
    """

    stretches: tuple[np.ndarray, ...]
    events: tuple[np.ndarray, ...]
    amplitude: float
    context: np.ndarray
    rate_hz: float

    @classmethod
    def of(cls, stretches: Sequence[np.ndarray], rate_hz: float) -> Scaled | None:
        """Return a cell's stretches of ΔF/F scaled; None where they are constant."""
        whole = np.concatenate([np.ravel(stretch) for stretch in stretches])
        if np.ptp(whole) <= STILL * np.abs(whole).max(initial=0):
            return None
        above = [stretch - _baseline(stretch, rate_hz) for stretch in stretches]
        density = _noise_density(above, rate_hz)
        if density <= 0:
            return None
        scaled = tuple((stretch / density).astype(np.float32) for stretch in above)
        smooth = np.concatenate([_boxcar(stretch, max(1, round(0.25 * rate_hz))) for stretch in scaled])
        amplitude = max(float(np.percentile(smooth, 99.5)), LEAST_AMPLITUDE)
        events = tuple(_deconvolved(stretch, rate_hz) for stretch in scaled)
        return cls(scaled, events, amplitude, _context(smooth, rate_hz, density), rate_hz)


def _baseline(trace: np.ndarray, rate_hz: float) -> np.ndarray:
    """Return the rolling maximum of the rolling minimum of the smoothed trace, shape (time,)."""
    return maximin(trace, max(1, round(BASELINE * rate_hz)), SMOOTH * rate_hz)


def _deconvolved(trace: np.ndarray, rate_hz: float) -> np.ndarray:
    from neurodyn.compiled.nnls import nonnegative_spikes

    start = np.zeros(1, dtype=np.int64)
    return np.concatenate([nonnegative_spikes(trace[None], tau, rate_hz, start, 1) for tau in TAUS])


def _noise_density(stretches: Sequence[np.ndarray], rate_hz: float) -> float:
    """Return the spectral density of the noise, ΔF/F / √Hz, from the differences of neighbouring frames.

    It is at least a thousandth of the largest values, so that traces without noise have a scale, too; 0 for a constant
    trace.
    """
    steps = np.concatenate([np.abs(np.diff(stretch)) for stretch in stretches])
    level = float(np.median(steps)) / STEP_OF_NOISE if steps.size else 0.0
    return max(level / math.sqrt(rate_hz), float(np.percentile(np.concatenate(stretches), 99.5)) / LARGEST)


def _boxcar(trace: np.ndarray, width: int) -> np.ndarray:
    return np.convolve(trace, np.full(width, 1 / width, dtype=trace.dtype), "valid") if trace.size > width else trace


def _context(smooth: np.ndarray, rate_hz: float, density: float) -> np.ndarray:
    high = [math.asinh(float(value)) / 2 for value in np.percentile(smooth, [50, 90, 99.5])]
    centred = smooth - smooth.mean()
    power = float(np.mean(centred**2)) + 1e-9
    lags = [max(1, round(lag * rate_hz)) for lag in (0.3, 0.6, 1.2)]
    similar = [float(np.mean(centred[lag:] * centred[:-lag])) / power if smooth.size > lag + 5 else 0.0 for lag in lags]
    return np.array([math.log(density / 0.02) / 2, math.log(rate_hz / 25), *high, *similar], dtype=np.float32)


def finite_parts(trace: np.ndarray, starts: np.ndarray) -> list[slice]:
    """Return the runs of finite frames that no gap interrupts."""
    finite, borders = np.isfinite(trace), np.zeros(trace.size, dtype=bool)
    borders[starts] = True
    borders[1:] |= finite[1:] != finite[:-1]
    cuts = np.r_[np.flatnonzero(borders), trace.size]
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(cuts) if finite[a]]


def surround(cell: Scaled, place: int, frames: slice) -> np.ndarray:
    """Return what the network sees of each frame, float32, shape (time, INPUTS).

    Averages over the intervals between `EDGES`, as shares of the cell's amplitude and, compressed, in units of the noise;
    and how active the cell is about then.

    Parameters
    ----------
    place
        Which stretch.
    frames
        Which of its frames.
    """
    rate, trace, events = cell.rate_hz, cell.stretches[place], cell.events[place]
    first, last = max(0, frames.start - math.ceil(SLOW * rate) - 2), frames.stop + math.ceil(SLOW * rate) + 2
    at = np.arange(frames.start - first, frames.stop - first)
    means = _means(trace[first:last], at, rate)
    jumps = [_means(each[first:last], at, rate) * (np.diff(EDGES) * rate) for each in events]
    slow = _running(trace[first:last], at, round(SLOW * rate))[:, None]
    wide = np.concatenate([means, slow, *jumps], axis=1, dtype=np.float32)
    near = np.concatenate([means, slow], axis=1) / cell.amplitude
    return np.concatenate([near, _compressed(wide)], axis=1, dtype=np.float32)


def _compressed(values: np.ndarray) -> np.ndarray:
    """Return half the inverse hyperbolic sine; numpy's own takes three times as long as root and logarithm."""
    size = np.abs(values)
    return np.copysign(np.log(size + np.sqrt(size * size + 1)) / 2, values)


def _running(values: np.ndarray, at: np.ndarray, half: int) -> np.ndarray:
    """Return means over so many frames on both sides, as far as there are any."""
    total = np.r_[0.0, np.cumsum(values, dtype=np.float64)]
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, values.size)
    return (total[high] - total[low]) / (high - low)


def _means(values: np.ndarray, at: np.ndarray, rate_hz: float) -> np.ndarray:
    """Return means over the intervals between `EDGES` around frames, shape (time, interval); the ends are held."""
    pad = math.ceil(EDGES[-1] * rate_hz) + 2
    total = np.r_[0.0, np.cumsum(np.pad(values, pad, mode="edge"), dtype=np.float64)]
    return np.diff(_until(total, at + pad + 0.5, rate_hz)) / (np.diff(EDGES) * rate_hz)


def _until(total: np.ndarray, middles: np.ndarray, rate_hz: float) -> np.ndarray:
    """Return the integral of the trace up to each edge around each frame, shape (time, edge), linear within a frame."""
    out = np.empty((middles.size, EDGES.size))
    for column, edge in enumerate(EDGES):
        whole, part = divmod(float(middles[0]) + edge * rate_hz, 1)
        begin = int(whole)
        out[:, column] = (1 - part) * total[begin : begin + len(out)] + part * total[begin + 1 : begin + 1 + len(out)]
    return out
