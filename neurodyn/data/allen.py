"""Sessions of the Allen Brain Observatory: files in NWB 1."""

from __future__ import annotations

from pathlib import Path

import h5py

from neurodyn.core.errors import DataError
from neurodyn.data.arrays import BROKEN, broken
from neurodyn.data.readers import Reader, ReadOptions
from neurodyn.data.recording import Recording
from neurodyn.data.sources import refuse_others


class AllenReader(Reader):
    """Reads a session of the Allen Brain Observatory (Visual Coding, two-photon, NWB 1): traces, stimuli, behaviour, ROIs."""

    suffixes = (".nwb",)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Say whether the file is NWB 1; NWB 2 has a reader of its own."""
        return path.is_file() and path.suffix.lower() in cls.suffixes and nwb1_version(path) is not None

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily.

        Variables are `dff`, `corrected` (demixed - r · neuropil), `demixed`, `neuropil` and `fluorescence` (before
        demixing). A file without demixed traces gives neither `demixed` nor `corrected`, and a warning. The stimulus
        table has all stimuli in order of time; column `stimulus` names the kind, and parameters of other kinds are NaN.
        Where traces and clock differ by a few frames, all end with the shortest, with a warning.

        Raises
        ------
        DataError
            If the file is damaged, is NWB 1 of another origin, or its parts do not belong together.
        """
        from neurodyn.data.allen_nwb import read_session
        from neurodyn.data.allen_session import recording_of

        refuse_others(options, "allen", {"templates"})
        try:
            session = read_session(path)
        except BROKEN as error:
            raise broken(path, error) from error
        return recording_of("allen", session, path, options)


def nwb1_version(path: Path) -> str | None:
    """Return the version a file of NWB 1 states in its dataset `nwb_version`; None for any other file.

    NWB 2 states it in an attribute of the root group.
    """
    try:
        with h5py.File(path, "r") as file:
            stated = file.get("nwb_version")
            text = stated[()] if isinstance(stated, h5py.Dataset) and stated.shape == () else b""
    except (OSError, RuntimeError):
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
    from neurodyn.data.allen_nwb import read_session

    if nwb1_version(path) is None:
        raise DataError(
            f"{path} is no readable session.", "Expected a whole NWB 1 file.", "Fetch it again: neurodyn fetch allen"
        )
    try:
        found = read_session(path).metadata.get("experiment_id")
    except BROKEN as error:
        raise broken(path, error) from error
    if experiment is not None and found != experiment:
        raise DataError(
            f"{path} is not experiment {experiment}.",
            f"It says it is experiment {found}.",
            "Fetch it again: neurodyn fetch allen",
        )
