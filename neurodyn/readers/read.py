"""The registry of readers, which of them a source is for, and reading it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.core.registry import Registry
from neurodyn.data.recording import Recording
from neurodyn.readers.base import Reader
from neurodyn.readers.behavior import with_behavior
from neurodyn.readers.containers.hdf5_heaps import check_heaps
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.reshape import reshaped
from neurodyn.readers.signals import question_rate, read_frame_times
from neurodyn.readers.sources import wanted
from neurodyn.readers.stimulus import with_stimulus, with_times

OWN = {
    "recording": "neurodyn.readers.zarr:ZarrReader",
    "tiff": "neurodyn.readers.tiff.reader:TiffReader",
    "hdf5": "neurodyn.readers.hdf5:Hdf5Reader",
    "numpy": "neurodyn.readers.npy:NumpyReader",
    "suite2p": "neurodyn.readers.suite2p.reader:Suite2pReader",
    "nwb": "neurodyn.readers.nwb.reader:NwbReader",
    "allen": "neurodyn.readers.allen.reader:AllenReader",
    "cascade": "neurodyn.readers.cascade:CascadeReader",
    "matlab": "neurodyn.readers.matlab:MatlabReader",
    "zarr": "neurodyn.readers.zarr_arrays:ZarrArraysReader",
    "wfield": "neurodyn.readers.wfield:WfieldReader",
    "wfield-results": "neurodyn.readers.wfield:WfieldResultsReader",
    "caiman": "neurodyn.readers.caiman:CaimanReader",
    "sbx": "neurodyn.readers.sbx:SbxReader",
    "nd2": "neurodyn.readers.nikon:NikonReader",
    "video": "neurodyn.readers.video:VideoReader",
}
READERS = Registry("reader", OWN, "neurodyn.readers")

# Who is asked of a file by its suffix, and of a folder: first those that know most of what is in it. No reader knows
# another, and none is imported in vain.
OF_FILES = {
    **dict.fromkeys((".tif", ".tiff", ".btf"), ("tiff",)),
    **dict.fromkeys((".h5", ".hdf5"), ("caiman", "hdf5")),
    **dict.fromkeys((".hdf", ".nc", ".nc4"), ("hdf5",)),
    **dict.fromkeys((".npy", ".npz"), ("numpy",)),
    **dict.fromkeys((".dat", ".bin"), ("wfield",)),
    **dict.fromkeys((".avi", ".mp4", ".m4v", ".mov"), ("video",)),
    ".mat": ("cascade", "suite2p", "matlab"),
    ".nd2": ("nd2",),
    ".nwb": ("allen", "nwb"),
    ".sbx": ("sbx",),
}
OF_FOLDERS = ("zarr", "recording", "suite2p", "tiff", "wfield-results")


def find_reader(path: Path, name: str | None = None) -> tuple[str, type[Reader]]:
    """Return the reader of that name, or the first that recognises the source, and its name.

    Raises
    ------
    DataError
        If the source is missing or no reader recognises it, or its library would not come back from reading it.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist.", "Expected a recording, a movie or a folder.", "Check the path.")
    if path.is_file():
        check_heaps(path)
    if name is not None:
        return name, READERS.get(name)
    for known in candidates(path):
        reader = READERS.get(known)
        if reader.recognises(path):
            return known, reader
    raise DataError(
        f"{path} is in no format neurodyn reads.",
        f"Readers: {', '.join(READERS.names())}.",
        "Name the reader if you know it: --reader NAME",
    )


def candidates(path: Path) -> Iterator[str]:
    """Name the readers that a source may be for, those of other packages first: they were installed for it."""
    yield from (name for name in READERS.names() if name not in OWN)
    yield from OF_FOLDERS if path.is_dir() else OF_FILES.get(path.suffix.lower(), ())


def read(path: Path, options: ReadOptions | None = None, reader: str | None = None) -> Recording:
    """Read any source as a Recording.

    Parameters
    ----------
    reader
        Name of the reader; by default the first that recognises the source.

    Raises
    ------
    DataError
        If the source is missing or no reader recognises it.
    """
    options = options or ReadOptions()
    _, found = find_reader(path, reader)
    if options.frame_times is None and options.stimulus is None and options.behavior is None:
        return reshaped(path, options, found)
    return _timed(path, options, found)


def _timed(path: Path, options: ReadOptions, reader: type[Reader]) -> Recording:
    """Read, then put the recording on the camera's clock and bring in the stimulus log and the behaviour."""
    if options.frame_times is None:
        recording = reshaped(path, options, reader)
    else:
        times, place = read_frame_times(path, options.frame_times), next(iter(wanted(options).values()))
        rate = options.fs or float(1 / np.median(np.diff(times))) / place.every
        if options.fs is None and options.frame_times.fs is None and options.frame_times.unit is None:
            given = options.frame_times
            question_rate(
                given.file, rate, "source.frame_times.unit",
                lambda unit: {"frame_times": given.model_copy(update={"unit": unit})},
            )  # fmt: skip
        recording = reshaped(path, options.model_copy(update={"fs": rate}), reader)
        recording = with_times(recording, times, place.first, place.every, options.fs)
    if options.stimulus is not None:
        recording = with_stimulus(recording, path, options.stimulus)
    return recording if options.behavior is None else with_behavior(recording, path, options.behavior)
