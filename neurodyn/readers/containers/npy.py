"""Arrays of .npy and .npz files."""

from __future__ import annotations

import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from neurodyn.data.damage import check_packed, library


class NpzArray:
    """One member of an .npz file; shape and dtype come from its header, the values when first asked for."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
            version = np.lib.format.read_magic(member)
            header = {(1, 0): np.lib.format.read_array_header_1_0}.get(version, np.lib.format.read_array_header_2_0)
            self.shape, _, self.dtype = header(member)
            check_packed(path, self.shape, self.dtype, archive.getinfo(f"{name}.npy").compress_size)

    def __getitem__(self, key: Any) -> np.ndarray:
        return self._values[key]

    @cached_property
    def _values(self) -> np.ndarray:
        with library(self.path), np.load(self.path, allow_pickle=False) as archive:
            return archive[self.name]


def numpy_arrays(path: Path) -> dict[str, Any]:
    """Return the array of a .npy file, or those of a .npz file by their names.

    Raises
    ------
    DataError
        If the file is damaged or holds objects.
    """
    with library(path):
        if path.suffix.lower() == ".npy":
            return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False)}
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        return {name: NpzArray(path, name) for name in names}
