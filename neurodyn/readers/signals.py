"""Pulses in analogue traces: photodiode onsets, camera TTL frame times."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.data.clock import SECONDS, Unit, is_usual, likelier_unit, seconds
from neurodyn.readers.columns import read_trace, require_beside
from neurodyn.readers.questions import Need, QuestionError

LOGGER = logging.getLogger(__name__)


class Signal(Params):
    """A trace with one pulse per event, or a list of event times."""

    file: str = Field(description="CSV, MAT, HDF5 or numpy file, as given or beside the source")
    key: str | None = Field(default=None, description="column or dataset (default: the only one)")
    fs: float | None = Field(
        default=None,
        gt=0,
        description="samples per second of an analogue trace, Hz; without it the file holds times",
    )
    unit: Unit | None = Field(
        default=None, description="unit of the file's times (default: as its header or name says it, else s)"
    )
    threshold: float | None = Field(
        default=None, description="level that parts low from high (default: midway between them)"
    )
    hysteresis: float | None = Field(
        default=None, ge=0, description="band around the threshold that changes nothing (default: a fifth of the swing)"
    )
    invert: bool = Field(default=False, description="pulses go down")
    join: float = Field(
        default=0.0, ge=0, description="gaps up to this long within a pulse are closed, s (screen flicker)"
    )
    shortest: float = Field(default=0.0, ge=0, description="shorter pulses are noise, s")
    begin: float = Field(default=0.0, description="time of the first sample, s, on the clock of the recording")


class FrameTimes(Signal):
    """Camera pulses, one per frame, or a list of frame times."""

    at: Literal["middle", "rising", "falling"] = Field(
        default="middle", description="time of a frame within its pulse; the middle of the exposure, or an edge"
    )


def pulses(trace: np.ndarray, signal: Signal) -> tuple[np.ndarray, np.ndarray]:
    """Find whole pulses: the level rises above the upper and later falls below the lower edge of the hysteresis band.

    A pulse cut off by the beginning or end of the trace is left out, with a warning.

    Parameters
    ----------
    trace
        Level, any unit, shape (sample,).

    Returns
    -------
    tuple[np.ndarray, np.ndarray]
        Start and stop of each pulse, s, shape (event,).

    Raises
    ------
    DataError
        If the trace is not finite, or nothing crosses the threshold.
    """
    if not np.isfinite(trace).all():
        raise DataError(
            f"{signal.file}: the trace is not finite.",
            f"{int((~np.isfinite(trace)).sum())} samples are not.",
            "Mend it.",
        )
    level = -trace if signal.invert else trace
    low, high = (float(value) for value in np.percentile(level, (0.1, 99.9))) if level.size else (0.0, 0.0)
    middle = (low + high) / 2 if signal.threshold is None else signal.threshold * (-1 if signal.invert else 1)
    band = 0.2 * (high - low) if signal.hysteresis is None else signal.hysteresis
    state = _state(level, middle - band / 2, middle + band / 2)
    edges = np.flatnonzero(np.diff(state)) + 1
    rising, falling = edges[state[edges] == 1], edges[state[edges] == 0]
    if not rising.size or not falling.size:
        raise DataError(
            f"{signal.file}: there are no pulses.",
            f"Levels lie from {level.min(initial=0):g} to {level.max(initial=0):g}; the threshold is {middle:g}.",
            "Check key, threshold and invert.",
        )
    return _whole(rising, falling, signal)


def _state(level: np.ndarray, lower: float, upper: float) -> np.ndarray:
    """Return 1 while high, 0 while low, shape (sample,); inside the band the state before it stays."""
    decided = np.where(level > upper, 1, np.where(level < lower, 0, -1)).astype(np.int8)
    last = np.maximum.accumulate(np.where(decided >= 0, np.arange(level.size), -1))
    first = int(np.argmax(decided >= 0))
    return decided[np.where(last < 0, first, last)]


def _whole(rising: np.ndarray, falling: np.ndarray, signal: Signal) -> tuple[np.ndarray, np.ndarray]:
    cut = int(falling[0] < rising[0]) + int(rising[-1] > falling[-1])
    if cut:
        LOGGER.warning("%s: %d pulse(s) cut off by the ends of the trace are left out.", signal.file, cut)
    falling = falling[falling > rising[0]]
    rising = rising[rising < falling[-1]] if falling.size else rising[:0]
    fs = float(signal.fs or 1)
    start, stop = rising / fs + signal.begin, falling / fs + signal.begin
    apart = start[1:] - stop[:-1] > signal.join
    start, stop = start[np.r_[True, apart][: start.size]], stop[np.r_[apart, True][: stop.size]]
    long = stop - start >= signal.shortest
    return start[long], stop[long]


def read_pulses(source: Path, signal: Signal, what: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Return start and stop of each pulse, s, shape (event,); a file of times has no stops.

    Raises
    ------
    DataError
        If the file is missing or damaged, or has no pulses.
    """
    name, trace = read_trace(require_beside(source, signal.file, what), signal.key, times=signal.fs is None)
    if signal.fs is None:
        return seconds(trace, name, signal.unit) + signal.begin, None
    return pulses(trace, signal)


def read_frame_times(source: Path, signal: FrameTimes) -> np.ndarray:
    """Return the time of every camera frame, s, shape (frame,).

    Raises
    ------
    DataError
        If the file is missing or damaged, or has no pulses.
    """
    start, stop = read_pulses(source, signal, "frame_times")
    if stop is None or signal.at == "rising":
        return start
    return stop if signal.at == "falling" else (start + stop) / 2


def question_rate(what: str, rate_hz: float, option: str, guess: Callable[[Unit], Mapping[str, Any]]) -> None:
    """Ask about times that give a rate recordings do not have: most likely they are in another unit.

    Parameters
    ----------
    what
        Name of the times.
    rate_hz
        Per channel, as the times give it, taken for seconds.
    option
        Tells their unit, as in "source.times_unit".
    guess
        Unit -> fields of `ReadOptions` that tell it.

    Raises
    ------
    QuestionError
        If the rate is below 0.5 Hz or above 2 kHz.
    """
    if not np.isfinite(rate_hz) or rate_hz <= 0 or is_usual(rate_hz):
        return
    unit = likelier_unit(rate_hz)
    other = f"; in {unit} they would be {rate_hz / SECONDS[unit]:.4g} Hz" if unit else ""
    raise QuestionError(
        f"{what}: the frame times are hardly in seconds.",
        f"Taken so they are {rate_hz:.4g} Hz{other}; expected 0.5 to 2000 Hz.",
        f"Say their unit: --set {option}={unit or 'ms'}, or insist: --fs {rate_hz:.4g}",
        need=Need(f"--set {option}={unit or 's'}", f"the times are {rate_hz:.4g} Hz if in seconds{other}"),
        guess=guess(unit or "s"),
    )
