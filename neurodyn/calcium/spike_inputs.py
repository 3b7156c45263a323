"""What the spike network sees of a cell: means over intervals in seconds, in units of the noise."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

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
INPUTS_AHEAD = 2 * EDGES.size
"""How many numbers are seen of a frame, and how many with a lookahead."""
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
        Non-negative jumps that with each of `TAUS` explain the stretches best, √Hz, each shape (tau, time); none with a
        lookahead, because what comes later changes all of them.
    density
        Noise, ΔF/F / √Hz.
    amplitude
        How high the trace rises, smoothed over .25 s: the 99.5th percentile above the baseline, √Hz.
    context
        What is told of the whole cell, float32, shape (CONTEXT,): noise, rate, how high the trace rises, and how it
        correlates with itself .3, .6 and 1.2 s later.
    rate_hz
        Frames per second.
    ahead
        How many later frames a frame may see; None: as many as there are.
    """

    stretches: tuple[np.ndarray, ...]
    events: tuple[np.ndarray, ...]
    density: float
    amplitude: float
    context: np.ndarray
    rate_hz: float
    ahead: int | None = None

    @classmethod
    def of(cls, stretches: Sequence[np.ndarray], rate_hz: float, lookahead: float | None = None) -> Scaled | None:
        """Return a cell's stretches of ΔF/F scaled; None where they are constant.

        Parameters
        ----------
        lookahead
            How far a frame may see ahead, s; None: as far as there is anything.
        """
        whole = np.concatenate([np.ravel(stretch) for stretch in stretches])
        if np.ptp(whole) <= STILL * np.abs(whole).max(initial=0):
            return None
        ahead = frames_ahead(lookahead, rate_hz)
        above = _above(stretches, rate_hz, ahead)
        density = _noise_density(above, rate_hz)
        if density <= 0:
            return None
        scaled = tuple((stretch / density).astype(np.float32) for stretch in above)
        smooth = np.concatenate([_boxcar(stretch, max(1, round(0.25 * rate_hz))) for stretch in scaled])
        amplitude = max(float(np.percentile(smooth, 99.5)), LEAST_AMPLITUDE)
        events = tuple(_deconvolved(stretch, rate_hz) for stretch in scaled) if ahead is None else ()
        return cls(scaled, events, density, amplitude, _context(smooth, rate_hz, density), rate_hz, ahead)

    def like(self, stretches: Sequence[np.ndarray]) -> Scaled:
        """Return other stretches of the same cell, whose noise and amplitude are known, for a network with a lookahead."""
        above = _above(stretches, self.rate_hz, self.ahead)
        return replace(self, stretches=tuple((stretch / self.density).astype(np.float32) for stretch in above))

    @property
    def similar(self) -> np.ndarray:
        """How the trace correlates with itself .3, .6 and 1.2 s later, shape (3,)."""
        return self.context[-3:]


def frames_ahead(lookahead: float | None, rate_hz: float) -> int | None:
    """Return how many later frames a frame may see; None where it may see all."""
    return None if lookahead is None else int(lookahead * rate_hz + 1e-6)


def _above(stretches: Sequence[np.ndarray], rate_hz: float, ahead: int | None) -> list[np.ndarray]:
    """Return stretches less their baselines; with a lookahead these know nothing of later frames."""
    if ahead is None:
        return [trace - maximin(trace, max(1, round(BASELINE * rate_hz)), SMOOTH * rate_hz) for trace in stretches]
    return [trace - _lowest_before(trace, rate_hz) for trace in stretches]


def _lowest_before(trace: np.ndarray, rate_hz: float) -> np.ndarray:
    """Return the least of the means over two seconds that ended in the minute before each frame, shape (time,)."""
    from scipy.ndimage import minimum_filter1d

    frames, width = max(1, round(BASELINE * rate_hz)), max(1, round(2 * SMOOTH * rate_hz))
    total = np.cumsum(np.r_[np.zeros(width), trace])
    means = (total[width:] - total[:-width]) / np.minimum(np.arange(1, trace.size + 1), width)
    held = np.r_[np.full(frames - 1, np.inf), means]
    return minimum_filter1d(held, frames, mode="nearest", origin=(frames - 1) // 2)[frames - 1 :]


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
    """Return what the network sees of each frame, float32, shape (time, INPUTS); INPUTS_AHEAD with a lookahead.

    Averages over the intervals between `EDGES`, as shares of the cell's amplitude and, compressed, in units of the noise;
    and how active the cell is about then.

    Parameters
    ----------
    place
        Which stretch.
    frames
        Which of its frames.
    """
    rate, trace, events = cell.rate_hz, cell.stretches[place], cell.events[place : place + 1]
    first, last = max(0, frames.start - math.ceil(SLOW * rate) - 2), frames.stop + math.ceil(SLOW * rate) + 2
    at = np.arange(frames.start - first, frames.stop - first)
    edges = EDGES if cell.ahead is None else np.minimum(EDGES, (cell.ahead + 0.5) / rate)
    means = _means(trace[first:last], at, rate, edges)
    jumps = [_means(each[first:last], at, rate, edges) * (np.diff(edges) * rate) for both in events for each in both]
    slow = _running(trace[first:last], at, round(SLOW * rate), cell.ahead)[:, None]
    wide = np.concatenate([means, slow, *jumps], axis=1, dtype=np.float32)
    near = np.concatenate([means, slow], axis=1) / cell.amplitude
    return np.concatenate([near, _compressed(wide)], axis=1, dtype=np.float32)


def _compressed(values: np.ndarray) -> np.ndarray:
    """Return half the inverse hyperbolic sine; numpy's own takes three times as long as root and logarithm."""
    size = np.abs(values)
    return np.copysign(np.log(size + np.sqrt(size * size + 1)) / 2, values)


def _running(values: np.ndarray, at: np.ndarray, half: int, ahead: int | None) -> np.ndarray:
    """Return means over so many frames on both sides, as far as there are any and may be seen."""
    total = np.r_[0.0, np.cumsum(values, dtype=np.float64)]
    later = half if ahead is None else min(half, ahead)
    low, high = np.maximum(at - half, 0), np.minimum(at + later + 1, values.size)
    return (total[high] - total[low]) / (high - low)


def _means(values: np.ndarray, at: np.ndarray, rate_hz: float, edges: np.ndarray) -> np.ndarray:
    """Return means over the intervals around frames, shape (time, interval); 0 over empty ones; the ends are held."""
    pad = math.ceil(EDGES[-1] * rate_hz) + 2
    total = np.r_[0.0, np.cumsum(np.pad(values, pad, mode="edge"), dtype=np.float64)]
    widths = np.diff(edges) * rate_hz
    return np.diff(_until(total, at + pad + 0.5, edges * rate_hz)) / np.where(widths, widths, 1)


def _until(total: np.ndarray, middles: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the integral of the trace up to each edge around each frame, shape (time, edge), linear within a frame.

    Parameters
    ----------
    edges
        In frames.
    """
    out = np.empty((middles.size, edges.size))
    for column, edge in enumerate(edges):
        # rounded, or an edge that is the end of a frame would take a billionth of the next one
        whole, part = divmod(round(float(middles[0]) + edge, 6), 1)
        begin = int(whole)
        out[:, column] = (1 - part) * total[begin : begin + len(out)] + part * total[begin + 1 : begin + 1 + len(out)]
    return out
