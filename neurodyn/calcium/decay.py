"""The decay time of an indicator, from traces alone."""

from __future__ import annotations

import logging
import math

import numpy as np

from neurodyn.calcium.ar1 import varies
from neurodyn.calcium.cell import Cell, busiest, cell_noise, first_baseline
from neurodyn.calcium.indicators import kinetics, known
from neurodyn.calcium.jumps import events
from neurodyn.core.errors import DataError

LOGGER = logging.getLogger(__name__)
FACTOR = 1.5
SHORTEST, LONGEST = 0.03, 8.0  # s
STEPS = 24
MOST_FRAMES = 10_000
LEAST_EVENTS = 5
PRICE = 1.0
BELOW = (0.2,)  # further below, slow decays stand in for a baseline
BESIDE, CLEAR = 2, 10.0


def decay_time(trace: np.ndarray, starts: np.ndarray, rate_hz: float) -> float:
    """Return the decay time constant of one cell's calcium, s, or NaN.

    NaN is where the trace does not tell it to within a factor of 1.6.

    Among decay times on a logarithmic grid, the one at which the fewest events explain the trace best: the sum of squares over
    the noise's variance, plus the logarithm of the number of frames for every event, as OASIS with a smallest
    event finds them (Friedrich, Zhou & Paninski, PLoS Comput Biol 13, e1005423, 2017). Calcium falls only by its decay,
    whatever drives it up, so that firing in bursts or in slow waves does not prolong it as it does the autocovariance; a slow
    baseline is taken off first.

    Parameters
    ----------
    trace
        ΔF/F without NaN, shape (time,).
    starts
        First frame of every stretch, and the number of frames.
    """
    grid = np.geomspace(max(SHORTEST, 0.7 / rate_hz), LONGEST, STEPS)
    if not varies(trace):
        return math.nan
    cells = [Cell.of(trace, starts, rate_hz, tau) for tau in grid]
    noise = min(cell_noise(cell) for cell in cells)
    costs, counts = zip(*(_cost(cell, noise) for cell in cells), strict=True)
    best = int(np.argmin(costs))
    around = np.array(costs)[[max(0, best - BESIDE), min(STEPS - 1, best + BESIDE)]] - costs[best]
    if counts[best] < LEAST_EVENTS or best in (0, STEPS - 1) or around.min() < CLEAR:
        return math.nan
    left, middle, right = costs[best - 1 : best + 2]
    offset = (left - right) / (2 * (left - 2 * middle + right)) if left + right > 2 * middle else 0.0
    return float(grid[best] * (grid[1] / grid[0]) ** offset)


def _cost(cell: Cell, noise: float) -> tuple[float, int]:
    """Return what a cell's decay time costs, and how many events it takes."""
    low = first_baseline(cell, noise)
    if cell.trace.size > MOST_FRAMES:
        windows = busiest(cell, MOST_FRAMES)
        cell, low = cell.take(windows), low[windows.ravel()]
    found = events(cell, noise, low, BELOW)
    return found.squares / noise**2 + PRICE * math.log(cell.trace.size) * found.sizes.size, found.sizes.size


def shared_decay(found: np.ndarray, indicator: str, step: str, setting: str) -> float:
    """Return the median decay time of the cells that tell it, s: they hold one indicator; say so, and what is odd.

    Parameters
    ----------
    found
        Decay times, s, NaN where a cell does not tell it, shape (cell,).
    indicator
        Its name; where it is on record, a decay time far from the published ones is warned of.
    step, setting
        Who asks, and the setting that gives the decay time instead, for messages.

    Raises
    ------
    DataError
        If no cell tells it.
    """
    usable = found[np.isfinite(found)]
    if not usable.size:
        raise DataError(
            f"{step}: the decay time cannot be estimated from these traces.",
            f"In none of {found.size} cells do {LEAST_EVENTS} or more events show one decay.",
            f"Give it in seconds: --set {setting}=0.7",
        )
    tau = float(np.median(usable))
    say = LOGGER.info if usable.size == found.size else LOGGER.warning
    say("%s: decay time %.3g s, the median of the %d of %d cells that tell it.", step, tau, usable.size, found.size)
    name = known(indicator)
    if name is not None:
        low, high = kinetics(name).tau_range
        if not low / FACTOR <= tau <= high * FACTOR:
            LOGGER.warning(
                "%s: a decay time of %.3g s is far from the %.2g to %.2g s on record for %s; see neurodyn list indicators.",
                *(step, tau, low, high, indicator),
            )
    return tau
