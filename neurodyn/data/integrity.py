"""Whether a Zarr folder that neurodyn wrote is whole: what is missing or damaged is found, and its file is named."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from xarray.backends.common import BackendArray
from xarray.core import indexing

from neurodyn.core.errors import DataError
from neurodyn.data.damage import library, reason

DESCRIPTION = "zarr.json"
MEND = "Copy the folder again, or make it again."


def losses(folder: Path, name: str = "") -> Iterator[tuple[str, str]]:
    """Find what a folder lacks, as copies that were cut short do, and descriptions that are damaged: where, and what.

    Every chunk is written, also where it holds nothing but zeros, so that a missing one is a loss. Chunks that are there
    are checked when they are read.
    """
    place = folder / name
    described = place / DESCRIPTION
    if not described.is_file():
        if name and ((place / "c").exists() or any(place.rglob(DESCRIPTION))):
            yield name, f"{described} is missing."
        return
    try:
        if json.loads(described.read_text(encoding="utf-8"))["node_type"] == "array":
            yield from _lost_chunks(folder, name)
            return
    except (OSError, LookupError, TypeError, ValueError) as error:
        yield name, f"{described}: {type(error).__name__}: {reason(error)}."
        return
    for child in sorted(place.iterdir()):
        if child.is_dir():
            yield from losses(folder, child.relative_to(folder).as_posix())


def check_whole(folder: Path) -> None:
    """Refuse a folder that lacks something.

    Raises
    ------
    DataError
        Naming the first file that is missing or damaged.
    """
    for _, found in losses(folder):
        raise DataError(f"{folder} is not whole.", found, MEND)


def _lost_chunks(folder: Path, name: str) -> Iterator[tuple[str, str]]:
    array = zarr.open_array(folder / name, mode="r")
    place = folder / name / "c"
    there = sum(not file.startswith(".") for _, _, files in os.walk(place) for file in files)
    lost = array.nchunks - (there or place.is_file())
    if lost > 0:
        first = next(file for file in _chunk_files(folder / name, array) if not file.is_file())
        yield name, f"{name} lacks {lost} of its {array.nchunks} chunks; the first is {first}."


def _chunk_files(place: Path, array: zarr.Array) -> Iterator[Path]:
    """Return the files of an array's chunks in order."""
    metadata: Any = array.metadata
    for corner in _corners(array):
        yield place / metadata.encode_chunk_key(corner)


def _corners(array: zarr.Array) -> Iterator[tuple[int, ...]]:
    for number in range(array.nchunks):  # a damaged shape can have more chunks than memory holds
        yield tuple(int(place) for place in np.unravel_index(number, array.cdata_shape))


def open_whole(folder: Path) -> xr.Dataset:
    """Open a Zarr folder of one group lazily, as predictions are.

    Raises
    ------
    DataError
        If it is not whole; also later, when something damaged is read.
    """
    check_whole(folder)
    with library(folder, _unopened):
        return checked(xr.open_zarr(folder, consolidated=False, chunks=None), folder, "")


def _unopened(folder: Path, error: Exception) -> DataError:
    return DataError(f"{folder} cannot be opened.", f"{type(error).__name__}: {reason(error)}.", MEND)


def checked(dataset: xr.Dataset, folder: Path, group: str) -> xr.Dataset:
    """Return a group whose variables, as lazy as before, name the damaged file when they cannot be read."""
    told: dict[Any, xr.Variable] = {}
    for name, variable in dataset.variables.items():
        source = _Checked(variable, folder, f"{group}/{name}".strip("/"))
        data: Any = indexing.MemoryCachedArray(indexing.CopyOnWriteArray(indexing.LazilyIndexedArray(source)))  # pyright: ignore[reportArgumentType]
        kept = {key: variable.encoding[key] for key in ("chunks",) if key in variable.encoding}  # what readers go by
        told[name] = xr.Variable(variable.dims, data, variable.attrs, kept)
    coords = {name: told.pop(name) for name in dataset.coords}
    return xr.Dataset(told, coords, dataset.attrs)


class _Checked(BackendArray):
    """A variable on disk whose damage is told as such."""

    def __init__(self, variable: xr.Variable, folder: Path, name: str) -> None:
        self.variable, self.folder, self.name = variable, folder, name
        self.shape, self.dtype = variable.shape, variable.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        with library(self.folder, lambda folder, error: damaged(folder, self.name, error)):
            return self.variable[key].values


def damaged(folder: Path, name: str, error: Exception) -> DataError:
    """Return what to tell the user of an array that cannot be decoded: the first chunk at fault."""
    return DataError(
        f"{folder} is damaged.", f"{_first_bad_chunk(folder / name)} cannot be decoded: {reason(error)}.", MEND
    )


def _first_bad_chunk(place: Path) -> Path:
    """Return the file of the first chunk that cannot be decoded; the array's folder where that is not the reason."""
    try:
        with library(place / DESCRIPTION):
            array = zarr.open_array(place, mode="r")
    except DataError:
        return place / DESCRIPTION
    for corner, file in zip(_corners(array), _chunk_files(place, array), strict=True):
        try:
            with library(file):
                array.get_block_selection(corner)
        except DataError:
            return file
    return place
