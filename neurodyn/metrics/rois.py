"""How well found ROIs agree with marked regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from neurodyn.metrics.intervals import bootstrap_interval

NEUROFINDER_DISTANCE = 5.0


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, and the number of units behind it."""

    value: float
    ci_low: float
    ci_high: float
    n: int


def match_centres(found: np.ndarray, marked: np.ndarray, distance: float = NEUROFINDER_DISTANCE) -> np.ndarray:
    """Pair found with marked centres, one to one: as many pairs as possible, and of those the nearest.

    Pairs within a distance are what neurofinder counts (CodeNeuro, neurofinder.codeneuro.org); instead of taking the
    nearest for one region after another, which depends on their order, all are assigned at once (Kuhn 1955, The
    Hungarian method for the assignment problem).

    Parameters
    ----------
    found, marked
        Centres in pixels, shape (region, 2).
    distance
        Longest distance within a pair, pixels.

    Returns
    -------
    np.ndarray
        Index of the found and of the marked region of every pair, shape (pair, 2), ordered by the first.
    """
    apart = np.linalg.norm(np.reshape(found, (-1, 1, 2)) - np.reshape(marked, (1, -1, 2)), axis=2)
    beyond = 1e3 * (1 + distance) * max(1, *apart.shape)  # dearer than any set of pairs
    rows, columns = linear_sum_assignment(np.where(apart <= distance, apart, beyond))
    near = apart[rows, columns] <= distance
    return np.stack([rows[near], columns[near]], axis=1)


def detection_scores(found: int, marked: int, pairs: np.ndarray, seed: int = 0) -> dict[str, Estimate]:
    """Return recall = pairs / marked, precision = pairs / found and F1 = 2 pairs / (marked + found).

    Intervals resample regions: marked ones for recall, found ones for precision, both for F1, each with the pairs
    held fixed.

    Parameters
    ----------
    found, marked
        Number of regions.
    pairs
        Indices of found and marked regions, shape (pair, 2).

    Returns
    -------
    dict
        `recall`, `precision` and `f1`; NaN where there is no region to divide by.
    """
    hit_found, hit_marked = np.zeros(found), np.zeros(marked)
    hit_found[pairs[:, 0]], hit_marked[pairs[:, 1]] = 1, 1
    both = np.concatenate([hit_found, hit_marked])  # its mean is 2 pairs / (found + marked)
    return {name: _mean(hits, seed) for name, hits in (("recall", hit_marked), ("precision", hit_found), ("f1", both))}


def overlap_scores(
    found: Sequence[np.ndarray], marked: Sequence[np.ndarray], pairs: np.ndarray, seed: int = 0
) -> dict[str, Estimate]:
    """Return the mean over pairs of inclusion = |F ∩ M| / |M| and exclusion = |F ∩ M| / |F|, as neurofinder has them.

    Parameters
    ----------
    found, marked
        Pixels of every region, each shape (pixel, 2).
    pairs
        Indices of found and marked regions, shape (pair, 2).
    """
    shared, sizes = np.zeros(len(pairs)), np.zeros((len(pairs), 2))
    for row, (f, m) in enumerate(pairs):
        ours, theirs = ({(int(y), int(x)) for y, x in pixels} for pixels in (found[f], marked[m]))
        shared[row], sizes[row] = len(ours & theirs), (len(theirs), len(ours))
    shares = shared[:, None] / np.maximum(sizes, 1)
    return {"inclusion": _mean(shares[:, 0], seed), "exclusion": _mean(shares[:, 1], seed)}


def _mean(values: np.ndarray, seed: int) -> Estimate:
    if not values.size:
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    low, high = bootstrap_interval(lambda index: float(values[index].mean()), values.size, seed=seed)
    return Estimate(float(values.mean()), low, high, values.size)
