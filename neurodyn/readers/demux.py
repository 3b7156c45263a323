"""Interleaved channels whose order dropped frames have broken: find each frame's channel, place it, fill the gaps."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.lazy import DiskArray, lazy
from neurodyn.data.recording import Recording
from neurodyn.readers.options import ReadOptions, VariablePlace

LOGGER = logging.getLogger(__name__)
BLOCK = 256
SIDE = 32
SAMPLES = 4  # blocks that noise is measured in
MOST_BRIGHT = 10.0
LEAST_MARGIN = 3.0
LONGEST_GAP = 10  # cycles; where frame times show more, recording paused, and nothing is filled in


class Placed(DiskArray):
    """A movie whose frames lie anywhere in another one; frames that were dropped are interpolated linearly in time.

    Parameters
    ----------
    source
        All frames of the file, sliced by time, shape (frame, y, x).
    places
        Frame of the source for each frame of this movie, -1 where it was dropped, shape (time,).
    """

    def __init__(self, source: Any, places: np.ndarray) -> None:
        super().__init__((places.size, *source.shape[1:]), source.dtype)
        self.source, self.places = source, places
        rows, there = np.arange(places.size), np.flatnonzero(places >= 0)
        after = np.minimum(np.searchsorted(there, rows), there.size - 1)
        before = np.maximum(np.searchsorted(there, rows, side="right") - 1, 0)
        self.left, self.right = there[before], there[after]
        span = np.maximum(self.right - self.left, 1)
        self.weight = np.clip((rows - self.left) / span, 0, 1)

    def _block(self, key: tuple[slice, ...]) -> np.ndarray:
        rows, space = np.arange(self.shape[0])[key[0]], key[1:]
        first = np.array(self.source[(self.places[self.left[rows]], *space)])
        gaps = np.flatnonzero(self.places[rows] < 0)
        if gaps.size:
            second = self.source[(self.places[self.right[rows[gaps]]], *space)].astype(np.float64)
            weight = self.weight[rows[gaps]].reshape(-1, *(1,) * (second.ndim - 1))
            filled = (1 - weight) * first[gaps] + weight * second
            first[gaps] = np.round(filled) if self.dtype.kind in "iu" else filled
        return first


class _Frames(DiskArray):
    """All frames of a lazily read variable, which may be asked for in any order without reading those between."""

    def __init__(self, variable: xr.Variable) -> None:
        super().__init__(variable.shape, variable.dtype)
        self.variable = variable

    def _block(self, key: tuple[slice, ...]) -> np.ndarray:
        return self.variable[key].values


def whole_stream(options: ReadOptions) -> ReadOptions:
    """Return the options that read every frame of the file in order, whatever its channel."""
    count = _count(options)
    variables = {name: place.model_copy(update={"first": 0, "every": 1}) for name, place in options.variables.items()}
    fs = None if options.fs is None or options.times else options.fs * count
    return options.model_copy(
        update={"channels": (), "variables": variables, "fs": fs, "demux": "order", "frame_channel": None}
    )


def demultiplex(stream: Recording, options: ReadOptions, path: Path, channel_of: np.ndarray | None) -> Recording:
    """Split a stream of interleaved frames into channels, each frame at its own place in time.

    Every frame gets a channel, from `channel_of` or by likeness; where the order of channels breaks, frames were
    dropped, and as many places stay empty as the order, or the frame times where the file has them, demand. Empty
    places are filled by linear interpolation between the channel's neighbours and marked in `qc/demux_dropped`, bool,
    shape (time, channel). Without frame times, a gap of whole cycles cannot be seen.

    Parameters
    ----------
    stream
        All frames in order, read with `whole_stream`.
    channel_of
        VariablePlace of each frame, counted from 0, shape (frame,); None finds it by likeness in pattern and brightness.

    Raises
    ------
    DataError
        If the channels cannot be told apart, or the table does not fit the frames.
    """
    count, names = _count(options), stream.variables
    source = {name: _Frames(stream.neural[name].variable) for name in names}
    probe = source[names[0]]
    channel, margin = (channel_of, None) if channel_of is not None else by_likeness(probe, count)
    if margin is not None:
        _sure(channel, margin, count, path)
    channel = _checked(channel, probe.shape[0], count, path)
    timed = options.times is not None
    cycle = cycles(channel, count, stream.time if timed else None)
    layout, begin = places(channel, cycle, count)
    dropped = layout < 0
    if dropped.any():
        what = (path, dropped.sum(), dropped.size, int(np.argmax(dropped.any(axis=1))))
        LOGGER.warning("%s: %d of %d frames were dropped, the first in cycle %d; they are interpolated.", *what)
    time = _times(stream.time, layout[:, 0]) if timed else (begin + np.arange(len(layout))) * count / stream.rate_hz
    neural = {}
    for name, place in _slots(options).items():
        first = source[name if name in source else names[0]]
        neural[name] = lazy(
            tuple(map(str, stream.neural[names[0]].dims)), Placed(first, layout[:, place.first % count])
        )
    qc = xr.Dataset({"demux_dropped": (("time_qc", "channel"), dropped, {"units": "bool"})})
    if margin is not None:
        qc["demux_certainty"] = (("frame_qc",), margin.astype(np.float32), {"units": "standard deviations"})
    return Recording.from_arrays(
        neural,
        time=time,
        rate_hz=None if timed else stream.rate_hz / count,
        session=stream.session,
        units=options.units,
        indicator=stream.indicator,
        stimulus=_columns(stream),
        brain=stream.brain,
        qc=qc,
        history=stream.history,
        attrs={str(key): value for key, value in stream.tree.attrs.items() if key == "source"},
    )


def by_likeness(frames: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Give each frame the channel whose last frame it is most like, in pattern and in brightness.

    As Lohani et al. (2022) do by correlation; the first `count` frames define the channels, in order. Frames are compared
    at about 32 x 32 pixels. Correlation and difference of brightness are taken in units of how much they vary between frames
    one cycle apart; brightness has a say of ten such units at most, so that a flash does not outvote the pattern.

    Returns
    -------
    channel
        Counted from 0, shape (frame,).
    margin
        Likeness to the chosen channel less that to the best other one, in those units, shape (frame,).
    """
    total, spread = frames.shape[0], _spread(frames, count)
    channel, margin = np.zeros(total, dtype=np.int64), np.zeros(total)
    last: tuple[np.ndarray, np.ndarray] | None = None
    for start in range(0, total, BLOCK):
        small, bright = _standardised(frames[(slice(start, start + BLOCK), slice(None), slice(None))])
        if last is None:
            last = small[:count].copy(), bright[:count].copy()
        for offset, frame in enumerate(small):
            apart = np.abs(last[1] - bright[offset]) / spread[1]
            score = last[0] @ frame / spread[0] - np.minimum(apart, MOST_BRIGHT)
            best = start + offset if start + offset < count else int(np.argmax(score))
            channel[start + offset] = best
            margin[start + offset] = score[best] - np.max(np.delete(score, best))
            last[0][best], last[1][best] = frame, bright[offset]
    return channel, margin


def _spread(frames: Any, count: int) -> tuple[float, float]:
    """Return how correlation and brightness vary between frames one cycle apart, as robust standard deviations."""
    total = frames.shape[0]
    likeness, brightness = [], []
    for start in np.unique(np.linspace(0, max(0, total - BLOCK), SAMPLES).astype(int)):
        small, bright = _standardised(frames[(slice(int(start), int(start) + BLOCK), slice(None), slice(None))])
        likeness.append((small[count:] * small[:-count]).sum(axis=1))
        brightness.append(bright[count:] - bright[:-count])
    level = max(float(np.abs(bright).max(initial=0)), 1.0)
    return _robust(np.concatenate(likeness), 1e-6), _robust(np.concatenate(brightness), 1e-6 * level)


def _robust(values: np.ndarray, least: float) -> float:
    middle = np.median(values) if values.size else 0.0
    return max(1.4826 * float(np.median(np.abs(values - middle))) if values.size else 0.0, least)


def _sure(channel: np.ndarray, margin: np.ndarray, count: int, path: Path) -> None:
    """Refuse channels that break their order where the frames themselves do not clearly say so."""
    broken = np.r_[False, np.diff(channel) % count != 1 % count]
    doubtful = broken & (margin < LEAST_MARGIN)
    if doubtful.any():
        raise DataError(
            f"{path}: the channels are too much alike to tell their frames apart.",
            f"{doubtful.sum()} of {channel.size} frames break the order without being clearly of another channel, the first is frame "
            f"{int(np.argmax(doubtful))}; expected a margin of {LEAST_MARGIN:g} standard deviations in pattern or brightness.",
            "Give a table of each frame's channel: --set source.demux=table --set source.frame_channel=DATASET",
        )


def cycles(channel: np.ndarray, count: int, time: np.ndarray | None = None) -> np.ndarray:
    """Return the cycle that each frame belongs to: a new one begins where the channel does not grow.

    Parameters
    ----------
    channel
        Shape (frame,).
    time
        Frame times, s; where given, the number of cycles between two frames follows from them.

    Returns
    -------
    np.ndarray
        From 0, shape (frame,).
    """
    wraps = (np.diff(channel) <= 0).astype(np.int64)
    if time is None or channel.size < 2 * count:
        return np.concatenate([[0], np.cumsum(wraps)])
    same = np.flatnonzero(channel[count:] == channel[:-count])
    period = float(np.median(time[same + count] - time[same]))
    steps, following = np.diff(time), np.diff(channel) == 1
    phase = np.zeros(count)
    for c in range(1, count):
        pairs = steps[following & (channel[1:] == c)]
        phase[c] = phase[c - 1] + (np.median(pairs) if pairs.size else period / count)
    passed = np.maximum(np.round((steps - np.diff(phase[channel])) / period).astype(np.int64), wraps)
    return np.concatenate([[0], np.cumsum(np.where(passed > LONGEST_GAP, 1, passed))])


def places(channel: np.ndarray, cycle: np.ndarray, count: int) -> tuple[np.ndarray, int]:
    """Return the frame at each cycle and channel, -1 where it was dropped, shape (cycle, channel), and the first cycle.

    Cycles before every channel was seen, and after one was seen last, are left out.
    """
    table = np.full((int(cycle[-1]) + 1, count), -1, dtype=np.int64)
    table[cycle, channel] = np.arange(channel.size)
    there = table >= 0
    begin = int(np.argmax(there, axis=0).max())
    end = len(table) - int(np.argmax(there[::-1], axis=0).max())
    return table[begin:end], begin


def _standardised(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return frames of unit norm and zero mean at about 32 × 32 pixels, shape (frame, pixel), and their means."""
    step = [max(1, size // SIDE) for size in frames.shape[1:]]
    rows, columns = (size // k * k for size, k in zip(frames.shape[1:], step, strict=True))
    cut = frames[:, :rows, :columns].reshape(len(frames), rows // step[0], step[0], columns // step[1], step[1])
    small = cut.mean(axis=(2, 4), dtype=np.float64).reshape(len(frames), -1)
    bright = small.mean(axis=1)
    small -= bright[:, None]
    return small / np.maximum(np.linalg.norm(small, axis=1, keepdims=True), np.finfo(np.float64).tiny), bright


def _checked(channel: np.ndarray, frames: int, count: int, path: Path) -> np.ndarray:
    channel = np.asarray(channel).astype(np.int64).ravel()
    if channel.size != frames or channel.min() < 0 or set(np.unique(channel)) != set(range(count)):
        raise DataError(
            f"{path}: the channels of the frames cannot be told.",
            f"Found {channel.size} entries with values {np.unique(channel)[:6].tolist()} for {frames} frames; expected 0 to {count - 1}, each at least once.",
            "Check the number of channels, or give a table: --set source.demux=table --set source.frame_channel=DATASET",
        )
    return channel


def _count(options: ReadOptions) -> int:
    every = {place.every for place in options.variables.values()}
    count = len(options.channels) or (max(every) if len(every) == 1 else 0)
    if count < 2:
        raise ConfigError(
            "demux: there are no interleaved channels to separate.",
            "Expected two or more channels, or variables that share one 'every'.",
            "Name them in order: --channels fluorescence,reference",
        )
    return count


def _slots(options: ReadOptions) -> dict[str, VariablePlace]:
    if options.channels:
        return {name: VariablePlace(first=k) for k, name in enumerate(options.channels)}
    return dict(options.variables)


def _times(time: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Return the times of a channel's frames, interpolated where they were dropped, s."""
    there = np.flatnonzero(frames >= 0)
    inside = np.interp(np.arange(frames.size), there, time[frames[there]])
    period = float(np.median(np.diff(time[frames[there]]) / np.diff(there)))
    for outside, edge in ((np.arange(there[0]), there[0]), (np.arange(there[-1] + 1, frames.size), there[-1])):
        inside[outside] = inside[edge] + (outside - edge) * period
    return inside


def _columns(stream: Recording) -> dict[str, np.ndarray] | None:
    table = stream.table("stimulus")
    return None if table is None else {str(name): column.values for name, column in table.data_vars.items()}
