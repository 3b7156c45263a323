"""NWB files that are open already, as over a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from neurodyn.core.errors import ConfigError
from neurodyn.data.damage import library
from neurodyn.data.recording import Recording
from neurodyn.readers.allen.reader import ALLEN_OPTIONS, is_nwb2_session, read_nwb2_session
from neurodyn.readers.nwb.reader import NWB_OPTIONS
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.sources import refuse_others


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
