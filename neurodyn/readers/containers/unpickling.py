"""Pickled metadata, read by an unpickler that builds plain data and refuses everything else."""

from __future__ import annotations

import collections
import datetime
import math
import pickle
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.data.damage import library, load_array, reason

NUMPY = {
    (module.format(core), name)
    for core in ("core", "_core")
    for module, name in (
        ("numpy.{}.multiarray", "_reconstruct"),
        ("numpy.{}.multiarray", "scalar"),
        ("numpy.{}.numeric", "_frombuffer"),
    )
} | {("numpy", "ndarray"), ("numpy", "dtype")}
BUILTINS = frozenset({"complex", "frozenset", "set", "slice"})
PATHS = {"PosixPath": PurePosixPath, "PurePosixPath": PurePosixPath} | dict.fromkeys(
    ("WindowsPath", "PureWindowsPath"), PureWindowsPath
)
PLAIN = {
    ("datetime", kind.__name__): kind
    for kind in (datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone)
} | {("collections", "OrderedDict"): collections.OrderedDict}


class PlainUnpickler(pickle.Unpickler):
    """Unpickles numbers, strings, dates, containers, paths and numpy arrays; refuses every other class and function."""

    def find_class(self, module: str, name: str) -> Any:
        """Return an allowed class.

        Raises
        ------
        pickle.UnpicklingError
            For anything that is not plain data.
        """
        if module in ("builtins", "__builtin__") and name in BUILTINS:
            return super().find_class("builtins", name)
        if (module, name) in NUMPY:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        if module.startswith("pathlib") and name in PATHS:
            return PATHS[name]
        if (module, name) in PLAIN:
            return PLAIN[(module, name)]
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not plain data")


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """Stand in for `_codecs.encode`, by which old pickles spell bytes."""
    return text.encode("latin1")


def load_objects(path: Path) -> Any:
    """Read an object array (.npy) without executing what a pickle may ask for.

    Raises
    ------
    DataError
        If the file holds anything but plain data.
    """
    with library(path, _refused), path.open("rb") as file:
        return _load_objects(file)


def _refused(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} is refused.", f"{type(error).__name__}: {reason(error)}.", "Read without pickle and give --fs."
    )


def _load_objects(file: BinaryIO) -> Any:
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    if dtype.kind != "O":
        return load_array(Path(file.name))
    try:
        loaded = PlainUnpickler(file, encoding="latin1").load()
    except Exception as error:  # a hostile pickle may raise anything at all
        raise _refused(Path(file.name), error) from error
    values = np.asarray(loaded, dtype=object)
    if values.size != math.prod(shape):
        raise _refused(Path(file.name), ValueError(f"{values.size} values for the shape {shape}"))
    return values.reshape(shape)
