"""One look at every variable: what is not finite, what is saturated, how bright it is."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.preprocess.base import Workspace
from neurodyn.preprocess.tiles import blocks, inside, noun, tiles

LOGGER = logging.getLogger(__name__)

NanPolicy = Literal["error", "nan"]


@dataclass(frozen=True)
class Scan:
    """What one reading of a variable found; outside the brain nothing counts as broken or saturated.

    Parameters
    ----------
    broken
        Entries with at least one NaN or infinite frame, bool, shape (*space).
    first_broken
        First frame with NaN or infinity; the number of frames where there is none.
    mean, scale
        Mean and mean absolute value over the finite frames, in the variable's unit, shape (*space).
    saturated
        Frames in which each entry has the largest value of its integer type, shape (*space).
    saturated_frames
        Frames in which any entry has, bool, shape (time,).
    course
        Mean over the finite entries of each frame inside the brain, shape (time,).
    """

    broken: np.ndarray
    first_broken: int
    mean: np.ndarray
    scale: np.ndarray
    saturated: np.ndarray
    saturated_frames: np.ndarray
    course: np.ndarray


class Scanner:
    """Gathers a Scan from pieces of a variable, in any order.

    Parameters
    ----------
    shape
        (time, *space).
    mask
        Entries that are data, bool, shape (*space).
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, mask: np.ndarray) -> None:
        self.mask, self.first = mask, shape[0]
        self.ceiling = np.iinfo(dtype).max if dtype.kind in "iu" else None
        self.broken = np.zeros(shape[1:], dtype=bool)
        self.total, self.magnitude = np.zeros(shape[1:]), np.zeros(shape[1:])
        self.finite, self.saturated = (np.zeros(shape[1:], dtype=np.int64) for _ in range(2))
        self.frames = np.zeros(shape[0], dtype=bool)
        self.sums, self.counts = np.zeros(shape[0]), np.zeros(shape[0])

    def add(self, start: int, values: np.ndarray, tile: tuple[Any, ...] = (...,)) -> None:
        """Take in values, shape (time, *tile), that begin at frame `start`."""
        self._add_course(start, values, self.mask[tile])
        if self.ceiling is not None:
            self._add_whole_numbers(start, values, tile)
            return
        good = np.isfinite(values)
        if good.all():
            kept: np.ndarray = values
        else:
            kept = np.where(good, values, 0)
            bad = ~good & self.mask[tile]
            self.broken[tile] |= bad.any(axis=0)
            if bad.any():
                self.first = min(self.first, start + int(np.argmax(bad.reshape(len(bad), -1).any(axis=1))))
        self.total[tile] += kept.sum(axis=0, dtype=np.float64)
        self.magnitude[tile] += np.abs(kept).sum(axis=0, dtype=np.float64)
        self.finite[tile] += good.sum(axis=0)

    def _add_course(self, start: int, values: np.ndarray, mask: np.ndarray) -> None:
        frames = slice(start, start + len(values))
        chosen = values.reshape(len(values), -1) if mask.all() else values[:, mask]
        sums = chosen.sum(axis=1, dtype=np.float64)
        counts: Any = chosen.shape[1]
        if not np.isfinite(sums).all():
            good = np.isfinite(chosen)
            sums, counts = np.where(good, chosen, 0).sum(axis=1, dtype=np.float64), good.sum(axis=1)
        self.sums[frames] += sums
        self.counts[frames] += counts

    def _add_whole_numbers(self, start: int, values: np.ndarray, tile: tuple[Any, ...]) -> None:
        total = values.sum(axis=0, dtype=np.float64)
        self.total[tile] += total
        unsigned = values.dtype.kind == "u"
        self.magnitude[tile] += total if unsigned else np.abs(values, dtype=np.float64).sum(axis=0)
        self.finite[tile] += len(values)
        if values.size and values.max() == self.ceiling:
            full = (values == self.ceiling) & self.mask[tile]
            self.saturated[tile] += full.sum(axis=0)
            self.frames[start : start + len(values)] |= full.reshape(len(values), -1).any(axis=1)

    def done(self) -> Scan:
        """Return what was found."""
        count = np.maximum(self.finite, 1)
        course = self.sums / np.maximum(self.counts, 1)
        return Scan(
            self.broken, self.first, self.total / count, self.magnitude / count, self.saturated, self.frames, course
        )


def scan(workspace: Workspace, name: str, nan: NanPolicy | Literal["frames"] = "error", step: str = "") -> Scan:
    """Look at a variable, once per run, and refuse or mark what cannot be computed with.

    Parameters
    ----------
    nan
        "error" refuses NaN and infinity inside the brain; "nan" marks them, and refuses a variable of which nothing
        would be left; "frames" only marks them.
    step
        The step that asks, for the message.

    Raises
    ------
    DataError
        With the number of ROIs or pixels and the first frame, under the policy "error".
    """
    if name not in workspace.scans:
        workspace.scans[name] = _look(workspace, name)
    found: Scan = workspace.scans[name]
    if found.saturated_frames.any():
        frames, value = found.saturated_frames, np.iinfo(workspace[name].dtype).max
        LOGGER.warning(
            "%s: %d of %d frames are saturated (value %d), the first is frame %d.",
            *(name, frames.sum(), frames.size, value, int(np.argmax(frames))),
        )
    if found.broken.any() and nan == "error":
        raise _not_finite(workspace, name, step, found)
    if nan == "nan" and found.broken.any() and found.broken.sum() == inside(workspace, workspace[name]).sum():
        raise _nothing_left(workspace, name, step, found)
    return found


def _look(workspace: Workspace, name: str) -> Scan:
    array = workspace[name]
    scanner = Scanner(array.shape, np.dtype(array.dtype), inside(workspace, array))
    for tile in tiles(array):
        for block in blocks(array):
            scanner.add(block.keep.start, np.asarray(array[(block.keep, *tile)]), tile)
    return scanner.done()


def _not_finite(workspace: Workspace, name: str, step: str, found: Scan) -> DataError:
    array = workspace[name]
    return DataError(
        f"{step}: '{name}' is not finite in {found.broken.sum()} of {inside(workspace, array).sum()} {noun(array)}.",
        f"The first NaN or infinity is at frame {found.first_broken} ({workspace.time[found.first_broken]:g} s).",
        _way_out(step, array.ndim == 3, noun(array)),
    )


def _way_out(step: str, movie: bool, what: str) -> str:
    mend = "Mend or drop them" + (", mask them (--brain)" if movie else "")
    if step == "dff":
        return f"{mend}, or leave the frames out: --set dff.nan=frames (dff.nan=nan drops whole {what})"
    if step in ("neuropil", "deconvolution"):
        return f"{mend}, or leave whole {what} out: --set {step}.nan=nan"
    if step == "zscore":
        return f"{mend}, or leave their frames NaN: --set zscore.nan=nan"
    return f"{mend} before this step."


def _nothing_left(workspace: Workspace, name: str, step: str, found: Scan) -> DataError:
    what = noun(workspace[name])
    return DataError(
        f"{step}: every value would be NaN, as all {int(found.broken.sum())} {what} of '{name}' have NaN frames.",
        f"{step}.nan=nan leaves whole {what} out; the first NaN is at frame {found.first_broken}.",
        "Leave the frames out instead: --set dff.nan=frames"
        if step == "dff"
        else "Mend or drop these frames in the source; neurodyn validate RECORDING lists them",
    )
