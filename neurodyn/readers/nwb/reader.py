"""Neurodata Without Borders: reading and writing NWB 2 files (HDF5).

NWB orders a movie's axes (time, x, y), with x the width; neurodyn has (time, y, x). Both directions transpose.
pynwb takes seconds to import, so it is imported when a file is read or written.
"""

from __future__ import annotations

from pathlib import Path

from neurodyn.data.recording import Recording
from neurodyn.readers.base import Reader
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.sources import refuse_others

NWB_OPTIONS = frozenset({"fs", "key", "variables", "axes"})


class NwbReader(Reader):
    """Reads movies, ROI responses, time intervals and behaviour of an NWB file."""

    suffixes = (".nwb",)

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily; files that keep movies as (time, y, x) against the standard are read with axes: time,y,x."""
        from neurodyn.readers.nwb.reading import read_nwb

        refuse_others(options, "nwb", NWB_OPTIONS)
        return read_nwb(path, options)
