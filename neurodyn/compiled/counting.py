"""Forward and backward sums over whole spike counts behind a noisy, decaying trace, compiled."""

from __future__ import annotations

import math

import numba
import numpy as np

from neurodyn.compiled.base import CACHE

FADED = 1e-5
FAR = 30.0


@numba.njit(nogil=True, cache=CACHE)
def _advance(
    before: np.ndarray,
    bounds: tuple[int, int],
    shift: int,
    lower: np.ndarray,
    weight: np.ndarray,
    shares: np.ndarray,
    after: np.ndarray,
) -> tuple[int, int]:
    """Let calcium decay and jump: fill `after` between the bounds returned, which are inclusive."""
    first = max(0, bounds[0] - shift)
    last = lower[-1, max(0, bounds[1] - shift)] + 1
    after[first : last + 1] = 0.0
    for level in range(bounds[0], bounds[1] + 1):
        after[max(0, level - shift)] += before[level] * shares[0]
    for count in range(1, shares.size):
        goal, above, share = lower[count], weight[count], shares[count]
        for level in range(bounds[0], bounds[1] + 1):
            down = max(0, level - shift)
            mass, at = before[level] * share, goal[down]
            upper = mass * above[down]
            after[at] += mass - upper
            after[at + 1] += upper
    return first, last


@numba.njit(nogil=True, cache=CACHE)
def _observe(
    value: float, bounds: tuple[int, int], levels: np.ndarray, noise: float, state: np.ndarray
) -> tuple[float, int, int]:
    """Weigh states by the likelihood of one frame, NaN weighing nothing; return its logarithm and the bounds left."""
    first, last = bounds
    nearest = 0.0
    if not math.isnan(value):
        nearest = np.inf
        for level in range(first, last + 1):
            if state[level] > 0:
                nearest = min(nearest, (value - levels[level]) ** 2)
        for level in range(first, last + 1):
            worse = ((value - levels[level]) ** 2 - nearest) / (2 * noise**2)
            if state[level] > 0:  # what cannot be may lie nearer, and then the exponential is infinite
                state[level] *= math.exp(-worse) if worse < FAR else 0.0
    total = state[first : last + 1].sum()
    state[first : last + 1] /= total
    limit = FADED * state[first : last + 1].max()
    while state[first] < limit:
        first += 1
    while state[last] < limit:
        last -= 1
    return math.log(total) - nearest / (2 * noise**2) - (0.0 if math.isnan(value) else math.log(noise)), first, last


@numba.njit(nogil=True, cache=CACHE)
def forward(
    trace: np.ndarray,
    starts: np.ndarray,
    levels: np.ndarray,
    shift: int,
    lower: np.ndarray,
    weight: np.ndarray,
    shares: np.ndarray,
    noise: float,
    states: np.ndarray,
    bounds: np.ndarray,
) -> float:
    """Fill the filtered distributions over calcium levels, and return the log likelihood but for a constant.

    Parameters
    ----------
    trace
        Fluorescence without baseline, in spikes, shape (time,); NaN frames are passed over.
    starts
        First frame of every stretch, and the number of frames; any calcium may precede a stretch.
    levels
        Calcium levels, in spikes, increasing from 0, shape (level,).
    shift
        By how many levels calcium decays from one frame to the next.
    lower, weight
        Level below the one that each number of spikes lifts a level to, and how far above it that is, as a share of
        the step, shape (count, level).
    shares
        Share of frames with each number of spikes that is told apart, from 0, shape (count,).
    noise
        Standard deviation of the noise, in spikes.
    states, bounds
        To be filled: probabilities, shape (time, level), and the first and last level that count, shape (time, 2).
    """
    total = 0.0
    state = np.empty(levels.size)
    for part in range(starts.size - 1):
        for frame in range(starts[part], starts[part + 1]):
            if frame == starts[part]:
                state[:] = 1.0 / levels.size
                here = (0, levels.size - 1)
            else:
                edge = (bounds[frame - 1, 0], bounds[frame - 1, 1])
                here = _advance(states[frame - 1], edge, shift, lower, weight, shares, state)
            gained, first, last = _observe(trace[frame], here, levels, noise, state)
            total += gained
            bounds[frame, 0], bounds[frame, 1] = first, last
            states[frame, first : last + 1] = state[first : last + 1]
    return total


@numba.njit(nogil=True, cache=CACHE)
def _moments(state: np.ndarray, later: np.ndarray, bounds: np.ndarray, levels: np.ndarray) -> tuple[float, float]:
    """Return the mean of the calcium and of its square, of the product of two messages."""
    total, mean, square = 0.0, 0.0, 0.0
    for level in range(bounds[0], bounds[1] + 1):
        mass = state[level] * later[level]
        total += mass
        mean += mass * levels[level]
        square += mass * levels[level] ** 2
    if total == 0.0:  # what is far from both sides was left out of both
        middle = float(levels[(bounds[0] + bounds[1]) // 2])
        return middle, middle**2
    return mean / total, square / total


@numba.njit(nogil=True, cache=CACHE)
def _weighed(value: float, bounds: np.ndarray, levels: np.ndarray, noise: float, later: np.ndarray) -> None:
    """Multiply what later frames say of states by the likelihood of their own frame, the likeliest being 1."""
    if math.isnan(value):
        return
    nearest = np.inf
    for level in range(bounds[0], bounds[1] + 1):
        nearest = min(nearest, (value - levels[level]) ** 2)
    for level in range(bounds[0], bounds[1] + 1):
        later[level] *= math.exp(-((value - levels[level]) ** 2 - nearest) / (2 * noise**2))


@numba.njit(nogil=True, cache=CACHE)
def _retreat(
    before: np.ndarray,
    was: np.ndarray,
    now: np.ndarray,
    shift: int,
    lower: np.ndarray,
    weight: np.ndarray,
    shares: np.ndarray,
    later: np.ndarray,
    earlier: np.ndarray,
    found: np.ndarray,
) -> None:
    """Carry a message one frame back into `earlier`, and fill the probabilities of each number of spikes in between."""
    earlier[was[0] : was[1] + 1] = 0.0
    for count in range(shares.size):
        goal, above, share, total = lower[count], weight[count], shares[count], 0.0
        for level in range(was[0], was[1] + 1):
            at, message = goal[max(0, level - shift)], 0.0
            if at > now[1]:
                break
            if at >= now[0]:
                message = (1 - above[max(0, level - shift)]) * later[at]
            if now[0] <= at + 1 <= now[1]:
                message += above[max(0, level - shift)] * later[at + 1]
            earlier[level] += share * message
            total += before[level] * share * message
        found[count] = total
    top = earlier[was[0] : was[1] + 1].max()
    if top == 0.0 or found.sum() == 0.0:  # what is far from both sides was left out of both
        earlier[was[0] : was[1] + 1] = 1.0
        found[:] = shares
        return
    found /= found.sum()
    earlier[was[0] : was[1] + 1] /= top


@numba.njit(nogil=True, cache=CACHE)
def backward(
    trace: np.ndarray,
    starts: np.ndarray,
    levels: np.ndarray,
    shift: int,
    lower: np.ndarray,
    weight: np.ndarray,
    shares: np.ndarray,
    noise: float,
    states: np.ndarray,
    bounds: np.ndarray,
    sizes: np.ndarray,
    counts: np.ndarray,
    calcium: np.ndarray,
) -> np.ndarray:
    """Fill what all frames together say of each, from what `forward` found with the same arguments.

    Parameters
    ----------
    sizes
        Numbers of spikes in a frame that are told apart, from 0, shape (count,).
    counts
        To be filled: expected spikes per frame, shape (time,); 0 in the first frame of a stretch.
    calcium
        To be filled: mean and mean square of the calcium, in spikes, shape (time, 2).

    Returns
    -------
    np.ndarray
        Expected number of frames with each of those numbers of spikes, shape (count,).
    """
    frames = np.zeros(shares.size)
    found, later, earlier = np.empty(shares.size), np.empty(levels.size), np.empty(levels.size)
    for part in range(starts.size - 1):
        later[:] = 1.0
        for frame in range(starts[part + 1] - 1, starts[part] - 1, -1):
            calcium[frame, 0], calcium[frame, 1] = _moments(states[frame], later, bounds[frame], levels)
            counts[frame] = 0.0
            if frame == starts[part]:
                break
            _weighed(trace[frame], bounds[frame], levels, noise, later)
            edges = (states[frame - 1], bounds[frame - 1], bounds[frame])
            _retreat(*edges, shift, lower, weight, shares, later, earlier, found)
            frames += found
            counts[frame] = (sizes * found).sum()
            later, earlier = earlier, later
    return frames
