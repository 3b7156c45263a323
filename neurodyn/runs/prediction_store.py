"""How a prediction lies on disk: its arrays, whose axes are named, and the table of its windows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import xarray as xr
import zarr

from neurodyn.data.store import STORAGE, write_table
from neurodyn.data.windows import Windows

Arrays = dict[str, np.ndarray]
TRAILING = {
    "latents": ("time", "feature"),
    "summary": ("kept",),
    "inputs": ("time", "input"),
    "attention": ("time", "key"),
    "hidden": ("time",),
    "clock": ("time",),
}
MAP_AXES = ("layer", "head", "query")
PER_WINDOW = ("logits", "responses")


def write_tables(folder: Path, windows: dict[str, Windows], at: Sequence[float] | None) -> None:
    """Write where every window lies, the times of its frames, and the times that were asked for, s."""
    columns = {
        name: np.concatenate([getattr(some, name) for some in windows.values()])
        for name in ("start", "session", "trial", "first")
    }
    part = np.concatenate([np.full(len(some), name, dtype=object) for name, some in windows.items()])
    table = xr.Dataset({name: ("window", values) for name, values in columns.items()} | {"part": ("window", part)})
    table["start"].attrs["units"] = "s"
    first = next(iter(windows.values()))
    table = table.assign_coords(time=("time", first.times, {"units": "s"}))
    if at is not None:
        table = table.assign_coords(query=("query", np.asarray(at, dtype=np.float64), {"units": "s"}))
    write_table(folder, "/", table)


def own_cells(arrays: Arrays, windows: Windows, indices: np.ndarray) -> Arrays:
    """Put NaN where a session has no such cell."""
    if windows.padded is None:
        return arrays
    there = np.arange(windows.padded) < np.array(windows.cells)[windows.session[indices], None]
    per_cell = {name: values for name, values in arrays.items() if name not in (*TRAILING, "attention_maps")}
    return arrays | {
        name: np.where(there if name in PER_WINDOW else there[:, None], values, np.float32(np.nan))
        for name, values in per_cell.items()
    }


def store(
    root: zarr.Group, arrays: Arrays, offset: int, total: int, windows: Windows, maps: Sequence[str] = ()
) -> None:
    """Write arrays of some windows, from place `offset` of `total`; `maps` are the axes that attention keeps."""
    space = ("roi",) if len(windows.space) == 1 else ("y", "x")
    kept = tuple(name for name in MAP_AXES if name in maps)
    trailing = TRAILING | {
        "at": ("query", *space),
        "at_few": ("query", *space),
        "attention_maps": (*kept, "time", "place"),
        **dict.fromkeys(PER_WINDOW, space),
    }
    for name, values in arrays.items():
        if name not in root:
            root.create_array(
                name,
                shape=(total, *values.shape[1:]),
                chunks=values.shape,
                dtype=values.dtype,
                dimension_names=("window", *trailing.get(name, ("time", *space))),
                fill_value=0,
                **STORAGE,
            )
        target = cast("zarr.Array", root[name])
        target[offset : offset + len(values)] = values
