"""Arrays of MATLAB files: version 5 to 7.2 through scipy, version 7.3 through HDF5, where axes lie in reverse."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io

from neurodyn.data.damage import library
from neurodyn.data.lazy import DiskArray
from neurodyn.readers.containers.hdf5 import Hdf5Array
from neurodyn.readers.containers.matlab_check import check_structure
from neurodyn.readers.lazy_views import Loaded, Part, Turned

DTYPES = {"double": "f8", "single": "f4", "logical": "?"} | {
    f"{sign}int{bits}": f"{sign or 'i'}{bits // 8}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}


def mat_arrays(path: Path, expand: bool = False) -> dict[str, Any]:
    """Return the arrays of a MATLAB file by name; vectors have one axis.

    Parameters
    ----------
    expand
        Also return the fields of structs, as STRUCT/FIELD; an array of structs gives one column per field. Cells are
        CELL/0, CELL/1, … They are so anyway where there is no plain array.

    Raises
    ------
    DataError
        If the file is damaged, or no MATLAB file.
    """
    with library(path):
        if h5py.is_hdf5(path):
            return _version_73(path)
        check_structure(path)
        found = scipy.io.whosmat(path)
    arrays: dict[str, Any] = {
        name: _variable(path, name, shape, DTYPES[kind]) for name, shape, kind in found if kind in DTYPES
    }
    for name, _, kind in found:
        if kind in ("struct", "cell") and (expand or not arrays):
            arrays |= (_fields if kind == "struct" else _cells)(name, load_variable(path, name))
    return arrays


def _variable(path: Path, name: str, shape: tuple[int, ...], dtype: str) -> Loaded:
    """Return a variable of a version 5 file; its shape is told as MATLAB has it, a row or column becomes one axis."""
    return Loaded(_squeezed(shape), dtype, partial(_load_squeezed, path, name))


def _load_squeezed(path: Path, name: str) -> np.ndarray:
    values = np.asarray(load_variable(path, name))
    return values.reshape(_squeezed(values.shape), order="F")


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (max(shape),) if len(shape) == 2 and 1 in shape else tuple(shape)


def load_variable(path: Path, name: str) -> Any:
    """Return a variable of a version 5 file as scipy builds it.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    with library(path):
        return scipy.io.loadmat(path, variable_names=[name])[name]


def _fields(name: str, struct: np.ndarray) -> dict[str, np.ndarray]:
    """Return the numeric and text fields of a struct, or of an array of structs as columns."""
    fields = {}
    for field in struct.dtype.names or ():
        values = [np.asarray(value) for value in struct[field].ravel()]
        if struct.size == 1 and values[0].dtype.names:
            fields |= {f"{name}/{key}": value for key, value in _fields(field, values[0]).items()}
        elif struct.size == 1 and values[0].dtype.kind in "buif":
            fields[f"{name}/{field}"] = values[0].reshape(_squeezed(values[0].shape), order="F")
        elif values and all(value.size == 1 and value.dtype.kind in "buifU" for value in values):
            fields[f"{name}/{field}"] = np.array([value.ravel()[0] for value in values])
    return fields


def _cells(name: str, cells: np.ndarray) -> dict[str, np.ndarray]:
    values = {f"{name}/{k}": np.asarray(value) for k, value in enumerate(cells.ravel(order="F"))}
    return {
        key: value.reshape(_squeezed(value.shape), order="F")
        for key, value in values.items()
        if value.dtype.kind in "buif"
    }


def _reversed(source: Hdf5Array) -> DiskArray:
    """Return a dataset of a version 7.3 file in MATLAB's order of axes; a row or column becomes one axis."""
    turned = Turned(source)
    if _squeezed(turned.shape) == turned.shape:
        return turned
    along = 1 if turned.shape[0] == 1 else 0
    return Part(turned, tuple(range(size) if axis == along else 0 for axis, size in enumerate(turned.shape)))


def _version_73(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        kind = item.attrs.get("MATLAB_class", b"double")
        kind = kind.decode() if isinstance(kind, bytes) else str(kind)
        empty = "MATLAB_empty" in item.attrs
        if isinstance(item, h5py.Dataset) and kind in DTYPES and item.ndim and not empty and not name.startswith("#"):
            found[name] = _reversed(Hdf5Array(path, item))

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return found
