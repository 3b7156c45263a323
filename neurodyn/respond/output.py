"""Responses on disk: a store with every trial, tables that any program reads, and how they were made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
import zarr

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.core.files import atomic, check_output, clear_partials, locked, make_folder, write_json
from neurodyn.core.log import Report, silent
from neurodyn.data.recording import Recording
from neurodyn.data.store import STORAGE, whole_store, write_table
from neurodyn.respond.encoded import contribution_table, is_encoding, kernel_table, wide_columns
from neurodyn.respond.run import check, respond, variable_of
from neurodyn.respond.settings import RespondConfig

if TYPE_CHECKING:
    import pandas as pd

STORE, MADE = "responses.zarr", "respond.json"
FORMATS = (".csv", ".mat", ".nwb", ".zarr")
CHUNK = (64, 256)  # events and cells of a chunk of trials


def write_responses(source: Path, config: RespondConfig, out: Path | None = None, progress: Report = silent) -> Path:
    """Ask a recording, and write what it says.

    Parameters
    ----------
    out
        A folder (default: NAME.respond beside the recording), or one file: .csv, the table of cells; .mat, a struct for
        MATLAB; .nwb, the recording with a processing module `responses`; .zarr, everything with every trial.

    Returns
    -------
    pathlib.Path
        What was written.

    Raises
    ------
    DataError
        As `respond`.
    ConfigError
        As `respond`, or if `out` is of no format.
    """
    target = out or source.with_suffix(".respond")
    check_format(target, source)
    recording = Recording.open(source)
    check(recording, config)
    if target.suffix == ".nwb":
        return to_nwb(respond(recording, config, progress=progress), recording, target)
    with locked(target):
        clear_partials(target)
        if target.suffix in (".csv", ".mat"):
            found = respond(recording, config, progress=progress)
            with atomic(target) as path:
                WRITERS[target.suffix](found, path)
        elif target.suffix == ".zarr":
            _write_store(recording, config, target, progress)
        else:
            _write_folder(recording, config, make_folder(target), source, progress)
    return target


def check_format(target: Path, source: Path) -> None:
    """Refuse a file of no format that is written, or one that would spoil a recording.

    Raises
    ------
    ConfigError
        If it is one.
    """
    if target.suffix not in (*FORMATS, "", ".respond"):
        raise ConfigError(
            f"{target} names no format that responses have.",
            f"Expected {', '.join(FORMATS)}, or a folder.",
            f"Type: -o {target.with_suffix('.csv')}",
        )
    check_output(target, [source], whole=target.suffix in FORMATS)


def _write_folder(recording: Recording, config: RespondConfig, folder: Path, source: Path, progress: Report) -> None:
    found = _write_store(recording, config, folder / STORE, progress)
    for name, table in tables_of(found).items():
        with atomic(folder / f"{name}.csv") as path:
            table.to_csv(path, index=False)
    told = {key: value for key, value in found.attrs.items() if key not in ("config", "kinds")}
    write_json(folder / MADE, {"source": str(source), "config": json.loads(found.attrs["config"])} | told)


def _write_store(recording: Recording, config: RespondConfig, target: Path, progress: Report) -> xr.Dataset:
    """Write everything into one Zarr group; trials of traces as they are read, so that they never are in memory at once."""
    variable = recording[variable_of(recording, config)]
    with whole_store(target) as folder:
        root = zarr.open_group(folder, mode="w", zarr_format=3)
        traces = variable.ndim == 2 and config.glm is None
        keep = _trials_into(root, recording, str(variable.dims[1])) if traces else None
        found = respond(recording, config, keep, progress)
        write_table(folder, "/", found)
    return found


def _trials_into(root: zarr.Group, recording: Recording, dim: str) -> Callable[[slice, np.ndarray], None]:
    events = 0 if (table := recording.table("stimulus")) is None else table.sizes["event"]

    def keep(block: slice, trials: np.ndarray) -> None:
        if "trials" not in root:
            shape = (events, *trials.shape[1:])
            chunks = (min(shape[0], CHUNK[0]), shape[1], min(shape[2], CHUNK[1]))
            dims = ("event", "time", dim)
            root.create_array(
                "trials", shape=shape, chunks=chunks, dtype="f4", dimension_names=dims, fill_value=np.nan, **STORAGE
            )
        array = root["trials"]
        assert isinstance(array, zarr.Array)
        array[block] = trials.astype(np.float32)

    return keep


def open_responses(path: Path) -> xr.Dataset:
    """Open what `write_responses` wrote: a folder, or its store; trials are read when they are used.

    Raises
    ------
    DataError
        If there is none.
    """
    store = path / STORE if (path / STORE).is_dir() else path
    if not (store / "zarr.json").is_file():
        raise DataError(f"{path} holds no responses.", f"Expected {STORE}.", "Make them: neurodyn respond RECORDING")
    return xr.open_zarr(store, chunks=None, consolidated=False)


def cell_table(found: xr.Dataset) -> pd.DataFrame:
    """Return a row per cell, or per pixel of a movie: what was tested, and what was found."""
    dims = cell_dims(found)
    if is_encoding(found):
        return _only(wide_columns(found), dims).to_dataframe().reset_index()
    names = [str(name) for name, values in found.data_vars.items() if values.dims == dims]
    table = _only(found[names], dims).to_dataframe().reset_index()
    table["preferred"] = found["condition"].values[table["preferred"].to_numpy(dtype=int)]
    return table


def tuning_table(found: xr.Dataset) -> pd.DataFrame:
    """Return a row per cell and condition: mean response, 95 % interval, and number of trials (or frames)."""
    names = ["tuning", "tuning_low", "tuning_high"]
    levels = [key for key, values in found.coords.items() if values.dims == ("condition",) and key != "condition"]
    dims = cell_dims(found)
    kept = _only(found[[*names, "number"]], (*dims, "condition", *map(str, levels)))
    return kept.to_dataframe(dim_order=[*dims, "condition"]).reset_index()


def tables_of(found: xr.Dataset) -> dict[str, pd.DataFrame]:
    """Return all tables by name: `cells`, and `tuning`, or of encoding models `contributions` and `kernels`."""
    if is_encoding(found):
        return {
            "cells": cell_table(found), "contributions": contribution_table(found), "kernels": kernel_table(found)
        }  # fmt: skip
    return {"cells": cell_table(found), "tuning": tuning_table(found)}


def _only(part: xr.Dataset, coords: tuple[str, ...]) -> xr.Dataset:
    return part.drop_vars([key for key in part.coords if key not in coords])


def cell_dims(found: xr.Dataset) -> tuple[str, ...]:
    """Return the dimensions of a cell: roi, component, or y and x."""
    return tuple(map(str, found["explained" if is_encoding(found) else "peak_response"].dims))


def to_matlab(found: xr.Dataset, path: Path) -> None:
    """Write one struct `responses`, every variable a field as it lies here, for MATLAB."""
    from scipy.io import savemat

    fields: dict[str, Any] = {str(name): _plain(values.values) for name, values in found.variables.items()}
    fields |= {f"about_{key}": value for key, value in found.attrs.items()}
    with path.open("wb") as file:  # a name would be given the ending .mat
        savemat(file, {"responses": fields}, long_field_names=True, do_compression=True)


def to_nwb(found: xr.Dataset, recording: Recording, path: Path) -> Path:
    """Write the recording as an NWB file, and what was found as its processing module `responses`.

    Its tables are those of the folder; of events, `event_responses` has one value per onset and cell.
    """
    from neurodyn.readers.nwb.results import results_module
    from neurodyn.readers.nwb.writing import write_nwb

    series = {}
    if "response" in found:
        unit = str(found.attrs["units"])
        series["event_responses"] = (found["start"].values, found["response"].values, unit)
    asked = f"to {found.attrs['target']}" if found.attrs["target"] else "to events"
    module = results_module(
        "responses", f"Responses of {found.attrs['variable']} {asked}, by neurodyn", tables_of(found), series
    )
    return write_nwb(recording, path, more=[module])


def _plain(values: np.ndarray) -> np.ndarray:
    return np.array([str(value) for value in values], dtype=object) if values.dtype.kind in "OUT" else values


WRITERS: dict[str, Callable[[xr.Dataset, Path], None]] = {
    ".csv": lambda found, path: cell_table(found).to_csv(path, index=False),
    ".mat": to_matlab,
}
