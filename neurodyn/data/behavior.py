"""Behaviour that lies beside a recording, brought into it, and onto its frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.data.columns import beside, read_columns
from neurodyn.data.recording import Recording, entry

BEHAVIOR = "behavior."  # how a course is told from a neural variable


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
    start: float = Field(default=0.0, description="time of the first sample on the recording's clock, s (with fs)")


def with_behavior(recording: Recording, source: Path, log: BehaviorLog) -> Recording:
    """Return the recording with courses of behaviour as its table `behavior`, dim `sample`, in seconds.

    Raises
    ------
    DataError
        If the file is missing or damaged, or its samples do not fit the frames and no rate is given.
    """
    path = source if log.file is None else beside(source, log.file, "behavior")
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
    time = _times(recording, next(iter(sizes.values())), log)
    table = xr.Dataset({name: ("sample", column.astype(np.float64)) for name, column in columns.items()})
    table = table.assign_coords(sample=("sample", time, {"units": "s"}))
    told = any("behavior" in step["params"] for step in recording.history)
    step = None if told else entry("behavior", log.model_dump(mode="json", exclude_defaults=True))
    return recording.with_groups({"behavior": table}, step=step)


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


def at_times(course: xr.DataArray, times: np.ndarray) -> np.ndarray:
    """Interpolate a course of behaviour linearly between its finite samples; NaN outside of them, shape of `times`.

    Parameters
    ----------
    course
        Over an axis of seconds.
    times
        s, any shape.
    """
    own, values = course[course.dims[0]].values, course.values.astype(np.float64)
    known = np.isfinite(values)
    if not known.any():
        return np.full(times.shape, np.nan)
    return np.interp(times, own[known], values[known], left=np.nan, right=np.nan)


def signal(recording: Recording, name: str) -> xr.Variable:
    """Return a neural variable, or a course of behaviour interpolated to the frames, shape (time, *space).

    Parameters
    ----------
    name
        Of the variable; `behavior.COLUMN` for behaviour, one entry wide.

    Raises
    ------
    DataError
        If the recording has no such signal.
    """
    if not name.startswith(BEHAVIOR):
        return recording[name].variable
    table, column = recording.table("behavior"), name.removeprefix(BEHAVIOR)
    if table is None or column not in table.data_vars or table[column].ndim != 1:
        listed = [] if table is None else [f"{BEHAVIOR}{key}" for key in table.data_vars if table[key].ndim == 1]
        raise DataError(
            f"Recording '{recording.session}' has no signal '{name}'.",
            f"Found: {', '.join([*recording.variables, *listed])}.",
            "Name one of these.",
        )
    course = at_times(table[column], recording.time)
    return xr.Variable(("time", "column"), course[:, None].astype(np.float32))
