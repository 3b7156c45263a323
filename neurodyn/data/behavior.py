"""Behaviour that lies beside a recording, brought into it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import xarray as xr
from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.data.columns import beside, read_columns
from neurodyn.data.recording import Recording, entry


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
    groups = {name: node.to_dataset(inherit=False) for name, node in recording.tree.children.items()}
    groups["behavior"] = table.assign_coords(sample=("sample", time, {"units": "s"}))
    attrs = dict(recording.tree.attrs)
    if not any("behavior" in step["params"] for step in recording.history):
        params = log.model_dump(mode="json", exclude_defaults=True)
        attrs["history"] = json.dumps([*recording.history, entry("behavior", params)], ensure_ascii=False)
    return Recording(xr.DataTree.from_dict({"/": xr.Dataset(attrs=attrs)} | groups), recording.path)


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
