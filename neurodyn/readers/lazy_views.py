"""Arrays on disk seen otherwise, still on disk: cut, turned, unfolded, computed, decoded frame by frame."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from neurodyn.data.lazy import DiskArray


class Part(DiskArray):
    """Part of an array on disk: axes cut to a range, or fixed at one index and gone.

    Parameters
    ----------
    source
        Anything with shape, dtype and basic slicing.
    picks
        One per axis of `source`: the indices kept, at a regular distance, or one index.
    """

    def __init__(self, source: Any, picks: tuple[int | range, ...]) -> None:
        super().__init__(tuple(len(pick) for pick in picks if isinstance(pick, range)), source.dtype)
        self.source, self.picks = source, picks

    def _block(self, key: tuple[slice, ...]) -> np.ndarray:
        keys = iter(key)
        inside = (pick if isinstance(pick, int) else _through(pick[next(keys)]) for pick in self.picks)
        return np.asarray(self.source[tuple(inside)])


def _through(rest: range) -> slice:
    return slice(rest[0], rest[-1] + 1, rest.step)


class Picked(DiskArray):
    """Frames of an array on disk in any order.

    Parameters
    ----------
    source
        Frames first; indexed by an array of frame numbers too.
    rows
        Which frames, in which order, shape (time,).
    """

    def __init__(self, source: Any, rows: np.ndarray) -> None:
        super().__init__((len(rows), *source.shape[1:]), source.dtype)
        self.source, self.rows = source, rows

    def _block(self, key: tuple[slice, ...]) -> np.ndarray:
        return np.asarray(self.source[(self.rows[key[0]], *key[1:])])


def frames_at(source: Any, rows: np.ndarray) -> Any:
    """Return frames of an array on disk, as a regular block of it where they are one."""
    count = source.shape[0]
    step = int(rows[1] - rows[0]) if len(rows) > 1 else 1
    if step < 1 or (np.diff(rows) != step).any():
        return Picked(source, rows)
    if len(rows) == count:
        return source
    first = int(rows[0])
    return Part(source, (range(first, first + step * len(rows), step), *(range(n) for n in source.shape[1:])))


def side_by_side(source: Any, axes: tuple[str, ...], axis: str, index: int, count: int) -> Part:
    """Return one of `count` equal pictures that lie side by side in every frame, as two cameras on one chip do."""
    picks = [range(size) for size in source.shape]
    width = source.shape[axes.index(axis)] // count
    picks[axes.index(axis)] = range(index * width, (index + 1) * width)
    return Part(source, tuple(picks))


class Turned(DiskArray):
    """An array on disk with its axes in reverse."""

    def __init__(self, source: Any) -> None:
        super().__init__(source.shape[::-1], source.dtype)
        self.source = source

    def _block(self, key: tuple[slice, ...]) -> np.ndarray:
        return np.asarray(self.source[key[::-1]]).T


class Computed(DiskArray):
    """Arrays on disk of one shape, of which another is computed entry by entry when read.

    Parameters
    ----------
    function
        From blocks of the arrays to that of the result.
    sources
        Anything with shape, dtype and basic slicing.
    dtype
        Of the result; that of the arrays together where not told.
    """

    def __init__(self, function: Callable[..., np.ndarray], *sources: Any, dtype: Any = None) -> None:
        super().__init__(sources[0].shape, dtype or np.result_type(*(one.dtype for one in sources)))
        self.function, self.source, self.others = function, sources[0], sources[1:]

    def _block(self, key: tuple[slice, ...]) -> np.ndarray:
        blocks = (np.asarray(one[key]) for one in (self.source, *self.others))
        return np.asarray(self.function(*blocks), self.dtype)


class Unfolded(DiskArray):
    """Frames kept as one column of pixels each, seen as pictures: the pixel axis becomes the axes x and y.

    MATLAB lays a picture out down its columns, so pixel k is at row k mod rows.

    Parameters
    ----------
    source
        An array on disk of two axes.
    axis
        Which of them counts pixels.
    frame
        Rows and columns of a picture; their product is the number of pixels.
    """

    def __init__(self, source: Any, axis: int, frame: tuple[int, int]) -> None:
        super().__init__((*source.shape[:axis], *frame[::-1], *source.shape[axis + 1 :]), source.dtype)
        self.source, self.axis, self.frame = source, axis, frame

    def _block(self, key: tuple[slice, ...]) -> np.ndarray:
        whole, pixels = slice(None), key[self.axis : self.axis + 2]
        if self.axis:
            values = np.asarray(self.source[key[0], whole])
            return values.reshape(-1, *self.frame[::-1])[(whole, *pixels)]
        values = np.asarray(self.source[whole, key[2]])
        return values.reshape(*self.frame[::-1], -1)[pixels]


class Loaded(DiskArray):
    """An array of a file that cannot be sliced: loaded when first asked for, and kept.

    Parameters
    ----------
    load
        Returns the whole array.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any, load: Callable[[], np.ndarray]) -> None:
        super().__init__(shape, dtype)
        self.load = load

    def _block(self, key: tuple[slice, ...]) -> np.ndarray:
        return self._values[key]

    @cached_property
    def _values(self) -> np.ndarray:
        return self.load()


class Decoded(DiskArray):
    """Frames that are decoded one at a time, by one thread at a time."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        super().__init__(shape, dtype)
        self._lock = threading.Lock()

    @abstractmethod
    def _frame(self, index: int) -> np.ndarray:
        """Decode one frame."""

    def _block(self, key: tuple[slice, ...]) -> np.ndarray:
        rows = range(self.shape[0])[key[0]]
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        with self._lock:
            for place, row in enumerate(rows):
                out[place] = self._frame(row)
        return out[(slice(None), *key[1:])]
