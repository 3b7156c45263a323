"""MATLAB files of plain arrays, whose axes and rate the user names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurodyn.data.recording import Recording
from neurodyn.readers.arrays import OPTIONS, read_arrays
from neurodyn.readers.base import Reader
from neurodyn.readers.containers.matlab import mat_arrays
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.sources import refuse_others


class MatlabReader(Reader):
    """Reads arrays of a MATLAB file; axes, rate and trials are named in the options, fields of structs as STRUCT/FIELD."""

    suffixes = (".mat",)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Say whether the name is that of a MATLAB file, and not of the description of a Scanbox movie."""
        return path.is_file() and path.suffix.lower() in cls.suffixes and not path.with_suffix(".sbx").is_file()

    @classmethod
    def arrays(cls, path: Path) -> Mapping[str, Any]:
        """Return every array by its name, fields of structs among them."""
        return mat_arrays(path, expand=True)

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily; version 5 files cannot be sliced, so that a variable is loaded when first asked for."""
        refuse_others(options, "matlab", OPTIONS)
        return read_arrays("matlab", path, mat_arrays(path, expand=_names_a_field(options)), options)


def _names_a_field(options: ReadOptions) -> bool:
    keys = [options.key, options.times, *options.trial_columns.values()]
    return any("/" in (key or "") for key in (*keys, *(place.key for place in options.variables.values())))
