"""Responses to events: every trial aligned to its onset, on one time axis, and one number for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.ndimage import uniform_filter1d

from neurodyn.core.errors import DataError
from neurodyn.core.log import Report, silent
from neurodyn.data.aligned import Frames, Span, aligned_blocks, frames_around, span_of
from neurodyn.respond.settings import RespondConfig

SHORTEST_WINDOW, PAUSE, SMOOTH = 0.5, 0.2, 0.3  # s
Keep = Callable[[slice, np.ndarray], None]


@dataclass(frozen=True)
class Plan:
    """How trials are cut and measured.

    Parameters
    ----------
    frames
        Which frames are around which onset.
    window
        Response window, s from the onset.
    subtract
        Whether the mean before the onset is subtracted.
    event
        How long an event lasts, s.
    """

    frames: Frames
    window: tuple[float, float]
    subtract: bool
    event: float

    @property
    def before(self) -> np.ndarray:
        """Samples of the baseline, bool, shape (sample,)."""
        return self.frames.offset < -1e-9

    @property
    def during(self) -> np.ndarray:
        """Samples of the response window, bool, shape (sample,)."""
        offset, (first, stop) = self.frames.offset, self.window
        return (offset >= first - 1e-9) & (offset < stop - 1e-9)


@dataclass(frozen=True)
class Responses:
    """Trials in numbers; cells are ROIs, components, or pixels in a row.

    Parameters
    ----------
    plan
        How they were cut.
    response
        Shape (event, cell).
    change
        Mean of the response window, less the mean before the onset where that is subtracted, shape (event, cell).
    level
        Mean before the onset, shape (event, cell).
    average, sem
        Mean course of every condition, and its standard error, shape (condition, sample, cell).
    """

    plan: Plan
    response: np.ndarray
    change: np.ndarray
    level: np.ndarray
    average: np.ndarray
    sem: np.ndarray


def plan_trials(time: np.ndarray, stimulus: xr.Dataset, config: RespondConfig) -> Plan:
    """Choose stretch, window and baseline of the trials of a sorted table of events.

    Raises
    ------
    DataError
        If the window lies outside the stretch, or no event lies inside the recording.
    """
    start, stop = stimulus["start"].values.astype(float), stimulus["stop"].values.astype(float)
    span = span_of(stimulus)
    window = (0.0, max(span.event, SHORTEST_WINDOW)) if config.window in (None, "found") else config.window
    after = config.after or max(span.after, window[1])
    frames = frames_around(time, start, config.before or span.before, after).kept()
    pause = float(np.median(start[1:] - stop[:-1])) if start.size > 1 else np.inf
    plan = Plan(frames, window, _subtracts(config, pause, span), span.event)
    if not (frames.offset.size and plan.during.any()):
        raise DataError(
            "No frame lies in the response window.",
            f"Frames are from {time[0]:g} to {time[-1]:g} s; the {start.size} events from {start.min():g} to {stop.max():g} s.",
            "Check the clock of the events, or give another window: --set window=[0,1]",
        )
    return plan


def _subtracts(config: RespondConfig, pause: float, span: Span) -> bool:
    return pause >= min(PAUSE, span.before) if config.baseline is None else config.baseline == "subtract"


def measure(
    variable: xr.Variable,
    plan: Plan,
    code: np.ndarray,
    conditions: int,
    config: RespondConfig,
    keep: Keep | None = None,
    progress: Report = silent,
) -> Responses:
    """Read a variable once, and measure every trial.

    Parameters
    ----------
    code
        Condition of each event, -1 for none, shape (event,).
    keep
        Given each block of events with its aligned trials, baseline subtracted, shape (event, sample, *space).
    """
    events, samples = plan.frames.index.shape
    parts: list[tuple[np.ndarray, ...]] = []
    courses: _Courses | None = None
    for block, trials in aligned_blocks(variable, plan.frames, config.bin):
        level = _mean(trials[:, plan.before])
        trials = trials - level[:, None] if plan.subtract else trials
        if keep is not None:
            keep(block, trials)
        flat = trials.reshape(len(trials), samples, -1)
        during = flat[:, plan.during]
        parts.append((_measured(during, plan, config.measure), _mean(during), level.reshape(len(level), -1)))
        courses = courses or _Courses.empty((conditions, *flat.shape[1:]))
        courses.add(flat, code[block])
        progress("aligning", block.stop / events)
    assert courses is not None
    response, change, levels = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Responses(plan, response, change, levels, *courses.mean_and_error())


@dataclass(frozen=True)
class _Courses:
    """Sums over the trials of each condition, each shape (condition, sample, cell); single precision, as pixels are many."""

    total: np.ndarray
    squares: np.ndarray
    number: np.ndarray

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> _Courses:
        return cls(*(np.zeros(shape, np.float32) for _ in range(3)))

    def add(self, trials: np.ndarray, code: np.ndarray) -> None:
        for trial, k in zip(trials, code, strict=True):
            if k >= 0:
                there = np.isfinite(trial)
                clean = np.where(there, trial, 0)
                self.total[k] += clean
                self.squares[k] += clean**2
                self.number[k] += there

    def mean_and_error(self) -> tuple[np.ndarray, np.ndarray]:
        safe = np.maximum(self.number, 1)
        mean = self.total / safe
        variance = np.maximum(self.squares / safe - mean**2, 0) / np.maximum(self.number - 1, 1)
        return np.where(self.number > 0, mean, np.nan), np.where(self.number > 1, np.sqrt(variance), np.nan)


def _measured(during: np.ndarray, plan: Plan, kind: str) -> np.ndarray:
    if kind == "peak":
        return np.where(np.isfinite(during).any(axis=1), np.nan_to_num(during, nan=-np.inf).max(axis=1), np.nan)
    mean = _mean(during)
    return mean * (plan.window[1] - plan.window[0]) if kind == "area" else mean


def _mean(part: np.ndarray) -> np.ndarray:
    """Return the mean over samples of which more than half are there, NaN else, shape (event, *space)."""
    there = np.isfinite(part)
    number = there.sum(axis=1)
    total = np.where(there, part, 0).sum(axis=1)
    enough = number * 2 > part.shape[1]  # a mean of the few frames of one end would be one of another time
    return np.divide(total, number, out=np.full(total.shape, np.nan, np.float32), where=enough)


def found_window(responses: Responses) -> tuple[float, float]:
    """Return where the population's mean squared response is above half its peak, s from the onset; blind to conditions."""
    offset, grand = responses.plan.frames.offset, np.nan_to_num(responses.average).mean(axis=0)
    step = offset[1] - offset[0] if offset.size > 1 else 1.0
    grand = uniform_filter1d(grand, max(1, round(SMOOTH / step)), axis=0)
    strength = (grand.astype(np.float64) ** 2).mean(axis=1)
    noise = strength[offset < 0].mean() if (offset < 0).any() else 0.0
    strength = np.where(offset >= -1e-9, strength - noise, -np.inf)
    peak = int(strength.argmax())
    above = strength >= strength[peak] / 2
    left = peak - int(np.argmin(above[: peak + 1][::-1])) + 1 if not above[: peak + 1].all() else 0
    right = peak + int(np.argmin(above[peak:])) if not above[peak:].all() else offset.size
    return float(offset[left]), float(offset[right - 1] + step)
