"""How large one spike is in a cell's fluorescence, how many spikes there were, and whether that can be told at all."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import BSpline
from scipy.special import gammaln, xlogy

from neurodyn.calcium.ar1 import noise_sd, varies
from neurodyn.compiled.counting import backward, forward

SIZES = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 13, 17, 22, 30], dtype=np.float64)
COARSEST, CLOSEST = 0.05, 0.012  # how far apart levels of calcium lie, as a share of the lower one
LOWEST = 0.02  # less calcium than this, in spikes, is none
KNOT_SECONDS = 30.0
LOW_SHARE, LOW_NORMAL = 2.0, 2.0537  # per cent, and how many standard deviations below the mean these lie
CHUNK_SECONDS = 10.0
FEW_FRAMES = 1_000
MOST_FRAMES = 3_000
RATIO = 1.5
RIVALS = (0.5, 0.7, 1.4, 2.0, 3.0, 4.5)
FINEST = 2.0
ALIKE = 1.25
CERTAIN = 10.0
FAINTEST = 5.5  # of 4.9 times what the noise hides, 0.61 of the true spikes were counted
LEAST_SPIKES = 10.0
ODD = 0.3
WEIGHT = 2.0
RARE = 0.04  # frames: numbers of spikes that are expected in fewer are left out of the sums
NEVER_EMPTY = 0.2
PATIENCE, FAR_BELOW = 2, 40.0
LEAST_NOISE = 1e-3
LEAST_SINGLE = 0.3
SETTLING = 3


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
    """

    fit: Fit | None
    reason: str


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
        Functions whose sum the baseline is, shape (time, function).
    """

    trace: np.ndarray
    starts: np.ndarray
    rate_hz: float
    tau: float
    knots: np.ndarray

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
        return replace(self, trace=self.trace[chosen], starts=starts, knots=self.knots[chosen])


def splines(frames: int, apart: float) -> np.ndarray:
    """Return cubic B-splines with a knot every `apart` frames, a constant where that is too far, shape (time, function)."""
    count = round(frames / apart)
    if count < 2:
        return np.ones((frames, 1))
    inner = np.linspace(0, frames - 1, count + 1)
    return BSpline.design_matrix(np.arange(frames), np.r_[[0.0] * 3, inner, [frames - 1.0] * 3], 3).toarray()


def cell_noise(cell: Cell) -> float:
    """Return the standard deviation of white noise of a cell, in its unit, from steps within its stretches."""
    parted = np.insert(cell.trace, cell.starts[1:-1], np.nan)
    return noise_sd(parted, cell.decay)


def first_baseline(cell: Cell, noise: float) -> np.ndarray:
    """Return the second percentile of each half minute, raised by what noise lowers it, shape (time,).

    Less a fifth of what the trace lies above that on average: where spikes are many, calcium never decays to 0.
    """
    frames = cell.trace.size
    parts = np.array_split(np.arange(frames), max(1, round(frames / (KNOT_SECONDS * cell.rate_hz))))
    parts = [part for part in parts if np.isfinite(cell.trace[part]).any()]
    low = [np.nanpercentile(cell.trace[part], LOW_SHARE) + LOW_NORMAL * noise for part in parts]
    level = np.interp(np.arange(frames), [part.mean() for part in parts], low)
    return level - NEVER_EMPTY * max(0.0, float(np.nanmean(cell.trace - level)))


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


def explained(cell: Cell, fit: Fit, coarse: float = 1.0) -> Fit:
    """Return a description with the expected spikes and calcium of every frame, given all frames.

    Parameters
    ----------
    coarse
        How many times further apart than usual levels of calcium may lie.
    """
    trace = (cell.trace - fit.baseline) / fit.quantum
    usual = 1 + max(0.0, float(np.nanmean(trace)))
    step = coarse * float(np.clip(0.5 * fit.noise / fit.quantum / usual, CLOSEST, COARSEST))  # half of the noise
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


def improved(cell: Cell, fit: Fit, free: bool = True) -> Fit:
    """Return the parameters that make an explained trace likeliest: the M-step of expectation maximisation.

    Parameters
    ----------
    free
        Refit quantum and noise, too, not only baseline and shares.
    """
    seen = np.isfinite(cell.trace)
    trace, basis, (mean, square) = cell.trace[seen], cell.knots[seen], fit.calcium[seen].T
    shares = fit.frames + np.r_[1.0, np.full(SIZES.size - 1, 0.02)]
    fit = replace(fit, shares=shares / shares.sum())
    if not free:
        level = np.linalg.lstsq(basis, trace - fit.quantum * mean, rcond=None)[0]
        return replace(fit, baseline=cell.knots @ level)
    cross = mean @ basis
    left = np.block([[square.sum(), cross[None]], [cross[:, None], basis.T @ basis]])
    found = np.linalg.lstsq(left, np.r_[mean @ trace, basis.T @ trace], rcond=None)[0]
    quantum = max(float(found[0]), FINEST * cell.resolution * fit.noise)
    rest = (trace - quantum * mean - basis @ found[1:]) ** 2 + quantum**2 * (square - mean**2)
    noise = max(math.sqrt(float(rest.mean())), 1e-3 * quantum)
    return replace(fit, quantum=quantum, noise=noise, baseline=cell.knots @ found[1:])


def maximised(
    cell: Cell,
    quantum: float,
    noise: float,
    baseline: np.ndarray,
    rounds: int,
    free: bool = True,
    hopeless: float = -math.inf,
    coarse: float = 1.0,
) -> Fit:
    """Return the likeliest description near a quantum, by expectation maximisation (Dempster et al., 1977).

    Parameters
    ----------
    free
        Fit the noise, too.
    hopeless
        Give up after three rounds where the score is that far below this one.
    coarse
        See `explained`.
    """
    drive = (1 - cell.decay) * float(np.nanmean(cell.trace - baseline)) / quantum
    shares = np.maximum(min(max(drive, 0.005), 0.8) * 0.5 ** np.arange(1.0, SIZES.size), 2 * RARE / cell.trace.size)
    none = np.empty(0)
    first = Fit(quantum, noise, baseline, np.r_[1 - shares.sum(), shares], -math.inf, none, none, none)
    fit = explained(cell, first, coarse)
    for done in range(rounds):
        better = improved(cell, fit)
        better = replace(better, noise=better.noise if free and done > 1 else noise)
        better = explained(cell, replace(better, quantum=quantum) if done == 0 else better, coarse)
        settled = abs(better.likelihood - fit.likelihood) < 0.3
        fit = better
        if (settled and done > 1) or (done == PATIENCE and fit.score < hopeless - FAR_BELOW):
            break
    return fit


def tell(cell: Cell) -> Told:
    """Find one spike's size from a trace alone, whatever the firing rate and however many spikes come together.

    Spikes are whole, so that jumps are multiples of a quantum; which quantum explains the trace best is found by expectation
    maximisation from many starts. It is told where no other one explains the trace nearly as well (10 nats), but for
    whole parts of it whose odd multiples never occur.
    """
    if not varies(cell.trace):
        return Told(None, "constant")
    noise = max(cell_noise(cell), LEAST_NOISE * float(np.nanstd(cell.trace)))
    first = _searched(cell.take(busiest(cell, FEW_FRAMES)), noise)
    whole = cell.take(busiest(cell, MOST_FRAMES)) if cell.trace.size > MOST_FRAMES else cell
    low = first_baseline(whole, noise)
    found = [maximised(whole, fit.quantum, fit.noise, low, 8) for fit in _distinct(first)[:2]]
    for _ in range(2):
        best = max(found, key=lambda fit: fit.score)
        given = (best.noise, best.baseline, 10)
        found += [maximised(whole, best.quantum * by, *given, hopeless=best.score) for by in RIVALS]
        if max(found, key=lambda fit: fit.score).score < best.score + 1:
            break
    return _judged(whole, found)


def _searched(cell: Cell, noise: float) -> list[Fit]:
    """Return fits from quanta on a logarithmic grid, from what noise hides to the whole trace, the best first."""
    low = first_baseline(cell, noise)
    least = 1.5 * FINEST * cell.resolution * noise
    most = max(float(np.nanmax(cell.trace - low)), least)
    starts = least * RATIO ** np.arange(math.ceil(math.log(most / least) / math.log(RATIO)) + 1)
    fits: list[Fit] = []
    for start in starts:
        best = max((fit.score for fit in fits), default=-math.inf)
        fits.append(maximised(cell, start, noise, low, 4, free=False, hopeless=best, coarse=2.0))
    return sorted(fits, key=lambda fit: -fit.score)


def counted(cell: Cell, fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Return whole spikes per frame and the calcium behind a trace, in its unit, both of shape (time,).

    Quantum and noise are those given; baseline and shares are fitted to the trace. Expected spikes are summed up within each
    stretch, and a spike stands where their sum passes a half: so the total is the expected one.
    """
    fit = explained(cell, replace(fit, baseline=first_baseline(cell, fit.noise)))
    for _ in range(SETTLING):
        fit = explained(cell, improved(cell, fit, free=False))
    parts = np.split(fit.counts, cell.starts[1:-1])
    whole = [np.diff(np.floor(np.cumsum(part) + 0.5), prepend=0.0) for part in parts]
    return np.concatenate(whole), fit.quantum * fit.calcium[:, 0]


def _distinct(fits: list[Fit]) -> list[Fit]:
    """Leave out fits whose quantum is nearly that of one before."""
    kept: list[Fit] = []
    for fit in fits:
        if all(not _alike(fit, other) for other in kept):
            kept.append(fit)
    return kept


def _alike(fit: Fit, other: Fit) -> bool:
    return max(fit.quantum / other.quantum, other.quantum / fit.quantum) < ALIKE


def _divides(fine: Fit, coarse: Fit) -> bool:
    """Say whether a finer quantum is a whole part of a coarser one, and only its multiples occur."""
    parts = round(coarse.quantum / fine.quantum)
    if parts < 2 or abs(coarse.quantum / fine.quantum / parts - 1) > 0.12:
        return False
    odd = fine.frames[SIZES % parts != 0].sum()
    return bool(odd < ODD * fine.frames[1:].sum())


def _judged(cell: Cell, found: list[Fit]) -> Told:
    """Choose among fits, and say why the choice is not certain, if so."""
    best = max(found, key=lambda fit: fit.score)
    near = [fit for fit in found if fit.score > best.score - CERTAIN]
    for fit in sorted(near, key=lambda fit: fit.quantum):
        best = fit if _divides(best, fit) else best
    rivals = [fit for fit in near if not _alike(fit, best) and not _divides(fit, best)]
    if best.counts.sum() < LEAST_SPIKES:
        return Told(best, "too few spikes")
    if best.quantum < FAINTEST * cell.resolution * best.noise:
        return Told(best, "one spike is lost in the noise")
    if best.frames[1:3].sum() < LEAST_SINGLE * best.frames[1:].sum():
        return Told(best, "hardly any event is of one spike or two")
    if rivals:
        return Told(best, "several sizes of one spike explain it alike")
    return Told(best, "")


def busiest(cell: Cell, frames: int) -> np.ndarray:
    """Return the windows of ten seconds in which the trace rises most, in order, indices of shape (window, time).

    Where half of the stretches are shorter, so are the windows; stretches shorter than these are left out.
    """
    lengths = np.diff(cell.starts)
    length = int(min(max(20, round(CHUNK_SECONDS * cell.rate_hz)), max(20, np.median(lengths)), lengths.max()))
    parts = zip(cell.starts[:-1], cell.starts[1:], strict=True)
    windows = np.concatenate([np.arange(a, b - length + 1, length)[:, None] + np.arange(length) for a, b in parts])
    rise = np.nan_to_num(np.nanmax(cell.trace[windows], axis=1) - np.nanmedian(cell.trace[windows], axis=1))
    return windows[np.sort(np.argsort(-rise)[: max(1, frames // length)])]
