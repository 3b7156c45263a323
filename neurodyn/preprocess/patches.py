"""Patches of pixels around blocks of centres, grouped into regions that are read, computed and written together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import zarr

MOVIE_BYTES = 160 * 2**20
COVARIANCE_BYTES = 256 * 2**20
STRIP = 512
Span = tuple[slice, slice]


@dataclass(frozen=True)
class Patch:
    """Pixels that are estimated, and the pixels around them that they are estimated from.

    Parameters
    ----------
    pixels
        Pixels of the window inside the brain, as rows of the region, shape (p,).
    centres
        The estimated ones, as places in `pixels`, shape (centre,).
    """

    pixels: np.ndarray
    centres: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """The estimated pixels, as rows of the region, shape (centre,)."""
        return self.pixels[self.centres]


@dataclass(frozen=True)
class Region:
    """A part of the frame with all patches that its estimates need; its data pixels, in order, are its rows.

    Parameters
    ----------
    write
        Rows and columns of the frame that are written.
    read
        Rows and columns of the frame that are read for it.
    mask
        Pixels of `read` that are data, bool, shape (y, x).
    patches
        Their centres cover the data pixels of `write` once; none where there are none.
    """

    write: Span
    read: Span
    mask: np.ndarray
    patches: tuple[Patch, ...]

    @cached_property
    def index(self) -> np.ndarray:
        """Row of each pixel of `read`, -1 where there is no data, shape (y, x)."""
        index = np.full(self.mask.shape, -1)
        index[self.mask] = np.arange(self.mask.sum())
        return index

    @property
    def count(self) -> int:
        """Number of rows."""
        return int(self.mask.sum())

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of `write`."""
        return self.write[0].stop - self.write[0].start, self.write[1].stop - self.write[1].start

    @property
    def inner(self) -> Span:
        """`write` counted from the corner of `read`."""
        y, x = (slice(w.start - r.start, w.stop - r.start) for w, r in zip(self.write, self.read, strict=True))
        return y, x

    def strips(self) -> list[slice]:
        """Cut the rows into strips that fit into a processor's cache."""
        return [slice(start, min(start + STRIP, self.count)) for start in range(0, self.count, STRIP)]

    def lay_rows(self, movie: np.ndarray, strip: slice, mean: np.ndarray, level: np.ndarray, into: np.ndarray) -> None:
        """Put (F - mean) / level of some data pixels into rows, shape (pixel, time).

        Parameters
        ----------
        movie
            Shape (time, y, x) of `read`.
        mean, level
            Shape (y, x) of the frame.
        """
        chosen = np.flatnonzero(self.mask)[strip]
        inverse = 1.0 / level[self.read].ravel()[chosen]
        rows = into[strip]
        rows[:] = movie.reshape(movie.shape[0], -1).take(chosen, axis=1).T
        rows -= mean[self.read].ravel()[chosen, None].astype(into.dtype)
        rows *= inverse[:, None].astype(into.dtype)

    def lay_frames(self, rows: np.ndarray, strip: slice, into: np.ndarray) -> None:
        """Put rows, shape (pixel, time), of `strip` into frames of `write`, shape (time, y, x)."""
        y, x = (place[strip] for place in np.nonzero(self.mask))
        inner = self.inner
        written = (y >= inner[0].start) & (y < inner[0].stop) & (x >= inner[1].start) & (x < inner[1].stop)
        into[:, y[written] - inner[0].start, x[written] - inner[1].start] = rows[strip][written].T


def regions(array: zarr.Array, mask: np.ndarray, side: int, block: int) -> Iterator[Region]:
    """Cut the frame along its chunks into regions whose movie and covariances fit into memory.

    Parameters
    ----------
    mask
        Pixels that are data, bool, shape (y, x).
    side
        Side of a patch, pixels.
    block
        Side of the block of centres that share a patch, pixels.
    """
    frames, height, width = array.chunks
    times = next(k for k in itertools.count(4, -1) if k == 1 or _fits(frames, (k * height, k * width), side, block))
    for y, x in itertools.product(*(range(0, mask.shape[k], times * array.chunks[1 + k]) for k in range(2))):
        stop = min(y + times * height, mask.shape[0]), min(x + times * width, mask.shape[1])
        write = slice(y, stop[0]), slice(x, stop[1])
        yield _region(mask, write, side, block)


def _fits(frames: int, shape: tuple[int, int], side: int, block: int) -> bool:
    movie = 2 * 8 * frames * math.prod(n + side for n in shape)
    return movie <= MOVIE_BYTES and math.prod(n / block + 1 for n in shape) * 8 * (2 * side**2) ** 2 <= COVARIANCE_BYTES


def _region(mask: np.ndarray, write: Span, side: int, block: int) -> Region:
    axes = [_windows(mask.shape[k], side, block, write[k]) for k in range(2)]
    y, x = (slice(min(w.start for _, w in axis), max(w.stop for _, w in axis)) for axis in axes)
    region = Region(write, (y, x), mask[y, x], ())
    found = (
        _patch(region, (cy, cx), (wy, wx)) for (cy, wy), (cx, wx) in itertools.product(*axes) if mask[cy, cx].any()
    )
    return Region(write, (y, x), region.mask, tuple(found))


def _windows(length: int, side: int, block: int, wanted: slice) -> list[tuple[slice, slice]]:
    """Return blocks of centres along one axis, cut to `wanted`, and the windows around the uncut blocks.

    The blocks lie on a grid from the frame's corner, so that how the frame is cut changes nothing. A window at the
    border is shifted inwards.
    """
    result = []
    for start in range(wanted.start // block * block, wanted.stop, block):
        first = max(0, min(start + block // 2 - side // 2, length - side))
        centres = slice(max(start, wanted.start), min(start + block, wanted.stop))
        result.append((centres, slice(first, min(first + side, length))))
    return result


def _patch(region: Region, centres: Span, window: Span) -> Patch:
    corner = [r.start for r in region.read]
    near, middle = (
        tuple(slice(s.start - c, s.stop - c) for s, c in zip(span, corner, strict=True)) for span in (window, centres)
    )
    pixels, chosen = region.index[near], region.index[middle]
    pixels, chosen = pixels[pixels >= 0], chosen[chosen >= 0]
    return Patch(pixels, np.searchsorted(pixels, chosen))
