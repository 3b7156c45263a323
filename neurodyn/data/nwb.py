"""Neurodata Without Borders: reading and writing NWB 2 files (HDF5).

NWB orders a movie's axes (time, x, y), with x the width; neurodyn has (time, y, x). Both directions transpose.
pynwb takes seconds to import, so it is imported when a file is read or written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from neurodyn.data.readers import Reader, ReadOptions
from neurodyn.data.recording import Recording
from neurodyn.data.sources import refuse_others


class NwbReader(Reader):
    """Reads movies, ROI responses, time intervals and behaviour of an NWB file."""

    suffixes = (".nwb",)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Say whether the name is that of an NWB file; the Allen Institute's sessions have a reader of their own."""
        from neurodyn.data.allen import AllenReader

        return path.is_file() and path.suffix.lower() == ".nwb" and not AllenReader.recognises(path)

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily; files that keep movies as (time, y, x) against the standard are read with axes: time,y,x."""
        from neurodyn.data.nwb_reading import read_nwb

        refuse_others(options, "nwb", {"fs", "variables", "axes"})
        return read_nwb(path, options)


def write_nwb(recording: Recording, path: Path, photons: Literal[1, 2] | None = None) -> Path:
    """Write a recording as an NWB file, streaming and atomically; ground truth has no place there and is left out.

    Parameters
    ----------
    photons
        1 or 2: kind of microscope of a movie; by default 1 for a recording with a reference channel or a brain mask.

    Returns
    -------
    Path
        The file.
    """
    from neurodyn.data.nwb_writing import write

    return write(recording, path, photons)
