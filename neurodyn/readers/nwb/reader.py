"""Neurodata Without Borders: reading and writing NWB 2 files (HDF5).

NWB orders a movie's axes (time, x, y), with x the width; neurodyn has (time, y, x). Both directions transpose.
pynwb takes seconds to import, so it is imported when a file is read or written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

import h5py
from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.core.errors import ConfigError
from neurodyn.data.recording import Recording
from neurodyn.readers.read import Reader, ReadOptions
from neurodyn.readers.sources import refuse_others

NWB_OPTIONS = frozenset({"fs", "key", "variables", "axes"})


class Subject(Params):
    """The animal."""

    id: str = Field(default="unknown", description="name of the animal")
    species: str | None = Field(default=None, description="Latin name: Mus musculus")
    sex: Literal["M", "F", "U", "O"] = Field(default="U", description="male, female, unknown, other")
    age: str | None = Field(default=None, description="age at the session, ISO 8601: P90D is 90 days")
    genotype: str | None = Field(default=None, description="genotype")
    strain: str | None = Field(default=None, description="strain")


class NwbFacts(Params):
    """What an archive asks of a session and a recording does not know."""

    session_start: datetime | None = Field(default=None, description="start of the session, 2026-05-01T14:30+02:00")
    description: str | None = Field(default=None, description="what was done in the session")
    experiment: str | None = Field(default=None, description="what the experiment is about")
    experimenter: tuple[str, ...] = Field(default=(), description="experimenters, as 'Last, First'")
    institution: str | None = Field(default=None, description="institution")
    lab: str | None = Field(default=None, description="laboratory")
    keywords: tuple[str, ...] = Field(default=(), description="keywords")
    subject: Subject | None = Field(default=None, description="the animal")
    location: str | None = Field(default=None, description="area that was imaged, of the Allen CCF for mice: VISp")
    device: str | None = Field(default=None, description="microscope")
    photons: Literal[1, 2] | None = Field(
        default=None,
        description="kind of microscope (default: 1 for movies with a reference channel or a brain mask, else 2)",
    )
    suite2p: bool = Field(
        default=False,
        description="also an empty series with the movie's rate, which suite2p's own reader asks for (nwbinspector minds)",
    )
    excitation_nm: float | None = Field(default=None, gt=0, description="wavelength of excitation, nm")
    emission_nm: float | None = Field(default=None, gt=0, description="wavelength of emission, nm")


class NwbReader(Reader):
    """Reads movies, ROI responses, time intervals and behaviour of an NWB file."""

    suffixes = (".nwb",)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Say whether the name is that of an NWB file; the Allen Institute's sessions have a reader of their own."""
        from neurodyn.readers.allen.reader import AllenReader

        return path.is_file() and path.suffix.lower() == ".nwb" and not AllenReader.recognises(path)

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily; files that keep movies as (time, y, x) against the standard are read with axes: time,y,x."""
        from neurodyn.readers.nwb.reading import read_nwb

        refuse_others(options, "nwb", NWB_OPTIONS)
        return read_nwb(path, options)


@contextmanager
def streaming(file: h5py.File, path: Path, options: ReadOptions) -> Iterator[Recording]:
    """Read an NWB 2 file that is open already, by the reader it is for; lazily, so within the context.

    Parameters
    ----------
    path
        What the file is called.

    Raises
    ------
    DataError
        As the readers.
    ConfigError
        If something is asked for that lies beside the file.
    """
    if beside := sorted({"stimulus", "behavior", "frame_times"} & options.model_dump(exclude_defaults=True).keys()):
        raise ConfigError(
            f"source.{', source.'.join(beside)}: nothing lies beside a streamed file.",
            "The options are for files of this machine.",
            "Fetch it without --stream.",
        )
    from neurodyn.data.damage import library
    from neurodyn.readers.allen.reader import ALLEN_OPTIONS, is_nwb2_session, read_nwb2_session

    if is_nwb2_session(file):
        refuse_others(options, "allen", ALLEN_OPTIONS)
        with library(path):
            recording = read_nwb2_session(file, path, options)
        yield recording
        return
    from neurodyn.readers.nwb.reading import opened, read_nwb

    refuse_others(options, "nwb", NWB_OPTIONS)
    with opened(path, file) as nwbfile:
        yield read_nwb(path, options, nwbfile)


def write_nwb(recording: Recording, path: Path, facts: NwbFacts | None = None) -> Path:
    """Write a recording as an NWB file, streaming and atomically.

    Other programs find movies, traces, ROIs, events and behaviour in NWB's own places. What NWB has no place for
    (ground truth, what preprocessing saw, components of a decomposition) lies in its scratch space, so that reading the
    file gives the very same recording.

    Parameters
    ----------
    facts
        What the recording does not know; what it does is filled in.

    Returns
    -------
    Path
        The file.
    """
    from neurodyn.readers.nwb.writing import write

    return write(recording, path, facts or NwbFacts())


def schema_errors(path: Path) -> list[str]:
    """Return what in an NWB 2 file breaks the schema of NWB."""
    from pynwb import validate

    return [str(error) for error in validate(path=path)]
