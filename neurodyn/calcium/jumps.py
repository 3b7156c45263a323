"""Events in a trace, whatever the size of one spike, and which sizes of one spike these suggest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from oasis.oasis_methods import oasisAR1
from scipy.special import gammaln

from neurodyn.calcium.cell import Cell

LEAST_EVENT = 4.0
ROUNDS = 3
BELOW = (0.0, 0.2, 0.4, 0.7, 1.1, 1.6, 2.3)
PRICE = 2.0
STEP = 0.015  # between sizes of one spike, as a share of the lower one
MOST = 24  # spikes in one event
BLUR = 0.03  # of an event's size: decay while it lasts, spikes that are not all alike
STEPS = 6
MOST_EVENTS = 200
TOGETHER = 0.035  # s
APART = 1.15
COARSER = 10.0  # nats per doubling, in the order of suggestions: all whole parts of the right size fit as well
WEIGHT, RARER = 2.0, 0.6


@dataclass(frozen=True)
class Events:
    """What a trace consists of, if events are few.

    Parameters
    ----------
    sizes
        Jumps, in the trace's unit, shape (event,).
    errors
        What noise makes of them, standard deviations, shape (event,).
    merged, merged_errors
        The same of events together in neighbouring frames, among which noise may have divided them, shape (group,).
    squares
        Sum of squares of what is left of the trace.
    baseline
        Of every frame, in the trace's unit, shape (time,).
    """

    sizes: np.ndarray
    errors: np.ndarray
    merged: np.ndarray
    merged_errors: np.ndarray
    squares: float
    baseline: np.ndarray


def events(cell: Cell, noise: float, low: np.ndarray, below: tuple[float, ...] = BELOW) -> Events:
    """Find the fewest jumps, each of four times what noise hides at least, by OASIS with a smallest event, and a baseline.

    Where spikes are many, calcium never decays to 0: the baseline begins that far below the lowest frames at which the trace
    is explained best.

    Parameters
    ----------
    cell
        Without NaN.
    noise
        Standard deviation, in the trace's unit.
    low
        First guess of the baseline, in the trace's unit, shape (time,).
    below
        How far below that guess it may begin, over what the trace lies above it on average.
    """
    above = max(0.0, float(np.mean(cell.trace - low)))
    level = min((low - share * above for share in below), key=lambda level: _fitted(cell, noise, level)[2])
    for _ in range(ROUNDS):
        calcium = _fitted(cell, noise, level)[0]
        level = cell.smoothed(cell.trace - calcium)
    calcium, spikes, _ = _fitted(cell, noise, level)
    parts = np.split(spikes, cell.starts[1:-1])
    apart = max(1, round(TOGETHER * cell.rate_hz))
    single, merged = (
        [np.concatenate(part) for part in zip(*(_jumps(part, cell.decay, gap) for part in parts), strict=True)]
        for gap in (0, apart)
    )
    squares = float(((cell.trace - level - calcium) ** 2).sum())
    return Events(single[0], noise * single[1], merged[0], noise * merged[1], squares, level)


def _fitted(cell: Cell, noise: float, level: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return calcium and jumps above a baseline, shape (time,), and the squares left plus what the jumps cost."""
    smallest = LEAST_EVENT * noise * cell.resolution
    parts = np.split(cell.trace - level, cell.starts[1:-1])
    found = [oasisAR1(np.ascontiguousarray(part), cell.decay, s_min=smallest) for part in parts]
    calcium, spikes = (np.concatenate(part) for part in zip(*found, strict=True))
    squares = float(((cell.trace - level - calcium) ** 2).sum()) / noise**2
    spikes[cell.starts[:-1]] = 0.0
    return calcium, spikes, squares + PRICE * math.log(spikes.size) * np.count_nonzero(spikes)


def _jumps(spikes: np.ndarray, decay: float, apart: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a stretch's groups of events at most that many frames apart, and their errors over the noise.

    The level after each event is known from the frames up to the next one, and a group's size is the last level, what decayed
    meanwhile of those before, less what is left of the level before the group.
    """
    at = np.flatnonzero(spikes[1:] > 0) + 1
    if not at.size:
        return np.empty(0), np.empty(0)
    lengths = np.diff(np.r_[0, at, spikes.size])
    left = decay**lengths
    variance = (1 - decay**2) / (1 - left**2)
    first = np.flatnonzero(np.r_[True, lengths[1:-1] > apart])
    last = np.r_[first[1:] - 1, at.size - 1]
    lost = np.r_[0.0, np.cumsum((1 - left[1:]) ** 2 * variance[1:])]
    error = variance[last + 1] + lost[last] - lost[first] + left[first] ** 2 * variance[first]
    return np.add.reduceat(spikes[at], first), np.sqrt(error)


def suggested(found: Events, least: float, most: int) -> list[float]:
    """Return the sizes of one spike of which events are likeliest whole multiples, apart from each other.

    These are peaks of the likelihood over a fine grid, each event a whole multiple but for its error, with the shares of
    single, double ... events integrated out; the best of single events and of merged ones.

    Parameters
    ----------
    found
        At least one event.
    least
        Smallest size of one spike, in the trace's unit.
    most
        How many sizes, of either.
    """
    chosen: list[float] = []
    for sizes, errors in ((found.merged, found.merged_errors), (found.sizes, found.errors)):
        some = np.argsort(errors)[:MOST_EVENTS]
        goal = len(chosen) + most
        for quantum in _peaks(sizes[some], errors[some], least):
            if len(chosen) < goal and all(max(quantum / other, other / quantum) > APART for other in chosen):
                chosen.append(quantum)
    return chosen


def _peaks(sizes: np.ndarray, errors: np.ndarray, least: float) -> list[float]:
    """Return all peaks of the likelihood over sizes of one spike, the best first."""
    top = max(float(sizes.max()), 2 * least)
    grid = least * np.exp(STEP * np.arange(math.ceil(math.log(top / least) / STEP) + 1))
    scores = np.array([_score(sizes, errors, quantum) for quantum in grid])
    padded = np.r_[-np.inf, scores, -np.inf]
    peaks = np.flatnonzero((padded[1:-1] >= padded[:-2]) & (padded[1:-1] > padded[2:]))
    rank = scores + COARSER * np.log2(grid / least)
    return [float(grid[peak]) for peak in peaks[np.argsort(-rank[peaks])]]


def _score(sizes: np.ndarray, errors: np.ndarray, quantum: float) -> float:
    """Return the log likelihood of events as whole multiples of one quantum, whatever the shares of these multiples."""
    whole = np.arange(1.0, min(MOST, math.ceil(float(sizes.max()) / quantum) + 1) + 1)
    spread = np.hypot(errors[:, None], BLUR * quantum * whole)
    fits = np.exp(-(((sizes[:, None] - quantum * whole) / spread) ** 2) / 2) / spread + 1e-12 / errors[:, None]
    prior = RARER**whole
    prior *= WEIGHT / prior.sum()
    shares = prior / WEIGHT
    for _ in range(STEPS):
        mixed = fits * shares
        mass = mixed.sum(axis=1, keepdims=True)
        counts = (mixed / mass).sum(axis=0)
        shares = (counts + prior) / (sizes.size + WEIGHT)
    fitted = counts @ np.log(shares)
    averaged = gammaln(WEIGHT) - gammaln(WEIGHT + sizes.size) + (gammaln(prior + counts) - gammaln(prior)).sum()
    return float(np.log((fits * shares).sum(axis=1)).sum() - fitted + averaged)
