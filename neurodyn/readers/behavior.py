"""Behaviour that lies beside a recording, brought into it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr
from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.data.clock import SECONDS, Unit, seconds, split_unit
from neurodyn.data.recording import Recording, entry
from neurodyn.readers.columns import read_columns, require_beside
from neurodyn.readers.questions import Need, QuestionError

CLOCKS = ("t", "time", "times", "timestamp", "timestamps", "time_stamp")
HALF = 0.5  # share of samples beyond the recording from which on their unit is asked for


class BehaviorLog(Params):
    """Courses of behaviour: position, speed, pupil."""

    file: str | None = Field(
        default=None, description="CSV, TSV, MAT, HDF5 or npz file, as given or beside the source (default: the source)"
    )
    key: str | None = Field(default=None, description="struct, group or dataset that holds them")
    columns: tuple[str, ...] = Field(
        default=(), description="names of the columns in order, where the file has none; - leaves one out"
    )
    fs: float | None = Field(default=None, gt=0, description="samples per second, Hz (default: one per frame)")
    time: str | None = Field(
        default=None,
        description="column with the samples' times (default: the one called time or timestamp, without fs)",
    )
    unit: Unit | None = Field(
        default=None, description="unit of these times (default: as the column's header says it, else s)"
    )
    start: float = Field(default=0.0, description="time of the first sample on the recording's clock, s (with fs)")


def with_behavior(recording: Recording, source: Path, log: BehaviorLog) -> Recording:
    """Return the recording with courses of behaviour as its table `behavior`, dim `sample`, in seconds.

    Raises
    ------
    DataError
        If the file is missing or damaged, or its samples do not fit the frames and no rate is given.
    """
    path = source if log.file is None else require_beside(source, log.file, "behavior")
    columns = {
        name: column for name, column in read_columns(path, log.columns, log.key).items() if column.dtype.kind in "buif"
    }
    sizes = {name: column.size for name, column in columns.items()}
    if not columns or len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size}" for name, size in list(sizes.items())[:12])
        raise DataError(
            f"behavior: {path} holds no courses of one length.",
            f"Found {listed or 'no numbers'}.",
            "Name them with key.",
        )
    clock = _clock(columns, log)
    if clock is None:
        time = _times(recording, next(iter(sizes.values())), log)
    else:
        time = _told_times(recording, clock, columns.pop(clock), log)
    table = xr.Dataset({name: ("sample", column.astype(np.float64)) for name, column in columns.items()})
    table = table.assign_coords(sample=("sample", time, {"units": "s"}))
    told = any("behavior" in step["params"] for step in recording.history)
    step = None if told else entry("behavior", log.model_dump(mode="json", exclude_defaults=True))
    return recording.with_groups({"behavior": table}, step=step)


def _clock(columns: Mapping[str, np.ndarray], log: BehaviorLog) -> str | None:
    """Return the column that holds the times of the samples; None where there is none."""
    if log.time is not None:
        if log.time not in columns:
            raise DataError(
                f"behavior: there is no column {log.time} of numbers.",
                f"Found {', '.join(columns)}.",
                "Name one of them: --set source.behavior.time=NAME",
            )
        return log.time
    called = [name for name, column in columns.items() if split_unit(name)[0] in CLOCKS and _increases(column)]
    return called[0] if called and log.fs is None and len(columns) > 1 else None


def _increases(column: np.ndarray) -> bool:
    return column.size > 1 and bool((np.diff(column.astype(np.float64)) > 0).all())


def _told_times(recording: Recording, name: str, column: np.ndarray, log: BehaviorLog) -> np.ndarray:
    """Return the times of a column in seconds; those beyond the recording are asked about where nothing says their unit."""
    time = seconds(column.astype(np.float64), name, log.unit)
    end = recording.time[-1]
    if log.unit is None and split_unit(name)[1] is None and np.mean(time > end + 1) > HALF:
        units: tuple[Unit, ...] = ("ms", "us")
        fitting = next((unit for unit in units if time[-1] * SECONDS[unit] > end / 10), None)
        if fitting is not None:
            raise QuestionError(
                f"behavior: the times of {name} are hardly in seconds.",
                f"They end at {time[-1]:g}; the recording ends at {end:g} s.",
                f"Say their unit: --set source.behavior.unit={fitting}, or insist: --set source.behavior.unit=s",
                need=Need(
                    f"--set source.behavior.unit={fitting}", f"{name} ends at {time[-1]:g}, the recording at {end:g} s"
                ),
                guess={"behavior": log.model_copy(update={"unit": fitting})},
            )
    return time


def _times(recording: Recording, samples: int, log: BehaviorLog) -> np.ndarray:
    """Return the time of each sample, s."""
    if log.fs is not None:
        return log.start + np.arange(samples) / log.fs
    if samples != recording.time.size:
        raise DataError(
            "behavior: the samples do not fit the frames.",
            f"Found {samples} samples and {recording.time.size} frames.",
            "Say how fast it was sampled: --set source.behavior.fs=100",
        )
    return recording.time
