"""Baselines that are one number per trace, or one per trial: found without holding the movie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import zarr

from neurodyn.core.errors import DataError
from neurodyn.preprocess.base import Workspace
from neurodyn.preprocess.baselines import lowest_mean, smoothed_minimum, whole_percentile
from neurodyn.preprocess.dff_params import DffParams
from neurodyn.preprocess.tiles import blocks
from neurodyn.preprocess.timeline import fill_short

BUDGET = 192 * 2**20
ROWS = 64


@dataclass(frozen=True)
class Source:
    """A variable, and the frames of it that do not count.

    Parameters
    ----------
    array
        Shape (time, *space).
    holes
        Entries that may have frames to leave out, bool, shape (*space).
    ceiling
        Value that counts as saturated, or None.
    """

    array: zarr.Array
    holes: np.ndarray
    ceiling: float | None = None

    def read(self, frames: slice, tile: tuple[slice, ...]) -> np.ndarray:
        """Return values, shape (time, *tile): as stored, or float64 with NaN for what does not count."""
        values = np.asarray(self.array[(frames, *tile)])
        if not self.holes[tile].any():
            return values
        count = np.isfinite(values) if self.ceiling is None else values != self.ceiling
        return np.where(count, values, np.nan).astype(np.float64)


def rows(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return chosen entries as contiguous float64 traces, shape (entry, time)."""
    return np.ascontiguousarray(values.reshape(values.shape[0], -1)[:, chosen].T, dtype=np.float64)


def batches(chosen: np.ndarray, frames: int) -> list[np.ndarray]:
    """Cut entries into batches of 64 traces, fewer where traces are longer than 65,536 frames."""
    size = max(1, min(ROWS, ROWS * 2**16 // max(frames, 1)))
    return [chosen[start : start + size] for start in range(0, chosen.size, size)]


def strips(tile: tuple[slice, ...], frame_bytes: int) -> Iterator[tuple[slice, ...]]:
    """Cut a tile along its first axis into strips of at most 192 MiB, one row at least.

    Parameters
    ----------
    frame_bytes
        Bytes that one entry of the tile takes over all frames that are in memory at once.
    """
    first, *others = tile
    row = frame_bytes * int(np.prod([axis.stop - axis.start for axis in others], dtype=np.int64))
    step = max(1, BUDGET // max(row, 1))
    for start in range(first.start, first.stop, step):
        yield (slice(start, min(start + step, first.stop)), *others)


@dataclass(frozen=True)
class Levels:
    """Where each frame's baseline comes from: `count` levels, one per trace or one per trial.

    Parameters
    ----------
    params
        Settings with one of the level methods.
    rate_hz
        Frames per second.
    level
        The level that each frame is compared with, shape (time,).
    member
        The level that each frame is averaged into, -1 for none, shape (time,); used by "mean" and "trial".
    count
        Number of levels.
    """

    params: DffParams
    rate_hz: float
    level: np.ndarray
    member: np.ndarray
    count: int

    @classmethod
    def of(cls, params: DffParams, workspace: Workspace) -> Levels:
        """Assign frames to levels by their times.

        Raises
        ------
        DataError
            If the baseline interval, or that of a trial, has no frames.
        """
        time = workspace.time
        none = np.zeros(time.size, dtype=np.int64)
        if params.method == "trial":
            return _by_trial(params, workspace)
        if params.method == "mean" and params.interval is not None:
            begin, end = params.interval
            member = np.where((time >= begin) & (time < end), 0, -1)
            if (member < 0).all():
                raise DataError(
                    "dff: the baseline interval has no frames.",
                    f"It is {begin:g} to {end:g} s; the recording runs from {time[0]:g} to {time[-1]:g} s.",
                    f"Set it: --set dff.interval=[{time[0]:.3g},{time[0] + min(10, np.ptp(time) / 2):.3g}]",
                )
            return cls(params, workspace.rate_hz, none, member, 1)
        return cls(params, workspace.rate_hz, none, none, 1)

    def find(self, source: Source, tile: tuple[slice, ...], mask: np.ndarray) -> np.ndarray:
        """Return the levels of a tile, shape (level, *tile), in the source's unit; NaN where the mask does not hold.

        Parameters
        ----------
        mask
            Entries that are data, bool, shape (*tile).
        """
        if self.params.method in ("mean", "trial"):
            return np.where(mask, self._means(source, tile), np.nan)
        found = np.full((1, *mask.shape), np.nan)
        everything = slice(0, source.array.shape[0])
        for strip in strips(tile, source.array.shape[0] * source.array.dtype.itemsize):
            values = source.read(everything, strip)
            inner = slice(strip[0].start - tile[0].start, strip[0].stop - tile[0].start)
            part = np.full(mask[inner].size, np.nan)
            for some in batches(np.flatnonzero(mask[inner]), values.shape[0]):
                part[some] = self._rule()(rows(values, some))
            found[0, inner] = part.reshape(mask[inner].shape)
        return found

    def _rule(self) -> Callable[[np.ndarray], np.ndarray]:
        p = self.params
        if p.method == "constant":
            return lambda traces: whole_percentile(traces, p.share)
        if p.method == "lowest":
            return lambda traces: lowest_mean(traces, p.share)
        return lambda traces: smoothed_minimum(fill_short(traces, 0)[0], p.sigma * self.rate_hz, p.edge)

    def _means(self, source: Source, tile: tuple[slice, ...]) -> np.ndarray:
        """Return the mean over each level's frames, reading only chunks that have some."""
        shape = (self.count, *(axis.stop - axis.start for axis in tile))
        total, count = np.zeros(shape), np.zeros(shape)
        for block in blocks(source.array):
            member = self.member[block.keep]
            present = np.unique(member[member >= 0])
            if not present.size:
                continue
            values = source.read(block.keep, tile)
            for level in present:
                some = values[member == level]
                good = np.isfinite(some)
                total[level] += np.where(good, some, 0).sum(axis=0, dtype=np.float64)
                count[level] += good.sum(axis=0)
        return np.divide(total, count, out=np.full(shape, np.nan), where=count > 0)


def _by_trial(params: DffParams, workspace: Workspace) -> Levels:
    time, onsets = workspace.time, _onsets(workspace)
    onsets = onsets[(onsets > time[0]) & (onsets - params.before <= time[-1])]
    member = np.full(time.size, -1)
    begins = onsets - params.before
    for trial, (begin, onset) in enumerate(zip(begins, onsets, strict=True)):
        member[(time >= begin - 1e-9) & (time < onset - 1e-9)] = trial
    empty = np.setdiff1d(np.arange(onsets.size), member)
    if not onsets.size or empty.size:
        which = (
            f"The first of them starts at {onsets[empty[0]]:g} s" if empty.size else "No onset lies in the recording"
        )
        raise DataError(
            f"dff: {empty.size} of {onsets.size} stimuli have no frames in the {params.before:g} s before them.",
            f"{which}; it runs from {time[0]:g} to {time[-1]:g} s at {workspace.rate_hz:g} Hz.",
            "Lengthen it (--set dff.before=2), drop those events, or choose --set dff.method=percentile",
        )
    level = np.maximum(np.searchsorted(begins, time + 1e-9, side="right") - 1, 0)
    return Levels(params, workspace.rate_hz, level, member, onsets.size)


def _onsets(workspace: Workspace) -> np.ndarray:
    """Return stimulus onsets, s, each once, in order, shape (trial,)."""
    if "stimulus/start" not in workspace.root:
        raise DataError(
            "dff: a baseline per trial needs stimuli, and the recording has none.",
            "Found no stimulus table; expected one with start and stop in seconds.",
            "Add it when reading (--stimulus FILE), or choose --set dff.method=percentile",
        )
    return np.unique(np.asarray(workspace.root["stimulus/start"][...], dtype=np.float64))  # type: ignore[index]
