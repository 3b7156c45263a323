"""Arrays of .npy and .npz files."""

from __future__ import annotations

import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from neurodyn.data.damage import check_packed, library
from neurodyn.readers.lazy_views import Loaded


def _member(path: Path, name: str) -> Loaded:
    """Return a member of an .npz file; shape and dtype come from its header."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        header = {(1, 0): np.lib.format.read_array_header_1_0}.get(version, np.lib.format.read_array_header_2_0)
        shape, _, dtype = header(member)
        check_packed(path, shape, dtype, archive.getinfo(f"{name}.npy").compress_size)
    return Loaded(shape, dtype, partial(_load_member, path, name))


def _load_member(path: Path, name: str) -> np.ndarray:
    with library(path), np.load(path, allow_pickle=False) as archive:
        return archive[name]


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
        return {name: _member(path, name) for name in names}
