"""Stimulus logs and clocks that lie beside a recording, brought into it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import xarray as xr
from pydantic import Field, model_validator

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.data.clock import SECONDS, Unit, split_unit
from neurodyn.data.recording import Recording, entry
from neurodyn.readers.columns import TEXT, read_columns, require_beside
from neurodyn.readers.questions import Need, QuestionError
from neurodyn.readers.signals import Signal, read_pulses

LOGGER = logging.getLogger(__name__)
START = ("start", "start_time", "onset")
HALF = 0.5  # share of onsets beyond the recording from which on their unit is asked for
STOP = ("stop", "stop_time", "end", "end_time", "offset")


class StimulusLog(Params):
    """A table with one row per trial, and when the trials were."""

    file: str | None = Field(default=None, description="CSV, TSV, MAT, HDF5 or npz file, as given or beside the source")
    key: str | None = Field(default=None, description="struct, group or dataset that holds the table")
    columns: tuple[str, ...] = Field(
        default=(), description="names of the columns in order, for a file without header; - leaves one out"
    )
    start: str | None = Field(default=None, description=f"column with onsets (default: {', '.join(START)})")
    stop: str | None = Field(default=None, description=f"column with ends (default: {', '.join(STOP)})")
    duration: float | str | None = Field(
        default=None, description="seconds that events last, or the column that says it"
    )
    unit: Unit | Literal["frame"] | None = Field(
        default=None,
        description="unit of the log's times (default: as the column's header says it, else s); frames of the recording "
        "are counted from 0",
    )
    offset: float = Field(default=0.0, description="added to the log's times to reach the recording's clock, s")
    onsets: Signal | None = Field(
        default=None, description="photodiode trace or list of onsets, one per row of the log"
    )
    outside: Literal["drop", "keep", "refuse"] = Field(
        default="drop", description="what to do with events that do not lie wholly inside the recording"
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.file is None and self.onsets is None:
            raise ValueError("give file, onsets, or both")
        return self


def with_stimulus(recording: Recording, source: Path, log: StimulusLog) -> Recording:
    """Return the recording with the log's events as its stimulus table; an older table gives way, with a warning.

    Raises
    ------
    DataError
        If the log is missing or damaged, does not say when its events were, or counts other events than the onsets.
    """
    events = _inside(recording, read_events(source, log, recording.time), log)
    if recording.table("stimulus") is not None:
        LOGGER.warning("%s: its stimulus table gives way to %s.", source, log.file or "the onsets")
    table = xr.Dataset({name: ("event", column) for name, column in events.items()})
    told = any("stimulus" in step["params"] for step in recording.history)
    step = None if told else entry("stimulus", log.model_dump(mode="json", exclude_defaults=True))
    return recording.with_groups({"stimulus": table}, step=step)


def read_events(source: Path, log: StimulusLog, time: np.ndarray) -> dict[str, np.ndarray]:
    """Return the events as columns of shape (event,): start and stop in seconds, then the log's own.

    Parameters
    ----------
    source
        The recording's source, beside which the files may lie.
    time
        Frame times, s, shape (time,).

    Raises
    ------
    DataError
        As `with_stimulus`.
    """
    columns = {}
    if log.file is not None:
        path = require_beside(source, log.file, "stimulus")
        columns = _of_one_length(log, read_columns(path, log.columns, log.key), path.suffix.lower() in TEXT)
    start, stop = _from_onsets(source, log, log.onsets, columns) if log.onsets else (_start(log, columns, time), None)
    if log.onsets is None:
        _question_unit(log, columns, start, time)
    stop = _stop(log, columns, time, start, stop)
    taken = {"start", "stop"} & set(columns)
    if log.onsets is None:
        used = {_found(log.start, START, columns), _found(log.stop, STOP, columns)}
        columns = {name: column for name, column in columns.items() if name not in used | taken}
    return {"start": start, "stop": stop} | {
        f"log_{name}" if name in taken else name: column for name, column in columns.items()
    }


def _of_one_length(log: StimulusLog, columns: dict[str, np.ndarray], text: bool) -> dict[str, np.ndarray]:
    """Return the columns of a table; of a container those as long as the onsets in it."""
    start = _found(log.start, START, columns)
    if start is not None and not text:
        columns = {name: column for name, column in columns.items() if column.size == columns[start].size}
    sizes = {name: column.size for name, column in columns.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size}" for name, size in list(sizes.items())[:12])
        raise DataError(
            f"stimulus: the columns of {log.file} differ in length.", f"Found {listed}.", "Name the table with key."
        )
    return columns


def _question_unit(log: StimulusLog, columns: Mapping[str, np.ndarray], start: np.ndarray, time: np.ndarray) -> None:
    """Ask about onsets that lie beyond the recording, where nothing says their unit and another one brings them inside.

    Raises
    ------
    QuestionError
        With that unit.
    """
    name, values = _found(log.start, START, columns) or "", start - log.offset
    if log.unit is not None or _said(name) is not None or not values.size or np.mean(start > time[-1]) < HALF:
        return
    inside: dict[str, bool] = {
        "frame": bool((values == np.rint(values)).all() and values.max() < time.size),
        **{unit: float(values.max()) * SECONDS[unit] + log.offset <= time[-1] for unit in ("ms", "us")},
    }
    units = [unit for unit, fits in inside.items() if fits]
    if units:
        raise QuestionError(
            f"stimulus: the onsets of {log.file} are hardly in seconds.",
            f"They are {values.min():g} to {values.max():g}; the recording ends at {time[-1]:g} s.",
            f"Say their unit: --set source.stimulus.unit={units[0]}, or insist: --set source.stimulus.unit=s",
            need=Need(
                f"--set source.stimulus.unit={units[0]}",
                f"onsets up to {values.max():g} lie in {time[-1]:g} s of recording in {' or '.join(units)}, not in s",
            ),
            guess={"stimulus": log.model_copy(update={"unit": units[0]})},
        )


def _from_onsets(
    source: Path, log: StimulusLog, onsets: Signal, columns: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray | None]:
    start, stop = read_pulses(source, onsets, "stimulus.onsets")
    rows = next(iter(columns.values())).size if columns else start.size
    if rows != start.size:
        raise DataError(
            "stimulus: the log and the onsets do not count the same trials.",
            f"Found {rows} rows in {log.file} and {start.size} onsets in {onsets.file}.",
            "Check threshold, join and shortest of the onsets, or mend the log.",
        )
    return start + log.offset, None if stop is None else stop + log.offset


def _found(name: str | None, usual: tuple[str, ...], columns: Mapping[str, Any]) -> str | None:
    names = usual if name is None else (name,)
    exact = next((candidate for candidate in names if candidate in columns), None)
    bare = {split_unit(column)[0].removesuffix("_frame"): column for column in reversed(list(columns))}
    return exact or next((bare[candidate] for candidate in names if candidate in bare), None)


def _said(name: str) -> Unit | Literal["frame"] | None:
    """Return the unit that a column's name says."""
    bare, unit = split_unit(name)
    return "frame" if bare.endswith("_frame") else unit


def _unit(log: StimulusLog, name: str) -> Unit | Literal["frame"]:
    said = _said(name)
    if log.unit and said and log.unit != said:
        LOGGER.warning("stimulus: column %s says %s; it is read in %s, as told.", name, said, log.unit)
    return log.unit or said or "s"


def _start(log: StimulusLog, columns: Mapping[str, np.ndarray], time: np.ndarray) -> np.ndarray:
    name = _found(log.start, START, columns)
    if name is None:
        raise DataError(
            f"stimulus: {log.file} does not say when its events were.",
            f"Expected a column {log.start or ' or '.join(START)}; found {', '.join(columns)}.",
            "Name it with start, or give onsets: --set source.stimulus.onsets.file=FILE",
        )
    return _seconds(log, name, columns[name], time)


def _stop(
    log: StimulusLog, columns: Mapping[str, np.ndarray], time: np.ndarray, start: np.ndarray, stop: np.ndarray | None
) -> np.ndarray:
    if isinstance(log.duration, float | int):
        return start + log.duration
    if log.duration is not None:
        name = _found(log.duration, (), columns)
        if name is None:
            raise DataError(
                f"stimulus: {log.file} has no column {log.duration}.", f"Found {', '.join(columns)}.", "Check duration."
            )
        unit = _said(name) or log.unit or "s"
        return start + _numbers(log, name, columns[name]) * (1.0 if unit == "frame" else SECONDS[unit])
    if stop is not None:
        return stop
    name = None if log.onsets else _found(log.stop, STOP, columns)
    if name is None:
        raise DataError(
            "stimulus: nothing says how long the events last.",
            f"Expected a column {log.stop or ' or '.join(STOP)}; found {', '.join(columns) or 'none'}.",
            "Give it in seconds: --set source.stimulus.duration=2",
        )
    return _seconds(log, name, columns[name], time)


def _numbers(log: StimulusLog, name: str, column: np.ndarray) -> np.ndarray:
    if column.dtype.kind not in "buif":
        raise DataError(
            f"stimulus: column {name} of {log.file} is not numbers.", f"It begins with {column[0]!r}.", "Mend the log."
        )
    return column.astype(np.float64)


def _seconds(log: StimulusLog, name: str, column: np.ndarray, time: np.ndarray) -> np.ndarray:
    values = _numbers(log, name, column)
    unit = _unit(log, name)
    if unit != "frame":
        return values * SECONDS[unit] + log.offset
    if values.size and not (values.min() >= 0 and values.max() < time.size):
        raise DataError(
            f"stimulus: column {name} names frames that are not there.",
            f"Found {values.min():g} to {values.max():g}; the recording has frames 0 to {time.size - 1}.",
            "Check unit, or whether the log counts the frames of all channels.",
        )
    return np.interp(values, np.arange(time.size), time) + log.offset


def _inside(recording: Recording, events: dict[str, np.ndarray], log: StimulusLog) -> dict[str, np.ndarray]:
    first, last = recording.time[0], recording.time[-1] + 1 / recording.rate_hz
    kept = (events["start"] >= first) & (events["stop"] <= last)
    if kept.all() or log.outside == "keep":
        return events
    found = f"{int((~kept).sum())} of {kept.size} events lie outside; the recording is from {first:g} to {last:g} s"
    if log.outside == "refuse" or not kept.any():
        raise DataError(
            "stimulus: events lie outside the recording.", f"{found}.", "Check unit and offset of the log's times."
        )
    LOGGER.warning("stimulus: %s; they are left out.", found)
    return {name: column[kept] for name, column in events.items()}


def with_times(recording: Recording, times: np.ndarray, first: int, every: int, fs: float | None) -> Recording:
    """Return the recording on the clock of its camera.

    Parameters
    ----------
    times
        Time of every frame of the recording, or of all interleaved frames of the file, s, shape (frame,).
    first, every
        Which of the file's frames are the recording's.
    fs
        Rate the user gave, Hz; by default the times decide.

    Raises
    ------
    DataError
        If times and frames differ in number.
    """
    frames = recording.time.size
    mine = times if times.size == frames else times[first::every]
    if times.size != frames and not 0 <= times.size - frames * every < every:  # a lone last frame has no partner
        raise DataError(
            "frame_times: times and frames differ in number.",
            f"Found {times.size} times; the source has {frames} frames per channel, every {every} frames.",
            "Check threshold and shortest, or cut the trace to the recording.",
        )
    neural = recording.neural.assign_coords(time=("time", mine[:frames], {"units": "s"}))
    measured = {"rate_hz": 1 / float(np.median(np.diff(mine)))} if fs is None and frames > 1 else None
    return recording.with_groups({"neural": neural}, attrs=measured)
