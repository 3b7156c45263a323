"""Nikon movies (.nd2). The library nd2 lives here."""

from __future__ import annotations

import math
import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.core.extras import require
from neurodyn.data.damage import library
from neurodyn.data.recording import Recording
from neurodyn.readers.base import Reader
from neurodyn.readers.lazy_views import Decoded, Part
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.sources import refuse_others
from neurodyn.readers.stacks import OPTIONS, Stack, of_array, read_stack

MODERN, LEGACY, MAP = b"\xda\xce\xbe\x0a", b"\x00\x00\x00\x0c", b"ND2 CHUNK MAP SIGNATURE 0000001!"
AXES = {"T": "time", "Z": "plane", "C": "channel", "Y": "y", "X": "x"}


class NikonReader(Reader):
    """Reads an ND2 movie over time, of one position; channels and planes as the file says."""

    suffixes = (".nd2",)

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily.

        Raises
        ------
        DataError
            If the file is damaged, or is not one movie.
        ConfigError
            If the library nd2 is not installed.
        """
        refuse_others(options, "nd2", OPTIONS)
        return read_stack("nd2", path, _stack(path, Nd2Frames(path)), options)


class Nd2Frames(Decoded):
    """Frames of an ND2 file in the order they were taken, shape (frame, channel, y, x), read when asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = _opened(path)
        weakref.finalize(self, self.file.close)
        sizes = dict(self.file.sizes)
        if set(sizes) - AXES.keys() or not {"T", "Y", "X"} <= set(sizes):
            raise DataError(
                f"{path} is not one movie over time.",
                f"Found axes {', '.join(f'{axis} {size}' for axis, size in sizes.items())}; expected T, Y, X, perhaps C and Z.",
                "Export one position as a grey time series.",
            )
        self.loops = {axis: size for axis, size in sizes.items() if axis in "TZ"}
        taken = int(self.file.attributes.sequenceCount)
        super().__init__((taken, sizes.get("C", 1), sizes["Y"], sizes["X"]), self.file.dtype)

    def _frame(self, index: int) -> np.ndarray:
        with library(self.path, _damaged):
            frame = np.asarray(self.file.read_frame(index))
        if frame.size != math.prod(self.shape[1:]):
            raise _damaged(self.path, ValueError(f"frame {index} has shape {frame.shape}"))
        return frame.reshape(self.shape[1:])


def _opened(path: Path) -> Any:
    nd2 = require("nd2", "An ND2 file")
    _check_ends(path)
    file = None
    try:
        with library(path, _damaged), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = nd2.ND2File(path)
            _ = file.sizes, file.dtype, file.attributes, file.experiment
        return file
    except DataError:
        if file is not None:
            file.close()
        raise


def _check_ends(path: Path) -> None:
    """Look at both ends of the file; the library leaves one open that it cannot read."""
    with path.open("rb") as file:
        magic = file.read(4)
        file.seek(max(0, path.stat().st_size - 40))
        whole = file.read(32) == MAP
    if magic not in (MODERN, LEGACY) or (magic == MODERN and not whole):
        found = "it does not begin as one" if magic != MODERN else "the map of its frames, which ends it, is missing"
        raise _damaged(path, ValueError(found))


def _damaged(path: Path, error: Exception) -> DataError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(
        f"{path} cannot be read as ND2.", f"{reason[:200]}.", "Check that the file is whole; copy it again."
    )


def _stack(path: Path, frames: Nd2Frames) -> Stack:
    """Return the stack; of an acquisition that was stopped early, the frames that were taken.

    The file's outer loop comes first in `loops`: planes inside time points, or whole movies plane by plane.
    """
    names, planes = list(frames.loops), frames.loops.get("Z", 1)
    within = planes if names[0] == "T" else 1
    whole = of_array(frames, ("time", "channel", "y", "x"))
    count = frames.shape[0] // planes if within == planes else frames.loops["T"]

    def movie(channel: int, plane: int) -> Part:
        begin = plane if within == planes else plane * count
        source = whole.frames(channel, 0)
        return Part(source, (range(begin, begin + count * within, within), *(range(n) for n in source.shape[1:])))

    promised = frames.loops["T"] * planes
    losses = () if frames.shape[0] >= promised else (
        f"the acquisition was stopped: {frames.shape[0]} of {promised} frames were taken, {count * planes} are read",
    )  # fmt: skip
    rate = _rate(frames.file.experiment)
    return Stack(movie, frames.shape[1], planes, rate, layout="; ".join(losses), losses=losses)


def _rate(loops: list[Any]) -> float | None:
    """Return the rate that the time loop measured, or was asked for; loops of several speeds have none."""
    loop = next((loop for loop in loops if type(loop).__name__ == "TimeLoop"), None)
    if loop is None:
        return None
    period = loop.parameters.periodDiff.avg or loop.parameters.periodMs
    return 1000 / period if period else None
