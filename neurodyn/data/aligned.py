"""Frames around events: which stretch, which frames, and their values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import xarray as xr

from neurodyn.data.streaming import ChunkStore

BEFORE, AFTER = 1.0, 2.0  # s before the onset and after the end
NEAR = 0.75  # of a frame's duration: farther from a frame than this there is no datum
KEPT_BYTES, BLOCK_BYTES = 2**27, 2**26


@dataclass(frozen=True)
class Span:
    """The stretch around an onset, s: from `-before` to `after`, of which the event takes `event`."""

    before: float
    after: float
    event: float


def span_of(stimulus: xr.Dataset) -> Span:
    """Choose the stretch: a second before, two after the end, but not into the next event."""
    start, stop = stimulus["start"].values, stimulus["stop"].values
    gaps = np.diff(np.sort(start))
    gap = float(np.median(gaps[gaps > 0])) if (gaps > 0).any() else np.inf
    event = float(np.nanmedian(stop - start))
    return Span(min(BEFORE, gap / 2), min(event + AFTER, gap), event)


@dataclass(frozen=True)
class Frames:
    """The frames nearest to moments around onsets.

    Parameters
    ----------
    offset
        Moments, s from the onset, shape (sample,).
    index
        Frame of each, shape (event, sample).
    near
        Whether there is one, and not a gap or an end of the recording, shape (event, sample).
    """

    offset: np.ndarray
    index: np.ndarray
    near: np.ndarray

    def kept(self) -> Self:
        """Return the moments around the onset up to where no event has a frame, as between trials that lie end to end."""
        gone = ~self.near.any(axis=0)
        before = np.maximum.accumulate((gone & (self.offset < 0))[::-1])[::-1]
        some = ~(before | np.maximum.accumulate(gone & (self.offset >= 0)))
        return replace(self, offset=self.offset[some], index=self.index[:, some], near=self.near[:, some])

    def of(self, values: np.ndarray, first: int = 0) -> np.ndarray:
        """Return values at the frames, NaN where there is none, shape (event, sample, *space).

        Parameters
        ----------
        values
            Time first, floats.
        first
            Frame that `values` begins with.
        """
        near = self.near.reshape(*self.near.shape, *(1,) * (values.ndim - 1))
        return np.where(near, values[np.clip(self.index - first, 0, len(values) - 1)], np.float32(np.nan))


def frames_around(time: np.ndarray, onsets: np.ndarray, before: float, after: float) -> Frames:
    """Find the frames from `before` seconds before each onset to `after` seconds after it.

    Parameters
    ----------
    time
        Frame times, s, shape (time,).
    onsets
        s, shape (event,).
    """
    step = float(np.median(np.diff(time)))
    offset = np.arange(-round(before / step), max(1, round(after / step))) * step
    asked = onsets[:, None] + offset
    later = np.clip(np.searchsorted(time, asked), 1, time.size - 1)
    index = later - (asked - time[later - 1] < time[later] - asked)
    return Frames(offset, index, np.abs(time[index] - asked) <= NEAR * step)


def aligned_blocks(variable: xr.Variable, frames: Frames, bin: int = 1) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield a variable around events, block after block of them, each of bounded size.

    Parameters
    ----------
    variable
        Time first; read in stretches, each once where events are in order.
    bin
        Pixels of a movie that are averaged along y and along x.

    Yields
    ------
    slice
        Of events.
    np.ndarray
        float32, shape (event, sample, *space); NaN where there is no datum.
    """
    store = ChunkStore([variable], KEPT_BYTES)
    one = 4 * frames.offset.size * max(1, int(np.prod(variable.shape[1:], dtype=np.int64))) // bin**2
    step = max(1, BLOCK_BYTES // max(1, one))
    for begin in range(0, len(frames.index), step):
        events = slice(begin, min(begin + step, len(frames.index)))
        yield events, np.stack([_event(store, frames, event, bin) for event in range(events.start, events.stop)])


def _event(store: ChunkStore, frames: Frames, event: int, bin: int) -> np.ndarray:
    index, near = frames.index[event : event + 1], frames.near[event : event + 1]
    first = int(index.min())
    values = store.read(0, first, int(index.max()) + 1 - first)
    values = binned(values, bin) if bin > 1 else values.astype(np.float32, copy=False)
    return Frames(frames.offset, index, near).of(values, first)[0]


def binned(movie: np.ndarray, bin: int) -> np.ndarray:
    """Return means over squares of `bin` pixels, float32, shape (time, y // bin, x // bin); pixels left over are dropped."""
    time, y, x = len(movie), movie.shape[1] // bin, movie.shape[2] // bin
    whole = movie[:, : y * bin, : x * bin].astype(np.float32)
    return whole.reshape(time, y, bin, x, bin).mean(axis=(2, 4))
