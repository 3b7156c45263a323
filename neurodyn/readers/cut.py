"""A block of an array on disk, still on disk."""

from __future__ import annotations

from typing import Any

import numpy as np


class Part:
    """Part of an array on disk: axes cut to a range, or fixed at one index and gone.

    Parameters
    ----------
    source
        Anything with shape, dtype and basic slicing.
    picks
        One per axis of `source`: the indices kept, at a regular distance, or one index.
    """

    def __init__(self, source: Any, picks: tuple[int | range, ...]) -> None:
        self.source, self.picks = source, picks
        self.shape = tuple(len(pick) for pick in picks if isinstance(pick, range))
        self.dtype = np.dtype(source.dtype)

    def __getitem__(self, key: Any) -> np.ndarray:
        keys = iter(key if isinstance(key, tuple) else (key,))
        inside = (p if isinstance(p, int) else _through(p, next(keys, slice(None))) for p in self.picks)
        return np.asarray(self.source[tuple(inside)])


class Picked:
    """Frames of an array on disk in any order.

    Parameters
    ----------
    source
        Frames first; indexed by an array of frame numbers too.
    rows
        Which frames, in which order, shape (time,).
    """

    def __init__(self, source: Any, rows: np.ndarray) -> None:
        self.source, self.rows = source, rows
        self.shape = (len(rows), *source.shape[1:])
        self.dtype = np.dtype(source.dtype)

    def __getitem__(self, key: tuple[Any, ...]) -> np.ndarray:
        time, *space = key
        return np.asarray(self.source[(self.rows[time], *space)])


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


def _through(pick: range, key: Any) -> Any:
    rest = pick[key]
    if not isinstance(rest, range):
        return rest
    return slice(rest[0], rest[-1] + 1, rest.step) if rest else slice(0, 0)


def side_by_side(source: Any, axes: tuple[str, ...], axis: str, index: int, count: int) -> Part:
    """Return one of `count` equal pictures that lie side by side in every frame, as two cameras on one chip do."""
    picks = [range(size) for size in source.shape]
    width = source.shape[axes.index(axis)] // count
    picks[axes.index(axis)] = range(index * width, (index + 1) * width)
    return Part(source, tuple(picks))


class Unfolded:
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
        self.source, self.axis, self.frame = source, axis, frame
        shape = list(source.shape)
        shape[axis : axis + 1] = frame[::-1]
        self.shape, self.dtype = tuple(shape), np.dtype(source.dtype)

    def __getitem__(self, key: tuple[Any, ...]) -> np.ndarray:
        time = key[0] if self.axis else key[2]
        rows = time if isinstance(time, slice) else slice(time, time + 1)
        values = np.asarray(self.source[(rows, slice(None)) if self.axis else (slice(None), rows)])
        shape = list(values.shape)
        shape[self.axis : self.axis + 1] = self.frame[::-1]
        inside = list(key)
        inside[0 if self.axis else 2] = slice(None) if isinstance(time, slice) else 0
        return values.reshape(shape)[tuple(inside)]
