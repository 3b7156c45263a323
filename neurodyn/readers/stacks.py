"""Movies whose file knows its channels and planes: which of them become variables, and at what rate."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.data.schema import RATE_TOLERANCE
from neurodyn.readers.lazy_views import Part
from neurodyn.readers.options import ReadOptions, VariablePlace
from neurodyn.readers.questions import Need, QuestionError, which_one
from neurodyn.readers.sources import (
    View,
    brain_mask,
    build,
    check_interleaved,
    picture,
    regular_times,
    same_length,
    wanted,
)

LOGGER = logging.getLogger(__name__)
OPTIONS = frozenset({"fs", "channels", "split", "plane", "brain"})
FRAME = ("time", "y", "x")


@dataclass(frozen=True)
class Stack:
    """What a file says of its movie.

    Parameters
    ----------
    frames
        VariablePlace and plane, both from 0 -> array on disk, shape (time, y, x).
    channels, planes
        How many the file says it has.
    rate_hz
        Frames per second, channel and plane; where `slots` tell of bursts, within one.
    slots
        Plane -> when each of its frames was taken, in frames at `rate_hz`, shape (time,); None where one follows the
        other.
    times
        Plane -> when each of its frames was taken, s, shape (time,), where the file says so.
    layout
        What the frames were recognised as, and by what.
    losses
        Frames that are missing or left out, in words, to be told once the recording is read.
    """

    frames: Callable[[int, int], Any]
    channels: int = 1
    planes: int = 1
    rate_hz: float | None = None
    slots: Callable[[int], np.ndarray] | None = None
    times: Callable[[int], np.ndarray] | None = None
    layout: str = ""
    losses: tuple[str, ...] = ()


def of_array(array: Any, axes: tuple[str, ...], rate_hz: float | None = None) -> Stack:
    """Return a stack over an array on disk with axes time, y, x and perhaps channel and plane; other axes have one entry."""
    sizes = dict(zip(axes, array.shape, strict=True))

    def frames(channel: int, plane: int) -> Any:
        fixed = {"channel": channel, "plane": plane}
        picks = tuple(range(size) if axis in FRAME else fixed.get(axis, 0) for axis, size in sizes.items())
        return Part(array, picks)

    return Stack(frames, sizes.get("channel", 1), sizes.get("plane", 1), rate_hz)


def read_stack(reader: str, path: Path, stack: Stack, options: ReadOptions, **groups: Any) -> Recording:
    """Build a Recording from a stack: its own channels by the names given, else one movie, perhaps of interleaved channels.

    Raises
    ------
    DataError
        If the names do not fit the channels, a plane must be chosen, or the rate is unknown.
    """
    plane = _plane(path, stack.planes, options)
    if stack.channels > 1:
        _check_names(path, stack.channels, options)
        views = {name: View(stack.frames(k, plane), FRAME) for k, name in enumerate(options.channels)}
    else:
        movie = stack.frames(0, plane)
        check_interleaved(movie.shape[0], options, path)
        views = {
            name: View(picture(movie, FRAME, name, options), FRAME, place.first, place.every)
            for name, place in wanted(options).items()
        }
    neural = same_length(views, path)
    first = next(iter(neural.values()))
    time, fs = clock(path, stack, plane, options, first.shape[0])
    groups["brain"] = brain_mask(path, None, options, first.shape[1:])
    if stack.layout:
        groups["attrs"] = {"source": path.name, "layout": stack.layout}
    recording = build(reader, path, neural, time, options, rate_hz=fs, **groups)
    for loss in stack.losses:  # last, for a question may come first, and is followed by another look
        LOGGER.warning("%s: %s.", path, loss)
    return recording


def clock(path: Path, stack: Stack, plane: int, options: ReadOptions, frames: int) -> tuple[np.ndarray, float | None]:
    """Return the frames' times, s, shape (time,), and their rate: as the file tells them, unless another rate is given.

    Raises
    ------
    QuestionError
        If the file tells neither.
    """
    place = VariablePlace() if stack.channels > 1 else next(iter(wanted(options).values()))
    fs = rate(path, stack, options)
    if stack.times is not None and frames > 1:
        times = stack.times(plane)[place.first :: place.every][:frames]
        measured = float(1 / np.median(np.diff(times)))
        if options.fs is None:
            return times, fs if fs and abs(fs / measured - 1) <= RATE_TOLERANCE else measured
        if abs(options.fs / measured - 1) <= RATE_TOLERANCE:
            return times, options.fs
        LOGGER.warning("%s tells times at %g Hz; the given %g Hz is used.", path, measured, options.fs)
    regular = regular_times(path, frames, fs)
    if stack.slots is None or fs is None:
        return regular, fs
    times = stack.slots(plane)[place.first :: place.every][:frames] / (fs * place.every)
    step = float(np.median(np.diff(times))) if frames > 1 else 1 / fs
    return times, fs if abs(step * fs - 1) <= RATE_TOLERANCE else 1 / step


def _plane(path: Path, planes: int, options: ReadOptions) -> int:
    chosen = 0 if options.plane is None and planes == 1 else options.plane
    if chosen is None:
        found, why = f"plane none; expected 0 to {planes - 1}", f"one of {planes} planes, 0 to {planes - 1}"
        raise which_one(path, f"{planes} planes", found, "--set source.plane=0", why, {"plane": 0})
    if chosen >= planes:
        raise DataError(
            f"{path} has {planes} plane{'s' * (planes > 1)}; one must be chosen.",
            f"Found plane {chosen}; expected 0 to {planes - 1}.",
            "Choose another: --set source.plane=0",
        )
    return chosen


def _check_names(path: Path, channels: int, options: ReadOptions) -> None:
    if len(options.channels) == channels and not options.split:
        return
    names = ("fluorescence", "reference", "red", "other")[:channels]
    names += tuple(f"channel{k}" for k in range(len(names), channels))
    raise QuestionError(
        f"{path} has {channels} channels; each needs a name.",
        f"Found {', '.join(options.channels) or 'no names'}{', lying side by side' if options.split else ''}.",
        f"Name them in order: --channels {','.join(names)}",
        need=Need(f"--channels {','.join(names)}", f"{channels} channels; name them in their order"),
        guess={"channels": names, "split": None},
    )


def rate(path: Path, stack: Stack, options: ReadOptions) -> float | None:
    """Return the rate given, else the file's own, which says nothing of channels it does not know."""
    interleaved = stack.channels == 1 and any(place.every > 1 for place in wanted(options).values())
    said = None if interleaved or not stack.rate_hz or not np.isfinite(stack.rate_hz) else stack.rate_hz
    if options.fs and said and abs(options.fs / said - 1) > RATE_TOLERANCE:
        LOGGER.warning("%s says %g Hz; the given %g Hz is used.", path, said, options.fs)
    return options.fs or said
