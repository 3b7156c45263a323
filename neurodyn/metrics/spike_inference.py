"""How well inferred activity follows recorded spikes, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d


def bin_edges(first: float, last: float, rate_hz: float) -> np.ndarray:
    """Return the edges, s, of whole bins of 1 / rate between two times."""
    return first + np.arange(int((last - first) * rate_hz + 1e-9) + 1) / rate_hz


def binned(values: np.ndarray, time: np.ndarray, frame: float, edges: np.ndarray) -> np.ndarray:
    """Return the sum of a signal in each bin; what a frame holds is spread evenly over the frame.

    Parameters
    ----------
    values
        Signal per frame, shape (time,).
    time
        Middle of each frame, s, shape (time,), without gaps.
    frame
        Duration of a frame, s.
    edges
        Edges of the bins, s, shape (bin + 1,).
    """
    borders = np.r_[time - frame / 2, time[-1] + frame / 2]
    return np.diff(np.interp(edges, borders, np.r_[0.0, np.cumsum(values)]))


def paired_bins(
    values: np.ndarray, time: np.ndarray, frame: float, spikes: np.ndarray, rate_hz: float, smooth: float = 0.0
) -> np.ndarray:
    """Return a signal and recorded spikes in the same bins, both smoothed alike, shape (2, bin).

    Parameters
    ----------
    values, time, frame
        One stretch without gaps; see `binned`.
    spikes
        Times of the recorded spikes, s, shape (spike,).
    rate_hz
        Bins per second.
    smooth
        Standard deviation of the Gaussian, s; 0: none.
    """
    edges = bin_edges(time[0] - frame / 2, time[-1] + frame / 2, rate_hz)
    both = np.stack([binned(values, time, frame, edges), np.histogram(spikes, edges)[0].astype(float)])
    return gaussian_filter1d(both, smooth * rate_hz, axis=1) if smooth and both.size else both


def pearson(pairs: Sequence[np.ndarray]) -> float:
    """Return Pearson's r of pairs of courses laid end to end, each of shape (2, bin); NaN where one is constant.

    Theis et al., Neuron 90, 471 (2016), in bins of 40 ms; Rupprecht et al., Nat Neurosci 24, 1324 (2021), on courses
    smoothed at 7.5 Hz.
    """
    first, second = np.concatenate(pairs, axis=1)
    first, second = first - first.mean(), second - second.mean()
    power = float(first @ first) * float(second @ second)
    return float(first @ second) / power**0.5 if power > 0 else float("nan")


def matched_f1(found: np.ndarray, recorded: np.ndarray, window: float) -> float:
    """Return F1 of discrete spikes: the harmonic mean of how many are right and how many are found; NaN of none at all.

    Spikes are paired one with one, in order, wherever they are no further apart than the window: the most pairs there
    can be. Deneux et al., Nat Commun 7, 12190 (2016), with a window of 0.5 s.

    Parameters
    ----------
    found, recorded
        Times, s, sorted.
    window
        Greatest distance, s.
    """
    pairs = first = second = 0
    while first < found.size and second < recorded.size:
        apart = found[first] - recorded[second]
        pairs += abs(apart) <= window
        first, second = first + (apart <= window), second + (apart >= -window)
    total = found.size + recorded.size
    return 2 * pairs / total if total else float("nan")
