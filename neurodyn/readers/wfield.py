"""Widefield recordings of wfield: raw frames in flat binaries named by their shape, and folders of its SVD results."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import xarray as xr

from neurodyn.core.errors import DataError
from neurodyn.data.damage import library, reason
from neurodyn.data.lazy import lazy
from neurodyn.data.recording import Recording
from neurodyn.readers.base import Reader
from neurodyn.readers.lazy_views import Part, Turned
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.sources import View, build, refuse_others, regular_times
from neurodyn.readers.stacks import OPTIONS, of_array, read_stack

NAME = re.compile(r"_(\d+)_(\d+)_(\d+)_([a-z]+\d+)\.(?:dat|bin)$", re.IGNORECASE)


class WfieldReader(Reader):
    """Reads wfield's flat binaries, whose names end in _CHANNELS_HEIGHT_WIDTH_DTYPE.dat; frames of channels alternate."""

    suffixes = (".dat", ".bin")

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Say whether the file's name tells its shape."""
        return path.is_file() and NAME.search(path.name) is not None

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily, through a memory map.

        Raises
        ------
        DataError
            If the name does not tell the shape, or the file does not hold whole frames of it.
        """
        refuse_others(options, "wfield", OPTIONS)
        shape, dtype = _layout(path)
        frame, size = int(np.prod(shape)) * dtype.itemsize, path.stat().st_size
        if size % frame or not size:
            raise DataError(
                f"{path} is truncated, or its name is wrong.",
                f"Found {size} bytes; one frame of {shape} {dtype} takes {frame}.",
                "Copy the file again, or mend its name: NAME_CHANNELS_HEIGHT_WIDTH_DTYPE.dat",
            )
        frames = np.memmap(path, dtype, "r", shape=(size // frame, *shape))
        return read_stack("wfield", path, of_array(frames, ("time", "channel", "y", "x")), options)


def _layout(path: Path) -> tuple[tuple[int, int, int], np.dtype]:
    found = NAME.search(path.name)
    try:
        dtype = np.dtype(found[4].lower()) if found else None
    except TypeError:
        dtype = None
    shape = tuple(int(n) for n in found.groups()[:3]) if found else ()
    if dtype is None or len(shape) != 3 or 0 in shape:
        raise DataError(
            f"{path}: the name does not tell the shape.",
            f"Found {path.name}; expected NAME_CHANNELS_HEIGHT_WIDTH_DTYPE.dat.",
            "Rename it, for example session_2_540_640_uint16.dat",
        )
    return (shape[0], shape[1], shape[2]), dtype


class WfieldResultsReader(Reader):
    """Reads a folder of wfield's results: spatial components U.npy and their time courses, corrected where they are.

    The movie is U · V: `components/svd` has dims (component, y, x), `neural/svd` (time, component). SVTcorr.npy is
    already corrected for hemodynamics; SVT.npy has one column per frame and channel, which alternate.
    """

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Say whether the folder holds U.npy and time courses."""
        courses = ("SVTcorr.npy", "SVT.npy")
        return path.is_dir() and (path / "U.npy").is_file() and any((path / name).is_file() for name in courses)

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily; with channel names SVT.npy is read, otherwise SVTcorr.npy where it is.

        Raises
        ------
        DataError
            If files are missing or damaged, or do not belong together.
        """
        refuse_others(options, "wfield-results", {"fs", "channels"})
        corrected = (path / "SVTcorr.npy").is_file() and not options.channels
        u, v = _array(path / "U.npy"), _array(path / ("SVTcorr.npy" if corrected else "SVT.npy"))
        count = max(1, len(options.channels))
        if u.ndim != 3 or v.ndim != 2 or u.shape[2] != v.shape[0] or v.shape[1] % count:
            raise DataError(
                f"{path}: spatial components and time courses do not belong together.",
                f"Found U {u.shape} and {'SVTcorr' if corrected else 'SVT'} {v.shape} for {count} channel(s).",
                "Expected U (y, x, component), SVT (component, time); name the channels: --channels a,b",
            )
        names = [f"svd_{name}" for name in options.channels] or ["svd"]
        courses = {name: _course(v, k, count) for k, name in enumerate(names)}
        time = regular_times(path, v.shape[1] // count, options.fs)
        spatial = View(u, ("y", "x", "time"))  # one picture per component, in the place of time
        components = xr.Dataset({"svd": lazy(("component", "y", "x"), spatial)})
        mean = path / "frames_average.npy"
        if mean.is_file():
            components["mean"] = (("channel", "y", "x"), np.asarray(_array(mean)).reshape(-1, *u.shape[:2]))
        units = dict.fromkeys(names, "ΔF/F of components")
        return build(
            "wfield-results", path, courses, time, options.model_copy(update={"units": units | options.units}),
            components=components,
        )  # fmt: skip


def _course(v: np.ndarray, first: int, every: int) -> xr.Variable:
    mine = Part(v, (range(v.shape[0]), range(first, v.shape[1], every)))
    return lazy(("time", "component"), Turned(mine))


def _array(path: Path) -> np.ndarray:
    with library(path, _damaged):
        return np.load(path, mmap_mode="r", allow_pickle=False)


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} cannot be read.", f"{reason(error)}.", "Copy it again, or run wfield again.")
