"""Tiles of space and blocks of time: pieces whose size does not depend on the recording's length."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import zarr

from neurodyn.core.errors import DataError
from neurodyn.preprocess.base import Workspace

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Block:
    """A stretch of frames to compute, and the longer stretch to read for it.

    Parameters
    ----------
    keep
        Frames to write.
    read
        Frames to read: `keep` and its halo, cut at the ends of the recording.
    """

    keep: slice
    read: slice

    @property
    def inner(self) -> slice:
        """`keep` counted from the first frame read."""
        return slice(self.keep.start - self.read.start, self.keep.stop - self.read.start)


def tiles(array: zarr.Array) -> list[tuple[slice, ...]]:
    """Cut a frame, shape (roi,) or (y, x), along the borders of the array's chunks."""
    axes = [
        [slice(start, min(start + size, length)) for start in range(0, length, size)]
        for length, size in zip(array.shape[1:], array.chunks[1:], strict=True)
    ]
    return list(itertools.product(*axes))


def blocks(array: zarr.Array, halo: int = 0, multiple: int = 1) -> list[Block]:
    """Cut time into blocks that end on chunk borders, each with a halo on both sides.

    Parameters
    ----------
    halo
        Frames that a result depends on before and after its own frame.
    multiple
        Reading starts at a multiple of this many frames.
    """
    frames, chunk = array.shape[0], array.chunks[0]
    step = -(-max(chunk, 4 * halo) // chunk) * chunk  # the halos cost at most half of the work again
    result = []
    for start in range(0, frames, step):
        stop = min(start + step, frames)
        first = max(0, start - halo) // multiple * multiple
        result.append(Block(slice(start, stop), slice(first, min(frames, stop + halo))))
    return result


def pieces(workspace: Workspace, array: zarr.Array, part: int = 0, parts: int = 1) -> Iterator[tuple[slice, ...]]:
    """Yield (time, *space) slices of one chunk each, tile by tile, and report progress.

    Parameters
    ----------
    part, parts
        Which of how many passes over the array this is.
    """
    keys = [(block.keep, *tile) for tile in tiles(array) for block in blocks(array)]
    for done, key in enumerate(keys, start=1):
        yield key
        workspace.progress((part + done / len(keys)) / parts)


def read(array: zarr.Array, key: tuple[slice, ...], mask: np.ndarray) -> np.ndarray:
    """Return a piece as float64, shape (time, *space), 0 where the mask, shape (*space), does not hold."""
    return np.where(mask[key[1:]], array[key], 0).astype(np.float64)


def inside(workspace: Workspace, array: zarr.Array) -> np.ndarray:
    """Return which entries of a frame are data, bool, shape (*space): the brain mask for movies, all ROIs for traces."""
    if array.ndim == 3 and workspace.brain is not None:
        return workspace.brain
    return np.ones(array.shape[1:], dtype=bool)


def noun(array: zarr.Array) -> str:
    """Return what an entry of a frame is called."""
    return "ROIs" if array.ndim == 2 else "pixels"


def same_shape(workspace: Workspace, first: str, second: str, step: str) -> None:
    """Refuse two variables that do not share frames and space.

    Raises
    ------
    DataError
        With both shapes.
    """
    if workspace[first].shape != workspace[second].shape:
        raise DataError(
            f"{step}: '{first}' and '{second}' differ in shape.",
            f"Found {workspace[first].shape} and {workspace[second].shape} (time, ...); both need one rate and one frame.",
            "Resample or crop one of them before this step.",
        )


def require_light(workspace: Workspace, name: str, mean: np.ndarray, step: str, fix: str) -> None:
    """Refuse a channel that is not positive on average, about which no relative change can be taken.

    Parameters
    ----------
    mean
        Over time, shape (*space).
    fix
        What to do, beside masking.

    Raises
    ------
    DataError
        With the number of entries.
    """
    array = workspace[name]
    dark = mean[inside(workspace, array)] <= 0
    if dark.any():
        raise DataError(
            f"{step}: '{name}' has a mean of 0 or less in {dark.sum()} of {dark.size} {noun(array)}.",
            "Relative change needs counts above the dark level.",
            f"Mask them (--brain), or {fix}",
        )


def warn_gaps(workspace: Workspace, step: str) -> None:
    """Log a warning where frames are missing, for steps that count frames instead of seconds."""
    gaps = np.diff(workspace.time) * workspace.rate_hz > 1.5
    if gaps.any():
        LOGGER.warning(
            "%s: %d gaps in the frame times, the first after %g s; windows count frames and run across them.",
            *(step, gaps.sum(), workspace.time[int(np.argmax(gaps))]),
        )
