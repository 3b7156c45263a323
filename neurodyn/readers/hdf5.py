"""HDF5 files of plain arrays, whose axes and rate the user names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurodyn.readers.arrays import ArraysReader
from neurodyn.readers.containers.hdf5 import hdf5_arrays


class Hdf5Reader(ArraysReader):
    """Reads datasets of an HDF5 file; axes, rate and trials are named in the options."""

    name = "hdf5"
    suffixes = (".h5", ".hdf5", ".hdf", ".nc", ".nc4")

    @classmethod
    def arrays(cls, path: Path) -> Mapping[str, Any]:
        """Return every array by its name."""
        return hdf5_arrays(path)
