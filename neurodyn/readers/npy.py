"""Arrays that numpy saved, whose axes and rate the user names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurodyn.readers.arrays import ArraysReader
from neurodyn.readers.containers.npy import numpy_arrays


class NumpyReader(ArraysReader):
    """Reads a .npy array (memory-mapped) or the arrays of a .npz file; object arrays are refused."""

    name = "numpy"
    suffixes = (".npy", ".npz")

    @classmethod
    def arrays(cls, path: Path) -> Mapping[str, Any]:
        """Return every array by its name."""
        return numpy_arrays(path)
