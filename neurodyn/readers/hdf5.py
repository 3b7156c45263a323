"""HDF5 files of plain arrays, whose axes and rate the user names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurodyn.data.recording import Recording
from neurodyn.readers.arrays import OPTIONS, read_arrays
from neurodyn.readers.base import Reader
from neurodyn.readers.containers.hdf5 import hdf5_arrays
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.sources import refuse_others


class Hdf5Reader(Reader):
    """Reads datasets of an HDF5 file; axes, rate and trials are named in the options."""

    suffixes = (".h5", ".hdf5", ".hdf", ".nc", ".nc4")

    @classmethod
    def arrays(cls, path: Path) -> Mapping[str, Any]:
        """Return every array by its name."""
        return hdf5_arrays(path)

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily."""
        refuse_others(options, "hdf5", OPTIONS)
        return read_arrays("hdf5", path, cls.arrays(path), options)
