"""How large one spike is in a cell's fluorescence, how many spikes there were, and whether that can be told at all."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaln, xlogy

from neurodyn.calcium.ar1 import varies
from neurodyn.calcium.cell import Cell, busiest, cell_noise, closest, first_baseline
from neurodyn.calcium.jumps import events, suggested
from neurodyn.compiled.counting import backward, forward

SIZES = np.r_[np.arange(17.0), 20.0, 25.0, 32.0]
COARSEST, CLOSEST = 0.05, 0.012  # how far apart levels of calcium lie, as a share of the lower one
LOWEST = 0.02  # less calcium than this, in spikes, is none
MOST_FRAMES = 3_000
MOST_SIZES = 3
MOST_PARTS = 8
REPEATS = 3
FINEST = 2.0
ALIKE, NEAR = 0.1, 0.05
CERTAIN = 10.0
FAINTEST = 5.5  # of 4.9 times what the noise hides, 0.61 of the true spikes were counted
LEAST_EVENTS = 5
LEAST_SPIKES = 10.0
SELDOM, ODD = 0.1, 0.3
WEIGHT = 2.0
RARE = 0.04  # frames: numbers of spikes that are expected in fewer are left out of the sums
ROUNDS, PATIENCE, FAR_BELOW = 10, 2, 40.0
SETTLED = 0.3
LEAST_NOISE = 1e-3
LEAST_SINGLE = 0.3
GAP = 3.0  # standard deviations


@dataclass(frozen=True)
class Fit:
    """A cell's trace as whole spikes, decaying calcium, a slow baseline and white noise.

    Parameters
    ----------
    quantum
        Jump at one spike, in the trace's unit.
    noise
        Standard deviation of the noise, in the trace's unit.
    baseline
        Of every frame, in the trace's unit, shape (time,).
    shares
        Share of frames with each of `SIZES` spikes, shape (count,).
    likelihood
        Logarithm of the likelihood, but for a constant.
    frames
        Expected number of frames with each of `SIZES` spikes, shape (count,).
    counts
        Expected spikes of each frame, shape (time,).
    calcium
        Expected calcium of each frame and its square, in spikes, shape (time, 2).
    """

    quantum: float
    noise: float
    baseline: np.ndarray
    shares: np.ndarray
    likelihood: float
    frames: np.ndarray
    counts: np.ndarray
    calcium: np.ndarray

    @property
    def score(self) -> float:
        """Log likelihood with the shares of one, two ... spikes integrated out, under a Dirichlet prior.

        Few events are explained by any quantum whose multiples they may be; the prior has small numbers likelier.
        """
        found, prior = self.frames[1:], WEIGHT * 0.6 ** SIZES[1:]
        prior *= WEIGHT / prior.sum()
        total = found.sum()
        fitted = xlogy(found, found / max(total, 1e-300)).sum()
        averaged = gammaln(WEIGHT) - gammaln(WEIGHT + total) + (gammaln(prior + found) - gammaln(prior)).sum()
        return float(self.likelihood - fitted + averaged)


@dataclass(frozen=True)
class Told:
    """What a cell's trace says of one spike.

    Parameters
    ----------
    fit
        The likeliest description; None for a trace that does not vary.
    reason
        Why one spike's size cannot be told; empty where it can.
    raised
        How far the fitted baseline lies above the first guess, in the trace's unit, on average.
    """

    fit: Fit | None
    reason: str
    raised: float = 0.0

    @property
    def certain(self) -> Fit | None:
        """The likeliest description where it tells the size of one spike; None where that cannot be told."""
        return None if self.reason else self.fit


def ladder(top: float, fall: float, step: float) -> tuple[np.ndarray, int, np.ndarray, np.ndarray]:
    """Return calcium levels, in spikes, a whole number of which is one frame's decay, and where spikes lift them to.

    Parameters
    ----------
    top
        Highest calcium expected, in spikes.
    fall
        -log g.
    step
        Largest distance between levels, as a share of the lower one.

    Returns
    -------
    tuple
        Levels, their shift per frame, and the lower level and its weight as `forward` takes them.
    """
    shift = max(1, math.ceil(fall / step))
    count = math.ceil(math.log((top + 2) / LOWEST) * shift / fall) + 2
    levels = np.r_[0.0, LOWEST * np.exp(fall / shift * np.arange(count - 1))]
    lifted = np.minimum(levels + SIZES[:, None], levels[-1] * (1 - 1e-12))
    lower = np.clip(np.searchsorted(levels, lifted, side="right") - 1, 0, levels.size - 2)
    return levels, shift, lower, (lifted - levels[lower]) / (levels[lower + 1] - levels[lower])


def explained(cell: Cell, fit: Fit) -> Fit:
    """Return a description with the expected spikes and calcium of every frame, given all frames."""
    trace = (cell.trace - fit.baseline) / fit.quantum
    usual = 1 + max(0.0, float(np.nanmean(trace)))
    step = float(np.clip(0.5 * fit.noise / fit.quantum / usual, CLOSEST, COARSEST))  # half of the noise
    levels, shift, lower, weight = ladder(max(2.0, float(np.nanmax(trace))), 1 / (cell.tau * cell.rate_hz), step)
    states = np.empty((trace.size, levels.size), np.float32)
    bounds = np.empty((trace.size, 2), np.int64)
    some = fit.shares > RARE / trace.size
    chosen = (lower[some], weight[some], fit.shares[some])
    given = (trace, cell.starts, levels, shift, *chosen, fit.noise / fit.quantum, states, bounds)
    likelihood = forward(*given) - np.isfinite(trace).sum() * math.log(fit.quantum)
    counts, calcium, frames = np.empty(trace.size), np.empty((trace.size, 2)), np.zeros(SIZES.size)
    frames[some] = backward(*given, SIZES[some], counts, calcium)
    return replace(fit, likelihood=likelihood, frames=frames, counts=counts, calcium=calcium)


def _shared(fit: Fit) -> np.ndarray:
    """Return the likeliest shares of frames with each of `SIZES` spikes, shape (count,)."""
    shares = fit.frames + np.r_[1.0, np.full(SIZES.size - 1, 0.02)]
    return shares / shares.sum()


def improved(cell: Cell, fit: Fit) -> Fit:
    """Return the parameters that make an explained trace likeliest: the M-step of expectation maximisation."""
    seen = np.isfinite(cell.trace)
    trace, knots, (mean, square) = cell.trace[seen], cell.knots[seen], fit.calcium[seen].T
    weights = closest(knots, np.stack([trace, mean], axis=1))
    trace_left, mean_left = np.stack([trace, mean]) - (knots @ weights).T  # what no baseline explains
    found = mean @ trace_left / (mean @ mean_left + (square - mean**2).sum())
    quantum = max(float(found), FINEST * cell.resolution * fit.noise)
    rest = (trace_left - quantum * mean_left) ** 2 + quantum**2 * (square - mean**2)
    noise = max(math.sqrt(float(rest.mean())), 1e-3 * quantum)
    baseline = cell.knots @ (weights[:, 0] - quantum * weights[:, 1])
    return replace(fit, quantum=quantum, noise=noise, baseline=baseline, shares=_shared(fit))


def maximised(cell: Cell, first: Fit, hopeless: float = -math.inf) -> Fit:
    """Return the likeliest description near a first one, by expectation maximisation (Dempster et al., 1977).

    Parameters
    ----------
    hopeless
        Give up after three rounds where the score is that far below this one.
    """
    fit = explained(cell, first)
    for done in range(ROUNDS):
        better = improved(cell, fit)
        better = explained(cell, replace(better, noise=better.noise if done > 0 else first.noise))
        settled = abs(better.likelihood - fit.likelihood) < SETTLED
        fit = better
        if (settled and done > 0) or (done == PATIENCE and fit.score < hopeless - FAR_BELOW):
            break
    return fit


def _begun(cell: Cell, quantum: float, noise: float, baseline: np.ndarray) -> Fit:
    """Return a description to begin with, in which single spikes are likeliest and as many as the trace's mean asks for."""
    drive = (1 - cell.decay) * float(np.nanmean(cell.trace - baseline)) / quantum
    shares = np.maximum(min(max(drive, 0.005), 0.8) * 0.5 ** np.arange(1.0, SIZES.size), 2 * RARE / cell.trace.size)
    shares = np.r_[1.0, shares / max(1.0, 1.1 * shares.sum())]
    shares[0] -= shares[1:].sum()
    none = np.empty(0)
    return Fit(quantum, noise, baseline, shares, -math.inf, none, none, none)


def tell(cell: Cell) -> Told:
    """Find one spike's size from a trace alone, whatever the firing rate and however many spikes come together.

    Spikes are whole, so that jumps are multiples of a quantum. Events found whatever the quantum suggest some; from each of
    these, and from half the best and such multiples of it as nearly all events are, expectation maximisation finds the
    likeliest description. The quantum is told where no other one explains the trace nearly as well (10 nats, 20 where half of
    it would be lost in the noise), but for whole parts of it whose odd multiples hardly occur.
    """
    if not varies(cell.trace):
        return Told(None, "constant")
    noise = max(cell_noise(cell), LEAST_NOISE * float(np.nanstd(cell.trace)))
    low = first_baseline(cell, noise)
    if cell.trace.size > MOST_FRAMES:
        windows = busiest(cell, MOST_FRAMES)
        cell, low = cell.take(windows), low[windows.ravel()]
    seen = events(cell.bridged(), noise, low)
    if seen.sizes.size < LEAST_EVENTS:
        return Told(None, "too few spikes")
    least, found = FINEST * cell.resolution * noise, list[Fit]()
    for quantum in suggested(seen, least, MOST_SIZES):
        _add(found, cell, _begun(cell, quantum, noise, seen.baseline))
    for _ in range(REPEATS):
        best = _coarsest(found)
        for by in (0.5, *(by for by in range(2, MOST_PARTS + 1) if _odd(best, by) < ODD)):
            if by * best.quantum > least and all(not _alike(by * best.quantum, fit.quantum, NEAR) for fit in found):
                _add(found, cell, _begun(cell, by * best.quantum, best.noise, best.baseline))
    return _judged(cell, found, low)


def _add(found: list[Fit], cell: Cell, first: Fit) -> None:
    found.append(maximised(cell, first, max((fit.score for fit in found), default=-math.inf)))


def counted(cell: Cell, told: Fit, raised: float) -> tuple[np.ndarray, np.ndarray]:
    """Return whole spikes per frame and the calcium behind a trace, in its unit, both of shape (time,).

    Quantum and noise are those told; baseline and shares are fitted to the trace. Expected spikes are summed up within each
    stretch, and a spike stands where their sum passes a half: so the total is the expected one.

    Parameters
    ----------
    told, raised
        As `tell` found them.
    """
    fit = explained(cell, replace(told, baseline=first_baseline(cell, told.noise) + raised))
    for _ in range(ROUNDS):
        baseline = cell.smoothed(cell.trace - fit.quantum * fit.calcium[:, 0])
        better = explained(cell, replace(fit, baseline=baseline, shares=_shared(fit)))
        settled = abs(better.likelihood - fit.likelihood) < SETTLED
        fit = better
        if settled:
            break
    parts = np.split(fit.counts, cell.starts[1:-1])
    whole = [np.diff(np.floor(np.cumsum(part) + 0.5), prepend=0.0) for part in parts]
    return np.concatenate(whole), fit.quantum * fit.calcium[:, 0]


def _alike(one: float, other: float, within: float) -> bool:
    return max(one / other, other / one) < 1 + within


def _odd(fit: Fit, parts: int) -> float:
    """Return the share of frames with spikes whose number is no multiple of another one."""
    return float(fit.frames[SIZES % parts != 0].sum() / max(fit.frames[1:].sum(), 1e-300))


def _divides(fine: Fit, coarse: Fit, odd: float) -> bool:
    """Say whether a finer quantum is a whole part of a coarser one, and others than its multiples are less than that share."""
    parts = round(coarse.quantum / fine.quantum)
    return parts > 1 and abs(coarse.quantum / fine.quantum / parts - 1) < NEAR and _odd(fine, parts) < odd


def _coarsest(found: list[Fit]) -> Fit:
    """Return the fit of highest score, or the coarsest one of whose quantum that one's is but a whole part.

    Whole parts of a quantum explain whatever that explains, and what departs from the model besides; but no cell fires
    nearly always in pairs or triples.
    """
    best = max(found, key=lambda fit: fit.score)
    for fit in sorted(found, key=lambda fit: fit.quantum):
        best = fit if _divides(best, fit, ODD) else best
    return best


def _judged(cell: Cell, found: list[Fit], low: np.ndarray) -> Told:
    """Choose among fits, and say why the choice is not certain, if so."""
    best = _coarsest(found)
    hidden = best.quantum < 2 * FAINTEST * cell.resolution * best.noise  # half of it would be lost in the noise
    worst = best.score - (2 if hidden else 1) * CERTAIN
    near = [fit for fit in found if fit.score > worst and not _alike(fit.quantum, best.quantum, ALIKE)]
    rivals = [fit for fit in near if not _divides(fit, best, SELDOM)]
    return Told(best, _reason(cell, best, rivals), float(np.mean(best.baseline - low)))


def _reason(cell: Cell, best: Fit, rivals: list[Fit]) -> str:
    """Say why one spike's size is not certain; nothing where it is."""
    if best.counts.sum() < LEAST_SPIKES:
        return "too few spikes"
    if best.quantum < FAINTEST * cell.resolution * best.noise:
        return "one spike is lost in the noise"
    if best.frames[1:3].sum() < LEAST_SINGLE * best.frames[1:].sum():
        return "hardly any event is of one spike or two"
    if _gap(best.frames[1:]) > GAP:
        return "events of some numbers of spikes hardly occur, of fewer and of more do"
    return "several sizes of one spike explain it alike" if rivals else ""


def _gap(frames: np.ndarray) -> float:
    """Return how deep the deepest gap between two commoner numbers of spikes is, in standard deviations of the difference.

    Cells fire one, two, three ... spikes in a frame without leaving a number out; a quantum that is a fraction of the right one
    does, where its single spikes stand in for what else departs from the model.
    """
    before, after = np.maximum.accumulate(frames)[:-2], np.maximum.accumulate(frames[::-1])[::-1][2:]
    lower, within = np.minimum(before, after), frames[1:-1]
    return float(np.max((lower - within) / np.sqrt(lower + within + 1)))
