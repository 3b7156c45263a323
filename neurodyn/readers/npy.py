"""Arrays that numpy saved, whose axes and rate the user names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurodyn.data.recording import Recording
from neurodyn.readers.arrays import OPTIONS, read_arrays
from neurodyn.readers.base import Reader
from neurodyn.readers.containers.npy import numpy_arrays
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.sources import refuse_others


class NumpyReader(Reader):
    """Reads a .npy array (memory-mapped) or the arrays of a .npz file; object arrays are refused."""

    suffixes = (".npy", ".npz")

    @classmethod
    def arrays(cls, path: Path) -> Mapping[str, Any]:
        """Return every array by its name."""
        return numpy_arrays(path)

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily."""
        refuse_others(options, "numpy", OPTIONS)
        return read_arrays("numpy", path, cls.arrays(path), options)
