"""What the report shows of a baseline: its course for traces, its mean for movies."""

from __future__ import annotations

import numpy as np
import zarr

from neurodyn.preprocess.base import Workspace

POINTS = 2000


class BaselineRecord:
    """Gathers F0 and the mean ΔF/F of each frame while they pass.

    Of F0, at most 2000 points per ROI, or the mean over time per pixel.

    Parameters
    ----------
    source
        The variable that F0 is of.
    name
        Of the variable being made; its mean over ROIs or pixels is kept as "<name>_course", the course of F0 as
        "<name>_f0" with its times as "<name>_f0_time", the map as "<name>_f0_mean".
    """

    def __init__(self, workspace: Workspace, source: zarr.Array, name: str) -> None:
        self._workspace, self._name, self._space = workspace, name, source.shape[1:]
        self._units = str(source.attrs["units"])
        self._every = -(-source.shape[0] // POINTS)
        size = int(np.prod(self._space, dtype=np.int64))
        self._course = None
        if len(self._space) == 1:
            self._course = np.full((-(-source.shape[0] // self._every), size), np.nan, dtype=np.float32)
        self._total, self._count = np.zeros(size), np.zeros(size, dtype=np.int64)
        self._sums, self._finite = np.zeros(source.shape[0]), np.zeros(source.shape[0])

    def add_traces(self, frames: slice, entries: np.ndarray, f0: np.ndarray) -> None:
        """Take in F0 of some entries of the flattened frame, shape (entry, frames)."""
        if self._course is not None:
            at = np.arange(-(-frames.start // self._every), -(-frames.stop // self._every))
            self._course[np.ix_(at, entries)] = f0[:, at * self._every - frames.start].T
            return
        good = np.isfinite(f0)
        self._total[entries] += np.where(good, f0, 0).sum(axis=1)
        self._count[entries] += good.sum(axis=1)

    def add_levels(self, frames: slice, tile: tuple[slice, ...], f0: np.ndarray, level: np.ndarray) -> None:
        """Take in the levels of a tile, shape (level, *tile), and the level of each frame, shape (frames,)."""
        entries = np.arange(self._total.size).reshape(self._space)[tile].ravel()
        levels = f0.reshape(len(f0), -1)
        if self._course is not None:
            self.add_traces(frames, entries, levels[level].T)
            return
        frames_each, good = np.bincount(level, minlength=len(levels))[:, None], np.isfinite(levels)
        self._total[entries] += (np.where(good, levels, 0) * frames_each).sum(axis=0)
        self._count[entries] += (good * frames_each).sum(axis=0)

    def add_change(self, frames: slice, change: np.ndarray) -> None:
        """Take in ΔF/F of some entries inside the brain, shape (frames, entry); NaN counts as nothing."""
        good = np.isfinite(change)
        self._sums[frames] += np.where(good, change, 0).sum(axis=1, dtype=np.float64)
        self._finite[frames] += good.sum(axis=1)

    def keep(self) -> None:
        """Put it into the recording's qc group."""
        course = np.divide(self._sums, self._finite, out=np.full(self._sums.size, np.nan), where=self._finite > 0)
        self._workspace.keep("qc", f"{self._name}_course", ("time_qc",), course.astype(np.float32), "ΔF/F")
        if self._course is None:
            counted = self._count > 0
            mean = np.divide(self._total, self._count, out=np.full(self._total.size, np.nan), where=counted)
            values = mean.astype(np.float32).reshape(self._space)
            self._workspace.keep("qc", f"{self._name}_f0_mean", ("y", "x"), values, self._units)
            return
        axis = f"{self._name}_f0_time"
        self._workspace.keep("qc", f"{self._name}_f0", (axis, "roi"), self._course, self._units)
        self._workspace.keep("qc", axis, (axis,), self._workspace.time[:: self._every], "s")
