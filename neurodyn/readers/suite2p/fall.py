"""Fall.mat: the arrays of its folder, ROI by time, with settings and ROIs as structs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io

from neurodyn.core.errors import DataError
from neurodyn.data.damage import broken, library
from neurodyn.data.lazy import DiskArray
from neurodyn.data.recording import Recording
from neurodyn.readers.containers.matlab import load_variable, mat_arrays
from neurodyn.readers.containers.matlab_check import check_structure
from neurodyn.readers.matlab import MatlabReader
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.sources import refuse_others
from neurodyn.readers.suite2p.output import PICTURES, TRACES, Output, of_output

SETTINGS = ("fs", "Ly", "Lx", "yrange", "xrange", *PICTURES.values())


def is_fall(path: Path) -> bool:
    """Say whether a MATLAB file holds suite2p's traces: F, and beside it Fneu or iscell."""
    if path.suffix.lower() != ".mat" or not path.is_file():
        return False
    try:
        names = set(_names(path))
    except DataError:
        return False
    return "F" in names and bool({"Fneu", "iscell"} & names)


def _names(path: Path) -> list[str]:
    if h5py.is_hdf5(path):
        with library(path), h5py.File(path, "r") as file:
            return list(file)
    check_structure(path)
    with library(path):
        return [name for name, _, _ in scipy.io.whosmat(path)]


def read_fall(path: Path, options: ReadOptions) -> Recording:
    """Read Fall.mat; an array named by the options is read as of any other MATLAB file.

    Raises
    ------
    DataError
        If the file is damaged, its parts do not belong together, or it does not say its rate.
    """
    if options.key or options.variables:
        return MatlabReader.read(path, options)
    refuse_others(options, "suite2p", {"fs", "cells_only"})
    arrays = mat_arrays(path, expand=True)
    traces = {name: _two_axes(arrays[key]) for name, key in TRACES.items() if key in arrays}
    iscell = np.asarray(arrays["iscell"][:]) if "iscell" in arrays and np.prod(arrays["iscell"].shape) else None
    count = traces["fluorescence"].shape[0]
    if iscell is not None and iscell.ndim == 1 and iscell.size == 2 and count == 1:
        iscell = iscell[None]  # MATLAB's row of one ROI
    said = {key: np.asarray(arrays[f"ops/{key}"]) for key in SETTINGS if f"ops/{key}" in arrays}
    return of_output(path, Output(path, traces, iscell, said, _stat(path)), options, path.stem)


class _Row(DiskArray):
    """The only trace of a file, shape (time,), as (1, time)."""

    def __init__(self, source: Any) -> None:
        super().__init__((1, *source.shape), source.dtype)
        self.source = source

    def _block(self, key: tuple[slice, ...]) -> np.ndarray:
        return np.asarray(self.source[key[1]])[None]


def _two_axes(array: Any) -> Any:
    return _Row(array) if len(array.shape) == 1 else array


def _stat(path: Path) -> list[Mapping[str, Any]] | None:
    """Return the ROIs; version 7.3 keeps them as references, which are not followed."""
    if h5py.is_hdf5(path) or "stat" not in _names(path):
        return None
    cells = load_variable(path, "stat").ravel()
    structs = [np.ravel(cell) for cell in cells]
    if not all(struct.size and struct.dtype.names for struct in structs):
        raise broken(path, ValueError("stat is no list of structs"))
    return [{name: struct[0][name] for name in struct.dtype.names or ()} for struct in structs]
