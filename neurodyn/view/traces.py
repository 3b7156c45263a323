"""Traces of single cells: read once, kept, and thinned to what a screen can show."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping

import numpy as np
import xarray as xr

KEPT = 96 * 2**20  # bytes of traces in memory


class Traces:
    """Traces of a recording, the latest used kept in memory.

    Parameters
    ----------
    variables
        Name -> traces on disk, shape (time, roi).
    time
        s, shape (time,).
    """

    def __init__(self, variables: Mapping[str, xr.Variable], time: np.ndarray) -> None:
        self.variables, self.time = dict(variables), time
        self._kept: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def trace(self, name: str, row: int) -> np.ndarray:
        """Return one cell's trace, float32, shape (time,)."""
        with self._lock:
            if (name, row) not in self._kept:
                self._kept[name, row] = np.ascontiguousarray(self.variables[name][:, row].values, dtype=np.float32)
                while len(self._kept) > max(8, KEPT // max(1, 4 * self.time.size)):
                    self._kept.popitem(last=False)
            self._kept.move_to_end((name, row))
            return self._kept[name, row]

    def frames(self, start: float, stop: float) -> slice:
        """Return the frames of a stretch of time, s, and one beyond either end, so that lines reach the edges."""
        first, last = np.searchsorted(self.time, [start, stop])
        return slice(max(0, int(first) - 1), min(self.time.size, int(last) + 1))

    def window(self, name: str, row: int, start: float, stop: float, bins: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest value in each of `bins` parts of a stretch of time.

        Where there are fewer than twice as many frames, every frame is its own part.

        Returns
        -------
        low, high
            float32, shape (part,); NaN where a part has no value.
        """
        return envelope(self.trace(name, row)[self.frames(start, stop)], bins)

    def times(self, start: float, stop: float, bins: int) -> np.ndarray:
        """Return the time of each part that `window` gives, s: that of its middle frame."""
        time = self.time[self.frames(start, stop)]
        edges = parts(time.size, bins)
        return time[(edges[:-1] + edges[1:]) // 2]


def parts(count: int, bins: int) -> np.ndarray:
    """Return where parts begin, and where the last one ends, shape (part + 1,)."""
    return np.arange(count + 1) if count <= 2 * bins else np.linspace(0, count, bins + 1).astype(np.int64)


def envelope(values: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Return lowest and highest value of each part of a trace, NaN left out.

    Parameters
    ----------
    values
        Shape (time,).
    """
    starts = parts(values.size, bins)[:-1]
    if starts.size == values.size:
        return values, values
    return np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
