"""Frames in time: stretches between gaps, the regular grid, and frames that are left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from scipy.ndimage import label, maximum_filter1d

from neurodyn.data.clock import missing_frames

Gaps = Literal["across", "restart", "fill"]


@dataclass(frozen=True)
class Span:
    """Frames to compute, the frames to read for them, and where both lie on the regular grid.

    Parameters
    ----------
    keep, read
        Frames to write and to read.
    lay
        Place of each frame read on the grid, shape (read,).
    at
        Place of each frame kept on the grid, shape (keep,).
    length
        Length of the grid.
    """

    keep: slice
    read: slice
    lay: np.ndarray
    at: np.ndarray
    length: int

    @property
    def whole(self) -> bool:
        """Whether every place of the grid has a frame."""
        return self.lay.size == self.length


@dataclass(frozen=True)
class Timeline:
    """Where frames lie on the regular grid, and which stretches of them windows may not leave.

    Parameters
    ----------
    place
        Grid place of each frame, increasing, shape (time,).
    stretches
        [start, stop) in frames, in order.
    """

    place: np.ndarray
    stretches: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, time: np.ndarray, rate_hz: float, gaps: Gaps, longest: int) -> Self:
        """Build it from frame times.

        Parameters
        ----------
        time
            Frame times, s, shape (time,).
        gaps
            "across": frames are counted, gaps ignored. "restart": a new stretch after every gap. "fill": missing
            frames take their place on the grid where at most `longest` of them are missing; a new stretch elsewhere.
        """
        frames = time.size
        if gaps == "across":
            return cls(np.arange(frames), ((0, frames),))
        missing = missing_frames(time, rate_hz)
        cut = missing > (0 if gaps == "restart" else longest)
        place = np.concatenate([[0], np.cumsum(np.where(cut, 0, missing) + 1)])
        borders = [0, *(np.flatnonzero(cut) + 1).tolist(), frames]
        return cls(place, tuple(zip(borders[:-1], borders[1:], strict=True)))

    @property
    def shortest(self) -> int:
        """Length of the shortest stretch on the grid, in frames."""
        return min(int(self.place[stop - 1] - self.place[start]) + 1 for start, stop in self.stretches)

    @property
    def holes(self) -> bool:
        """Whether places of the grid have no frame."""
        return int(self.place[-1] - self.place[0]) + 1 > self.place.size

    def spans(self, keep: slice, halo: int, multiple: int = 1) -> list[Span]:
        """Return one span per stretch that `keep` touches.

        Parameters
        ----------
        halo
            Grid places to read on both sides, as far as the stretch goes.
        multiple
            The grid begins at a multiple of this many places from the start of the stretch.
        """
        found = []
        for start, stop in self.stretches:
            first, last = max(start, keep.start), min(stop, keep.stop)
            if first >= last:
                continue
            origin, place = int(self.place[start]), self.place
            low = origin + max(0, int(place[first]) - halo - origin) // multiple * multiple
            high = min(int(place[stop - 1]), int(place[last - 1]) + halo) + 1
            read = slice(int(np.searchsorted(place, low)), int(np.searchsorted(place, high)))
            found.append(Span(slice(first, last), read, place[read] - low, place[first:last] - low, high - low))
        return found


def fill_short(traces: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Replace NaN by a straight line between its neighbours, the nearest value at the ends.

    Parameters
    ----------
    traces
        Shape (trace, time).
    longest
        Longest run of NaN, in frames, that a line may replace.

    Returns
    -------
    tuple
        The traces without NaN, and which frames lie in longer runs, bool, shape (trace, time), or None for no run.
    """
    holes = np.isnan(traces)
    if not holes.any():
        return traces, None
    filled, far = traces.copy(), np.zeros(traces.shape, dtype=bool)
    at = np.arange(traces.shape[1])
    for row in np.flatnonzero(holes.any(axis=1)):
        hole = holes[row]
        runs, _ = label(hole)  # type: ignore[misc]
        far[row] = (np.bincount(runs) > longest)[runs] & hole  # type: ignore[index]
        filled[row, hole] = 0.0 if hole.all() else np.interp(at[hole], at[~hole], traces[row, ~hole])
    return filled, far if far.any() else None


def near(frames: np.ndarray, reach: int) -> np.ndarray:
    """Return which frames have a marked one at most `reach` frames away, bool, shape (trace, time)."""
    return maximum_filter1d(frames.view(np.uint8), 2 * reach + 1, axis=1, mode="constant").view(bool)
