"""Scanbox movies: raw .sbx frames described by the .mat file of the same name."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from neurodyn.core.errors import DataError
from neurodyn.data.damage import library, reason
from neurodyn.data.recording import Recording
from neurodyn.readers.base import Reader
from neurodyn.readers.containers.matlab_check import check_structure
from neurodyn.readers.lazy_views import Computed, Part
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.questions import Need, QuestionError
from neurodyn.readers.sources import refuse_others
from neurodyn.readers.stacks import OPTIONS, Stack, of_array, read_stack

WHITE = np.uint16(65535)
CHANNELS = {1: 2, 2: 1, 3: 1}  # Scanbox: 1 both detectors, 2 green alone, 3 red alone


class SbxReader(Reader):
    """Reads a Scanbox movie (.sbx with .mat beside it); Scanbox stores light inverted, which is undone."""

    suffixes = (".sbx",)

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily, through a memory map.

        Raises
        ------
        DataError
            If the description is missing or damaged, or does not fit the movie.
        """
        refuse_others(options, "sbx", OPTIONS | {"incomplete"})
        info = _info(path.with_suffix(".mat"))
        lines, width, channels, rate = _geometry(path, info)
        frame, size = lines * width * channels * 2, path.stat().st_size
        loss = _rest(path, size, frame, f"{channels} x {lines} x {width}", options)
        raw = np.memmap(path, np.dtype("<u2"), "r", shape=(size // frame, lines, width, channels))
        stack = _stack(Computed(partial(np.subtract, WHITE), raw, dtype=np.uint16), _planes(info), rate)
        return read_stack("sbx", path, replace(stack, layout="; ".join(loss), losses=loss), options)


def _rest(path: Path, size: int, frame: int, shape: str, options: ReadOptions) -> tuple[str, ...]:
    """Return words for the part of a frame at the end of a movie that was cut off; none where all are whole.

    Raises
    ------
    DataError
        If there is no whole frame, or nobody said that the last one is not.
    """
    frames, rest = divmod(size, frame)
    found = f"{size} bytes; a frame of {shape} takes {frame}"
    if not frames or (rest and not options.incomplete):
        what, fix = f"{path} is truncated, or its .mat file is another one's.", "Copy both files again"
        if not frames:
            raise DataError(what, f"Found {found}.", f"{fix}.")
        raise QuestionError(
            what,
            f"Found {found}: {frames} are whole.",
            f"{fix}, or read the whole frames that are there: --set source.incomplete=true",
            need=Need("--set source.incomplete=true", f"{frames} frames are whole; the file has {found}"),
            guess={"incomplete": True},
        )
    return (f"{frames} whole frames are here, the next is cut off after {rest} of {frame} bytes",) if rest else ()


def _info(path: Path) -> dict[str, Any]:
    """Return the fields of Scanbox's `info` struct, scalars as numbers."""
    if not path.is_file():
        raise _undescribed(path, FileNotFoundError("there is no such file"))
    check_structure(path)
    with library(path, _undescribed):
        loaded = scipy.io.loadmat(path, variable_names=["info"], squeeze_me=True, struct_as_record=True).get("info")
    if loaded is None or not loaded.dtype.names or loaded.shape != ():
        raise _undescribed(path, ValueError("it holds no struct 'info'"))
    return {name: loaded[name].item() for name in loaded.dtype.names}


def _undescribed(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} does not describe a Scanbox movie.",
        f"{type(error).__name__}: {reason(error)}.",
        "Copy Scanbox's .mat file, of the movie's name, beside the .sbx file.",
    )


def _geometry(path: Path, info: dict[str, Any]) -> tuple[int, int, int, float | None]:
    """Return lines, pixels per line, channels, and frames per second."""
    try:
        width = int(np.ravel(info["sz"])[1])
        lines = int(info.get("recordsPerBuffer") or np.ravel(info["sz"])[0])
        both_ways = "scanmode" in info and int(info["scanmode"]) == 0
        channels = int(info["chan"]["nchan"]) if "chan" in info else CHANNELS[int(info["channels"])]
        resonant = float(info.get("resfreq", 0))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(
            f"{path.with_suffix('.mat')} does not give the movie's shape.",
            f"{type(error).__name__} for {error}; found {', '.join(info)}.",
            "Expected sz, recordsPerBuffer and channels, as Scanbox writes them.",
        ) from error
    rate = resonant / lines if resonant else None  # one line per cycle of the mirror, two when both ways are used
    return lines * (1 + both_ways), width, channels, rate


def _planes(info: dict[str, Any]) -> int:
    waves = np.size(info.get("otwave", ()))
    return waves if waves > 1 and int(info.get("volscan", 0)) else 1


def _stack(frames: Computed, planes: int, rate: float | None) -> Stack:
    whole = of_array(frames, ("time", "y", "x", "channel"), rate)
    if planes == 1:
        return whole

    def of_plane(channel: int, plane: int) -> Any:
        movie = whole.frames(channel, 0)
        count = movie.shape[0] // planes
        times = range(plane, plane + count * planes, planes)
        return Part(movie, (times, *(range(size) for size in movie.shape[1:])))

    return Stack(of_plane, whole.channels, planes, rate / planes if rate else None)
