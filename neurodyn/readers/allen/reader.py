"""Sessions of the Allen Brain Observatory: files in NWB 1, and in NWB 2 as DANDI has them."""

from __future__ import annotations

from pathlib import Path

import h5py

from neurodyn.core.errors import DataError
from neurodyn.data.damage import library
from neurodyn.data.recording import Recording
from neurodyn.readers.base import Reader
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.sources import refuse_others

ALLEN_OPTIONS = frozenset({"templates", "skip"})


class AllenReader(Reader):
    """Reads a session of the Allen Brain Observatory: Visual Coding, two-photon (NWB 1 and 2), or Visual Behavior (NWB 2)."""

    suffixes = (".nwb",)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Say whether the file is NWB 1, or NWB 2 in one of the Institute's layouts; other NWB 2 has another reader."""
        known = path.is_file() and path.suffix.lower() in cls.suffixes
        return known and (nwb1_version(path) is not None or is_nwb2_session(path))

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily.

        Variables are `dff`, `corrected` (demixed - r · neuropil), `demixed`, `neuropil`, `fluorescence` (before
        demixing) and `spikes` (detected events), as far as the file has them; a lack of demixed traces is warned of. The
        stimulus table has all stimuli in order of time; column `stimulus` names the kind, and parameters of other kinds
        are NaN. Where traces and clock differ by a few frames, all end with the shortest, with a warning.

        Raises
        ------
        DataError
            If the file is damaged, is NWB 1 of another origin, its parts do not belong together, or a stimulus's table
            is not whole and is not skipped.
        """
        from neurodyn.readers.allen.nwb1 import read_session
        from neurodyn.readers.allen.session import recording_of

        refuse_others(options, "allen", ALLEN_OPTIONS)
        with library(path):
            if nwb1_version(path) is not None:
                return recording_of("allen", read_session(path), path, options)
            with h5py.File(path, "r") as file:
                return read_nwb2_session(file, path, options)


def is_nwb2_session(source: Path | h5py.File) -> bool:
    """Say whether a file, or an open one, is NWB 2 in one of the layouts of the Institute's sessions."""
    from neurodyn.readers.allen.behavior import MARKS as BEHAVIOR
    from neurodyn.readers.allen.nwb2 import MARKS as CODING

    if isinstance(source, h5py.File):
        return any(all(mark in source for mark in marks) for marks in (CODING, BEHAVIOR))
    try:
        with library(source), h5py.File(source, "r") as file:
            return is_nwb2_session(file)
    except DataError:
        return False


def read_nwb2_session(file: h5py.File, path: Path, options: ReadOptions) -> Recording:
    """Build the Recording of a session in an open NWB 2 file.

    Parameters
    ----------
    path
        What the file is called, and where it lies unless it is streamed.

    Raises
    ------
    DataError
        As `AllenReader.read`.
    """
    from neurodyn.readers.allen.behavior import read_behavior
    from neurodyn.readers.allen.nwb2 import MARKS as CODING
    from neurodyn.readers.allen.nwb2 import read_coding
    from neurodyn.readers.allen.session import recording_of

    coding = all(mark in file for mark in CODING)
    session = read_coding(file, path, options.templates) if coding else read_behavior(file, path)
    return recording_of("allen", session, path, options)


def nwb1_version(path: Path) -> str | None:
    """Return the version a file of NWB 1 states in its dataset `nwb_version`; None for any other file.

    NWB 2 states it in an attribute of the root group.
    """
    try:
        with library(path), h5py.File(path, "r") as file:
            stated = file.get("nwb_version")
            text = stated[()] if isinstance(stated, h5py.Dataset) and stated.shape == () else b""
    except DataError:
        return None
    version = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    return version if version.upper().startswith(("NWB-1", "NWB-0", "1.", "0.")) else None


def check_session(path: Path, experiment: int | None = None) -> None:
    """Check that a file is a readable session with its essential parts.

    Parameters
    ----------
    experiment
        The experiment it should be; None for any.

    Raises
    ------
    DataError
        If it is damaged, lacks a part, or is another experiment's.
    """
    from neurodyn.readers.allen.nwb1 import read_session

    if nwb1_version(path) is None:
        raise DataError(
            f"{path} is no readable session.", "Expected a whole NWB 1 file.", "Fetch it again: neurodyn fetch allen"
        )
    with library(path):
        found = read_session(path).metadata.get("experiment_id")
    if experiment is not None and found != experiment:
        raise DataError(
            f"{path} is not experiment {experiment}.",
            f"It says it is experiment {found}.",
            "Fetch it again: neurodyn fetch allen",
        )
