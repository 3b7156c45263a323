"""What readers share: axes, interleaved channels, trials, frame times, brain masks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.damage import check_packed
from neurodyn.data.lazy import DiskArray, lazy
from neurodyn.data.recording import Recording, entry
from neurodyn.readers.images import mask_file
from neurodyn.readers.lazy_views import side_by_side
from neurodyn.readers.options import ReadOptions, VariablePlace
from neurodyn.readers.questions import Need, QuestionError

LOGGER = logging.getLogger(__name__)
AXES = ("trial", "time", "roi", "y", "x")
DEFAULT_AXES = {1: ("time",), 2: ("time", "roi"), 3: ("time", "y", "x")}
EVERYWHERE = frozenset({"indicator", "session", "units", "stimulus", "behavior", "frame_times", "rows", "columns"})


class View(DiskArray):
    """An array on disk seen as (time, roi) or (time, y, x), still on disk.

    Axes are reordered, every k-th frame is taken, trials are laid end to end.

    Parameters
    ----------
    source
        Anything with shape, dtype and basic slicing.
    axes
        Name of each axis of `source`.
    first, every
        First frame, and distance between frames.
    """

    def __init__(self, source: Any, axes: tuple[str, ...], first: int = 0, every: int = 1) -> None:
        size = dict(zip(axes, source.shape, strict=True))
        self.source, self.axes, self.first, self.every = source, axes, first, every
        self.space = ("y", "x") if "y" in size else ("roi",)
        self.trials = size.get("trial")
        self.frames = len(range(first, size["time"], every))
        shape = (self.frames * (self.trials or 1), *(size.get(axis, 1) for axis in self.space))
        super().__init__(shape, source.dtype)

    def _block(self, key: tuple[slice, ...]) -> np.ndarray:
        index: dict[str, Any] = dict(zip(self.space, key[1:], strict=True))
        if self.trials is None:
            return self._frames(index, key[0])
        rows, step = np.arange(self.shape[0])[key[0]], key[0].step
        blocks = []
        for stretch in np.split(rows, np.flatnonzero(np.diff(rows // self.frames)) + 1):
            trial, begin = divmod(int(stretch[0]), self.frames)
            inside = slice(begin, int(stretch[-1]) % self.frames + 1, step)
            blocks.append(self._frames(index | {"trial": trial}, inside))
        return np.concatenate(blocks)

    def _frames(self, index: Mapping[str, Any], rows: slice) -> np.ndarray:
        begin, end = self.first + rows.start * self.every, self.first + (rows.stop - 1) * self.every + 1
        where = dict(index) | {"time": slice(begin, end, rows.step * self.every)}
        values = np.asarray(self.source[tuple(where[axis] for axis in self.axes)])
        kept = [axis for axis in self.axes if axis != "trial"]
        values = values.transpose([kept.index(axis) for axis in ("time", *self.space) if axis in kept])
        return values if "roi" in kept or "y" in kept else values[:, None]


def parse_axes(text: str, ndim: int, name: str) -> tuple[str, ...]:
    """Read axis names such as "trial,roi,time"; by default (time, roi) or (time, y, x) by the number of axes.

    Raises
    ------
    DataError
        If they do not fit the array or the contract.
    """
    axes = tuple(text.replace(",", " ").split()) or DEFAULT_AXES.get(ndim, ())
    layout = set(axes) - {"trial"}
    right = layout in ({"time"}, {"time", "roi"}, {"time", "y", "x"}) and len(set(axes)) == len(axes) == ndim
    if not right or axes == ("trial", "time"):
        raise DataError(
            f"{name}: the axes do not fit the array.",
            f"Found {ndim} axes, named {', '.join(axes) or 'nothing'}; allowed: {', '.join(AXES)}.",
            "Name them in order, for example --axes trial,roi,time",
        )
    return axes


def wanted(options: ReadOptions) -> dict[str, VariablePlace]:
    """Return where each variable lies, from `variables`, from `channels`, or one `fluorescence`."""
    if options.channels:
        count = 1 if options.split else len(options.channels)
        return {name: VariablePlace(first=k % count, every=count) for k, name in enumerate(options.channels)}
    return dict(options.variables) or {"fluorescence": VariablePlace()}


def picture(source: Any, axes: tuple[str, ...], name: str, options: ReadOptions) -> Any:
    """Return the part of every frame that is the named channel's: all of it, unless channels lie side by side."""
    if options.split is None or options.split not in axes:
        return source
    return side_by_side(source, axes, options.split, options.channels.index(name), len(options.channels))


def check_interleaved(frames: int, options: ReadOptions, path: Path) -> None:
    """Refuse a frame count that the interleaved channels do not divide.

    Raises
    ------
    DataError
        A dropped or extra frame swaps the channels from there on.
    """
    count = 0 if options.split else len(options.channels)
    if count and frames % count:
        raise DataError(
            f"{path}: {frames} frames cannot be {count} interleaved channels.",
            f"{frames % count} frames are left over; a dropped frame swaps the channels from there on.",
            "Mend the file, or name the channels it has: --channels fluorescence,reference",
        )


def refuse_others(options: ReadOptions, reader: str, used: Iterable[str]) -> None:
    """Refuse options that a reader would not use.

    Raises
    ------
    ConfigError
        Naming them.
    """
    allowed = EVERYWHERE | set(used)
    strange = sorted(set(options.model_dump(exclude_defaults=True)) - allowed)
    if strange:
        raise ConfigError(
            f"The {reader} reader has no use for: {', '.join(strange)}.",
            f"It takes: {', '.join(sorted(allowed))}.",
            "Leave the others out, or name another reader: --reader NAME",
        )


class NoRateError(QuestionError):
    """The source does not say its frame rate (exit 3)."""


def regular_times(path: Path, frames: int, fs: float | None) -> np.ndarray:
    """Return frame times in seconds from the rate, shape (time,).

    Raises
    ------
    NoRateError
        If the rate is unknown.
    """
    if fs is None:
        raise NoRateError(
            f"{path} does not say its frame rate.",
            "Expected frames per second and channel, in Hz.",
            "Give it: --fs 30",
            need=Need("--fs HZ", "frames per second and channel are not in the file"),
            guess={"fs": 1.0},
        )
    check_packed(path, (frames,), np.uint8)
    return np.arange(frames) / fs


def trial_times(path: Path, view: View, options: ReadOptions) -> tuple[np.ndarray, np.ndarray]:
    """Lay trials end to end: frame times, shape (time,), and start of each trial, shape (trial,), in seconds.

    Raises
    ------
    DataError
        If the gap between trials is too short to be seen as one.
    """
    within = regular_times(path, view.frames, options.fs)
    fs = float(options.fs or 0)
    if options.trial_gap < 1 / fs:
        raise DataError(
            "trial_gap: too short to keep trials apart.",
            f"Found {options.trial_gap:g} s; one frame lasts {1 / fs:g} s.",
            f"Give at least one frame: --set source.trial_gap={1 / fs:g}",
        )
    begins = np.arange(view.trials or 0) * (view.frames / fs + options.trial_gap)
    return (begins[:, None] + within).ravel(), begins


def trial_table(view: View, begins: np.ndarray, options: ReadOptions, columns: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the stimulus table of trials, each column of shape (event,).

    Raises
    ------
    DataError
        If a column does not have one value per trial.
    """
    for name, column in columns.items():
        if np.shape(column) != begins.shape:
            raise DataError(
                f"trial_columns: '{name}' does not have one value per trial.",
                f"Found shape {np.shape(column)}; there are {begins.size} trials.",
                "Name a dataset with one value per trial.",
            )
    end = view.frames / float(options.fs or 1) if options.trial_stop is None else options.trial_stop
    return {"start": begins + options.trial_onset, "stop": begins + end} | columns


def same_length(views: dict[str, View], path: Path) -> dict[str, xr.Variable]:
    """Give every variable the same frames: a last frame that one channel lacks is dropped, with a warning.

    Raises
    ------
    DataError
        If the counts differ by more than one frame, or frames differ in trials.
    """
    counts = {name: view.shape[0] for name, view in views.items()}
    shortest = min(counts.values())
    trials = {(view.trials, view.frames if view.trials else None) for view in views.values()}
    if max(counts.values()) - shortest > 1 or len(trials) > 1:
        raise DataError(
            f"{path}: the variables do not have the same number of frames.",
            f"Found {', '.join(f'{name} {count}' for name, count in counts.items())}.",
            "Check first and every of each variable.",
        )
    if max(counts.values()) > shortest:
        LOGGER.warning("%s: the last frame of the longer channel has no partner and is left out.", path)
    return {name: lazy(("time", *view.space), view)[:shortest] for name, view in views.items()}


def brain_mask(
    path: Path, values: np.ndarray | None, options: ReadOptions, frame: tuple[int, ...]
) -> np.ndarray | None:
    """Return the brain mask, bool, shape (y, x), or None when none is asked for.

    Parameters
    ----------
    values
        The mask when it lies in the source itself; otherwise `options.brain` is read as an image file, looked for as
        given and beside the source.
    frame
        Shape of a frame; a mask finer by a whole factor is binned by majority.

    Raises
    ------
    DataError
        If the mask is missing or does not fit.
    """
    if options.brain is None:
        return None
    mask = (mask_file(path, options.brain) if values is None else np.asarray(values)) != 0
    factor = mask.shape[0] // frame[0] if mask.ndim == len(frame) == 2 else 0
    if factor < 1 or mask.shape != tuple(factor * n for n in frame):
        raise DataError(
            f"brain: the mask {options.brain} does not fit the frames.",
            f"Found shape {mask.shape}; frames have {frame}.",
            "Give a mask of the frame's shape, or finer by a whole factor.",
        )
    if factor > 1:
        LOGGER.info("The brain mask %s is binned %d x %d by majority.", options.brain, factor, factor)
        mask = mask.reshape(frame[0], factor, frame[1], factor).mean(axis=(1, 3)) >= 0.5
    return mask


def build(
    reader: str, path: Path, neural: Mapping[str, Any], time: np.ndarray, options: ReadOptions, **groups: Any
) -> Recording:
    """Build a Recording from a source: session, indicator, units and history come from the path and the options.

    Parameters
    ----------
    time
        Frame times in seconds, shape (time,).
    groups
        Further arguments of `Recording.from_arrays`.
    """
    for variable in neural.values():
        check_packed(path, variable.shape, variable.dtype)
    defaults = {
        "rate_hz": options.fs,
        "session": options.session or path.stem,
        "indicator": options.indicator,
        "history": [entry(f"read {reader}", options.model_dump(mode="json", exclude_defaults=True))],
        "attrs": {"source": path.name},
    }
    return Recording.from_arrays(neural, time=time, units=options.units, **(defaults | groups))
