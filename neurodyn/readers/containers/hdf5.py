"""Datasets of HDF5 files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np

from neurodyn.data.damage import broken, check_packed, library
from neurodyn.data.lazy import DiskArray


class Hdf5Array(DiskArray):
    """One HDF5 dataset; the file is open only while a slice is read.

    A file that is no file of this machine cannot be opened again by its path: it is read while its owner has it open.
    """

    def __init__(self, path: Path, dataset: h5py.Dataset) -> None:
        super().__init__(dataset.shape, dataset.dtype)
        self.path, self.name = path, str(dataset.name)
        self.dims, self.units = _names_of(dataset), dataset.attrs.get("units", dataset.attrs.get("unit"))
        if not (dataset.is_virtual or dataset.external):
            check_packed(path, dataset.shape, dataset.dtype, dataset.id.get_storage_size())
        self._streamed = dataset if dataset.file.driver == "fileobj" else None

    def _block(self, key: tuple[slice, ...]) -> np.ndarray:
        if self._streamed is not None:
            return np.asarray(self._streamed[key])
        with library(self.path), h5py.File(self.path, "r") as file:
            return np.asarray(_dataset(file, self.name)[key])

    def text(self) -> np.ndarray:
        """Return a dataset of strings."""
        with library(self.path), h5py.File(self.path, "r") as file:
            return np.asarray(_dataset(file, self.name).asstr()[()], dtype=str)


def _names_of(dataset: h5py.Dataset) -> tuple[str, ...]:
    """Return the names of the axes: of their dimension scales, as netCDF writes them, or their labels."""
    axes = [dataset.dims[k] for k in range(dataset.ndim or 0)]
    return tuple(str(axis[0].name) if len(axis) else str(axis.label) for axis in axes)


def _dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a dataset; `name` is known to be one."""
    return cast(h5py.Dataset, file[name])


def hdf5_arrays(path: Path) -> dict[str, Any]:
    """Return every dataset of an HDF5 file by its path.

    Raises
    ------
    DataError
        If the file is damaged, or a name in it is no text.
    """
    found: dict[str, Any] = {}

    def visit(name: str | bytes, item: Any) -> None:
        if isinstance(name, bytes):  # as the library gives what it cannot decode
            raise broken(path, ValueError(f"the name {name!r} in it is no UTF-8"))
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            found[name] = Hdf5Array(path, item)

    with library(path), h5py.File(path, "r") as file:
        file.visititems(visit)
    return found
