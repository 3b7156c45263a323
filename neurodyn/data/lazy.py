"""Arrays that stay on disk until a slice of them is asked for."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends.common import BackendArray
from xarray.core import indexing


class DiskArray(BackendArray):
    """Adapt anything with shape, dtype and basic slicing (memmap, HDF5 or Zarr array) to xarray's lazy indexing.

    Parameters
    ----------
    source
        The array on disk.
    """

    def __init__(self, source: Any) -> None:
        self.source = source
        self.shape = tuple(source.shape)
        self.dtype = np.dtype(source.dtype)

    def __getitem__(self, key: Any) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        owner = self.source
        while hasattr(owner, "source"):
            owner = owner.source
        if not isinstance(owner, np.memmap):
            return np.asarray(self.source[key])
        values = np.array(self.source[key])
        _forget(owner)
        return values


def _forget(mapped: np.memmap) -> None:
    """Take a memory map's pages out of this process, so that memory does not grow with what was read."""
    base: Any = mapped
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def lazy(dims: tuple[str, ...], source: Any) -> xr.Variable:
    """Wrap an array on disk as an xarray variable that reads only what is sliced."""
    return xr.Variable(dims, indexing.LazilyIndexedArray(DiskArray(source)))
