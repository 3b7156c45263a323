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
