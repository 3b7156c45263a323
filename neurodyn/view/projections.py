"""Projections of a movie over time: mean, maximum, and how much a pixel goes along with its neighbours."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neurodyn.view.frames import Movie

STRETCHES, FRAMES = 4, 64  # of the sample: reading all of a movie would take minutes
AT_ONCE = 8  # frames that are worked on, as floats of several kinds
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # each pair of neighbouring pixels once
KINDS = ("mean", "maximum", "correlation")


def projections(movie: Movie) -> dict[str, np.ndarray]:
    """Return projections of a sample of frames, taken in stretches over the whole movie.

    `correlation` is the mean of Pearson's correlations of a pixel with its eight neighbours: Smith & Häusser, Nature
    Neuroscience 13, 1144 (2010). Cells stand out in it by firing, not by being bright.

    Returns
    -------
    dict
        `mean`, `maximum` and `correlation`, each shape (y, x).
    """
    sums = _Sums(movie.shape)
    for stretch in _sample(movie):
        sums.add(stretch)
    return {"mean": sums.mean(), "maximum": sums.highest, "correlation": sums.correlation()}


def sampled(movie: Movie) -> int:
    """Return how many frames projections are made of."""
    return min(movie.time.size, STRETCHES * FRAMES)


def _sample(movie: Movie) -> Iterator[np.ndarray]:
    count = movie.time.size
    starts = [0] if count <= STRETCHES * FRAMES else np.linspace(0, count - FRAMES, STRETCHES).astype(int).tolist()
    length = count if count <= STRETCHES * FRAMES else FRAMES
    for start in starts:
        for first in range(start, start + length, FRAMES):  # never more than one stretch in memory
            frames = movie.read(first, min(first + FRAMES, start + length))
            yield from (frames[k : k + AT_ONCE].astype(np.float32) for k in range(0, len(frames), AT_ONCE))


class _Sums:
    """Sums over frames, from which means and correlations follow; NaN counts as nothing."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.count, self.origin = 0, np.zeros(shape, np.float32)
        self.first, self.square = np.zeros(shape), np.zeros(shape)
        self.products = [np.zeros(shape) for _ in NEIGHBOURS]
        self.highest = np.full(shape, -np.inf, np.float32)

    def add(self, frames: np.ndarray) -> None:
        """Add frames, shape (time, y, x)."""
        self.highest = np.fmax(self.highest, frames.max(axis=0))
        if not self.count:
            self.origin = np.nan_to_num(frames.mean(axis=0))  # sums of squares of small numbers lose fewer digits
        frames = np.nan_to_num(frames - self.origin)
        self.count += len(frames)
        self.first += frames.sum(axis=0)
        self.square += np.einsum("tyx,tyx->yx", frames, frames)
        for (down, right), product in zip(NEIGHBOURS, self.products, strict=True):
            here, there = _pair(frames, down, right)
            _pair(product, down, right)[0][...] += np.einsum("tyx,tyx->yx", here, there)

    def mean(self) -> np.ndarray:
        """Return the mean, shape (y, x)."""
        return self.origin + self.first / self.count

    def correlation(self) -> np.ndarray:
        """Return the mean correlation with the neighbours there are, shape (y, x)."""
        mean = self.first / self.count
        spread = np.sqrt(np.maximum(self.square / self.count - mean**2, 0))
        total, pairs = np.zeros(mean.shape), np.zeros(mean.shape)
        for (down, right), product in zip(NEIGHBOURS, self.products, strict=True):
            (a, b), (sa, sb) = _pair(mean, down, right), _pair(spread, down, right)
            shared = _pair(product, down, right)[0] / self.count - a * b
            found = np.divide(shared, sa * sb, out=np.zeros_like(shared), where=sa * sb > 0)
            for place in _pair(total, down, right):
                place += found
            for place in _pair(pairs, down, right):
                place += 1
        return total / np.maximum(pairs, 1)


def _pair(array: np.ndarray, down: int, right: int) -> tuple[np.ndarray, np.ndarray]:
    """Return views of pixels and of their neighbours that lie `down` rows and `right` columns further."""
    rows, columns = array.shape[-2:]
    left, over = max(0, -right), max(0, right)
    here = array[..., : rows - down, left : columns - over]
    return here, array[..., down:, left + right : columns - over + right]
