"""One cell's trace in stretches, its noise and the first guess of its baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import BSpline
from scipy.linalg import solveh_banded
from scipy.sparse import csr_array

from neurodyn.calcium.ar1 import noise_sd
from neurodyn.calcium.traces import bridged

KNOT_SECONDS = 30.0
LOW_SHARE, LOW_NORMAL = 2.0, 2.0537  # per cent, and how many standard deviations below the mean these lie
CHUNK_SECONDS = 10.0
LEAST_WINDOW = 20
OVERLAP = 3  # cubic B-splines: each reaches into that many next ones
JITTER = 1e-10  # of the largest diagonal element: a function that no seen frame tells becomes 0 instead of anything


@dataclass(frozen=True)
class Cell:
    """One trace in uninterrupted stretches.

    Parameters
    ----------
    trace
        ΔF/F, shape (time,); NaN frames are passed over.
    starts
        First frame of every stretch, and the number of frames.
    rate_hz
        Frames per second.
    tau
        Decay time constant, s.
    knots
        Functions whose sum the baseline is, shape (time, function), neighbours in neighbouring columns.
    """

    trace: np.ndarray
    starts: np.ndarray
    rate_hz: float
    tau: float
    knots: csr_array

    @classmethod
    def of(cls, trace: np.ndarray, starts: np.ndarray, rate_hz: float, tau: float) -> Cell:
        """Give a trace a baseline of cubic splines with a knot every half minute."""
        return cls(trace, starts, rate_hz, tau, splines(trace.size, KNOT_SECONDS * rate_hz))

    @property
    def decay(self) -> float:
        """Factor by which calcium decays from frame to frame."""
        return math.exp(-1 / (self.tau * self.rate_hz))

    @property
    def resolution(self) -> float:
        """Smallest jump that one standard deviation of noise hides, over that deviation: √(1 - g²)."""
        return math.sqrt(1 - self.decay**2)

    def take(self, windows: np.ndarray) -> Cell:
        """Return the cell with some of its frames, shape (window, time), each window a stretch."""
        starts = np.arange(len(windows) + 1) * windows.shape[1]
        chosen = windows.ravel()
        knots = self.knots[chosen]
        return replace(self, trace=self.trace[chosen], starts=starts, knots=knots[:, np.diff(knots.tocsc().indptr) > 0])

    def bridged(self) -> Cell:
        """Return the cell with NaN frames on a line between their neighbours."""
        return replace(self, trace=bridged(self.trace))

    def smoothed(self, rest: np.ndarray) -> np.ndarray:
        """Return the baseline closest to what calcium leaves of a trace, both of shape (time,)."""
        seen = np.isfinite(rest)
        return self.knots @ closest(self.knots[seen], rest[seen])


def splines(frames: int, apart: float) -> csr_array:
    """Return cubic B-splines with a knot every `apart` frames, a constant where that is too far, shape (time, function)."""
    count = round(frames / apart)
    if count < 2:
        return csr_array(np.ones((frames, 1)))
    inner = np.linspace(0, frames - 1, count + 1)
    return csr_array(BSpline.design_matrix(np.arange(frames), np.r_[[0.0] * 3, inner, [frames - 1.0] * 3], 3))


def closest(knots: csr_array, courses: np.ndarray) -> np.ndarray:
    """Return the weights with which splines add up closest to courses, shape (function,) or (function, course).

    By normal equations, which for splines are banded: a recording of hours takes milliseconds. Dense least squares took
    nine tenths of the time of counting spikes.

    Parameters
    ----------
    knots
        As `splines` gives them, shape (time, function).
    courses
        Shape (time,) or (time, course).
    """
    gram = knots.T @ knots
    reach = min(OVERLAP, gram.shape[0] - 1)
    bands = np.stack([np.r_[np.zeros(k), gram.diagonal(k)] for k in range(reach, -1, -1)])
    bands[-1] += JITTER * bands[-1].max()
    return solveh_banded(bands, knots.T @ courses)


def cell_noise(cell: Cell) -> float:
    """Return the standard deviation of white noise of a cell, in its unit, from steps within its stretches."""
    parted = np.insert(cell.trace, cell.starts[1:-1], np.nan)
    return noise_sd(parted, cell.decay)


def first_baseline(cell: Cell, noise: float) -> np.ndarray:
    """Return the second percentile of each half minute, raised by what noise lowers it, shape (time,)."""
    frames = cell.trace.size
    parts = np.array_split(np.arange(frames), max(1, round(frames / (KNOT_SECONDS * cell.rate_hz))))
    parts = [part for part in parts if np.isfinite(cell.trace[part]).any()]
    low = [np.nanpercentile(cell.trace[part], LOW_SHARE) + LOW_NORMAL * noise for part in parts]
    return np.interp(np.arange(frames), [part.mean() for part in parts], low)


def busiest(cell: Cell, frames: int) -> np.ndarray:
    """Return the windows of ten seconds in which the trace rises most, in order, indices of shape (window, time).

    Where half of the stretches are shorter, so are the windows; stretches shorter than these are left out.
    """
    lengths = np.diff(cell.starts)
    length = int(
        min(
            max(LEAST_WINDOW, round(CHUNK_SECONDS * cell.rate_hz)), max(LEAST_WINDOW, np.median(lengths)), lengths.max()
        )
    )
    parts = zip(cell.starts[:-1], cell.starts[1:], strict=True)
    windows = np.concatenate([np.arange(a, b - length + 1, length)[:, None] + np.arange(length) for a, b in parts])
    rise = np.nan_to_num(np.nanmax(cell.trace[windows], axis=1) - np.nanmedian(cell.trace[windows], axis=1))
    return windows[np.sort(np.argsort(-rise)[: max(1, frames // length)])]
