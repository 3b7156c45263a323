"""Arrays that stay on disk until a part of them is asked for."""

from __future__ import annotations

import mmap
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends.common import BackendArray
from xarray.core import indexing


class DiskArray(ABC):
    """An array that stays on disk until it is sliced, as NumPy slices; a subclass says how one block of it is read.

    Parameters
    ----------
    shape, dtype
        As of a NumPy array.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)

    @property
    def ndim(self) -> int:
        """Return the number of axes."""
        return len(self.shape)

    @abstractmethod
    def _block(self, key: tuple[slice, ...]) -> np.ndarray:
        """Read a block, with all of its axes.

        Parameters
        ----------
        key
            One slice per axis, all of its ends told: it runs forwards, holds something, and stops after its last entry.
        """

    def __getitem__(self, key: Any) -> np.ndarray:
        """Return what a key of integers, slices and an ellipsis names; the first axis also takes indices in any order."""
        parts = [_forwards(part, size) for part, size in zip(_per_axis(key, self.ndim), self.shape, strict=True)]
        asked, taken = tuple(part for part, _ in parts), tuple(turn for _, turn in parts)
        if asked and isinstance(asked[0], np.ndarray):
            stretches = list(_stretches(asked[0])) or [slice(0, 0, 1)]
            return np.concatenate([self._read((stretch, *asked[1:])) for stretch in stretches])[taken]
        return self._read(asked)[taken]

    def _read(self, key: tuple[slice, ...]) -> np.ndarray:
        shape = [len(range(part.start, part.stop, part.step)) for part in key]
        return self._block(key) if all(shape) else np.empty(shape, self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all of it."""
        return np.asarray(self[...], dtype)


def _per_axis(key: Any, ndim: int) -> list[Any]:
    """Return what a key says of every axis."""
    parts = list(key) if isinstance(key, tuple) else [key]
    place = next((k for k, part in enumerate(parts) if part is Ellipsis), len(parts))
    told = [*parts[:place], *parts[place + 1 :]]
    if len(told) > ndim or any(np.ndim(part) for part in told[1:]):
        raise IndexError(
            f"{key}: an array on disk of {ndim} axes takes slices and integers, and indices along the first"
        )
    return [*parts[:place], *[slice(None)] * (ndim - len(told)), *parts[place + 1 :]]


def _forwards(part: Any, size: int) -> tuple[Any, Any]:
    """Return what is read of an axis, running forwards, and what is taken of that to be as NumPy would have it."""
    if np.ndim(part):
        return np.arange(size)[np.asarray(part)], slice(None)
    if not isinstance(part, slice):
        index = range(size)[operator.index(part)]
        return slice(index, index + 1, 1), 0
    found = range(size)[part]
    if not found:
        return slice(0, 0, 1), slice(None)
    turn = 1 if found.step > 0 else -1
    found = found[::turn]
    return slice(found[0], found[-1] + 1, found.step), slice(None, None, turn)


def _stretches(rows: np.ndarray) -> Iterator[slice]:
    """Divide indices into slices that run forwards."""
    steps = np.diff(rows)
    for stretch in np.split(rows, np.flatnonzero(steps[1:] != steps[:-1]) + 2):
        step = int(stretch[1] - stretch[0]) if stretch.size > 1 else 1
        if step > 0 and stretch.size:
            yield slice(int(stretch[0]), int(stretch[-1]) + 1, step)
        else:
            yield from (slice(int(row), int(row) + 1, 1) for row in stretch)


class _Adapted(BackendArray):
    """Anything with shape, dtype and basic slicing (memmap, HDF5 or Zarr array), for xarray's lazy indexing."""

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
    return xr.Variable(dims, indexing.LazilyIndexedArray(_Adapted(source)))
