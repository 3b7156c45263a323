"""Recordings written for other programs: movies as BigTIFF, traces and tables as CSV. NWB has a module of its own."""

from __future__ import annotations

import csv
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
import xarray as xr

from neurodyn.core.errors import ConfigError
from neurodyn.core.files import atomic, clear_partials, locked
from neurodyn.data.recording import Recording

BLOCK_BYTES = 64 * 2**20
TABLES = ("stimulus", "rois", "behavior", "truth", "qc")


def write_tiff(recording: Recording, path: Path, variable: str | None = None) -> Path:
    """Write one movie as an OME BigTIFF with its rate, frame by frame and atomically; its type stays as it is.

    Parameters
    ----------
    variable
        Name of a variable with dims (time, y, x); by default the only one.

    Raises
    ------
    ConfigError
        If there is no such movie, or several could be meant.
    """
    name = _chosen(recording, variable, 3, "a movie; write traces to .csv")
    movie = recording[name].variable
    metadata = {
        "axes": "TYX",
        "Name": f"{recording.session} {name}",
        "TimeIncrement": 1 / recording.rate_hz,
        "TimeIncrementUnit": "s",
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{recording.session}/{name}/{movie.shape}")),  # else a random one
    }
    with locked(path):
        clear_partials(path)
        with atomic(path) as temporary, tifffile.TiffWriter(temporary, bigtiff=True, ome=True) as writer:
            writer.write(
                _frames(movie),
                shape=movie.shape,
                dtype=movie.dtype,
                photometric="minisblack",
                metadata=metadata,
            )
    return path


def write_csv(recording: Recording, path: Path, variable: str | None = None) -> Path:
    """Write traces or a table as CSV, in blocks and atomically; numbers keep every digit.

    Traces have a column `time` in seconds and one per ROI or component; tables have their own columns, behaviour one
    column of times per axis.

    Parameters
    ----------
    variable
        Name of a variable with dims (time, roi) or (time, component), or of a table: stimulus, rois, behavior, truth,
        qc; by default the only variable.

    Raises
    ------
    ConfigError
        If there is no such variable, or several could be meant.
    """
    table = recording.table(variable) if variable in TABLES and variable is not None else None
    if table is not None:
        rows = _table_rows(recording.stimulus if variable == "stimulus" else table)
    else:
        rows = _trace_rows(recording, _chosen(recording, variable, 2, "traces; write movies to .tif"))
    with locked(path):
        clear_partials(path)
        with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    return path


def _chosen(recording: Recording, variable: str | None, ndim: int, what: str) -> str:
    fitting = [name for name in recording.variables if recording[name].ndim == ndim]
    if variable is None and len(fitting) == 1:
        return fitting[0]
    if variable not in fitting or variable is None:
        tables = [name for name in TABLES if recording.table(name) is not None] if ndim == 2 else []
        raise ConfigError(
            f"{variable} is not {what}." if variable else "Which variable is to be written?",
            f"This format takes: {', '.join([*fitting, *tables]) or 'none of this recording'}.",
            "Name one: --variable NAME",
        )
    return variable


def _blocks(variable: xr.Variable) -> Iterator[tuple[slice, np.ndarray]]:
    frame = max(1, int(np.prod(variable.shape[1:], dtype=np.int64)) * variable.dtype.itemsize)
    step = max(1, BLOCK_BYTES // frame // 512 * 512 or BLOCK_BYTES // frame)
    for start in range(0, variable.shape[0], step):
        chunk = slice(start, min(start + step, variable.shape[0]))
        yield chunk, variable[chunk].values


def _frames(variable: xr.Variable) -> Iterator[np.ndarray]:
    for _, values in _blocks(variable):
        yield from values


def _trace_rows(recording: Recording, name: str) -> Iterator[list[str]]:
    variable, time = recording[name].variable, recording.time
    kind = str(variable.dims[1])
    yield ["time", *(f"{kind}_{k}" for k in range(variable.shape[1]))]
    for chunk, values in _blocks(variable):
        for moment, row in zip(time[chunk].astype(str), values.astype(str), strict=True):
            yield [str(moment), *map(str, row)]


def _table_rows(table: xr.Dataset) -> Iterator[list[str]]:
    """Give a row per entry; columns of other lengths end earlier, tables inside a table take a column per entry."""
    columns: dict[str, np.ndarray] = {}
    for name, column in table.variables.items():
        if column.ndim == 1:
            columns[str(name)] = _text(column.values)
        elif column.ndim == 2:
            columns |= {f"{name}_{k}": part for k, part in enumerate(_text(column.values.T))}
    yield list(columns)
    for row in range(max((len(column) for column in columns.values()), default=0)):
        yield [str(column[row]) if row < len(column) else "" for column in columns.values()]


def _text(values: np.ndarray) -> np.ndarray:
    """Return values as text; numpy cannot cast the strings a store gives back."""
    return np.array(values.tolist(), dtype=str) if values.dtype.kind == "T" else values.astype(str)
