"""Named arrays on disk, of any container, whose axes and rate the user names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.clock import UNIT_OF, seconds
from neurodyn.data.recording import Recording
from neurodyn.readers.array_axes import ask_for_times, lay_of
from neurodyn.readers.base import Reader
from neurodyn.readers.containers.hdf5 import Hdf5Array
from neurodyn.readers.lazy_views import Unfolded
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.signals import question_rate
from neurodyn.readers.sources import (
    View,
    brain_mask,
    build,
    check_interleaved,
    picture,
    refuse_others,
    regular_times,
    same_length,
    trial_table,
    trial_times,
    wanted,
)

USUAL_KEYS = ("mov", "data", "frames")
OPTIONS = frozenset(
    {"fs", "channels", "variables", "axes", "key", "times", "times_unit", "brain", "split", "frame"}
    | {"trial_onset", "trial_stop", "trial_gap", "trial_columns"}
)


class ArraysReader(Reader):
    """Reads arrays of a container, whose axes and rate the user names in the options."""

    name: ClassVar[str]

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily."""
        refuse_others(options, cls.name, OPTIONS)
        return read_arrays(cls.name, path, cls.arrays(path), options)


def read_arrays(reader: str, path: Path, arrays: Mapping[str, Any], options: ReadOptions) -> Recording:
    """Build a Recording from named arrays on disk.

    Raises
    ------
    DataError
        If a name is missing or ambiguous, axes do not fit, or the rate is unknown.
    """
    views, words = _views(path, arrays, options)
    neural = same_length(views, path)
    first = next(iter(views.values()))
    place = next(iter(wanted(options).values()))
    frames = next(iter(neural.values())).shape[0]
    groups: dict[str, Any] = {}
    if first.trials is not None:
        time, begins = trial_times(path, first, options)
        columns = {name: _column(path, arrays, key) for name, key in options.trial_columns.items()}
        groups["stimulus"] = trial_table(first, begins, options, columns)
    elif options.times is None:
        ask_for_times(path, arrays, first.source.shape[first.axes.index("time")], options)
        time = regular_times(path, frames, options.fs)
    else:
        every_frame = _own_times(path, arrays, options.times, first, options)
        time = every_frame[place.first :: place.every][:frames]
        if options.fs is None and options.times_unit is None and time.size > 1:
            rate = float(1 / np.median(np.diff(time)))
            question_rate(options.times, rate, "source.times_unit", lambda unit: {"times_unit": unit})
    _check_trial_options(options, first)
    if options.brain is not None:
        inside = arrays[options.brain][:] if options.brain in arrays else None
        groups["brain"] = brain_mask(path, inside, options, first.shape[1:])
    attrs = {"source": path.name} | ({"layout": "; ".join(words)} if words else {})
    return build(reader, path, neural, time, options, attrs=attrs, **groups)


def _views(path: Path, arrays: Mapping[str, Any], options: ReadOptions) -> tuple[dict[str, View], list[str]]:
    """Return the arrays as recordings have them, and in words what their axes were taken from where that was not told."""
    views, words = {}, []
    for name, place in wanted(options).items():
        key = name_of(arrays, pick(path, arrays, place.key or options.key))
        lay = lay_of(path, name, key, arrays, options)
        words += [lay.words] if lay.words and lay.words not in words else []
        array, axes = _unfolded(path, arrays[key], lay.axes, options)
        check_interleaved(array.shape[axes.index("time")], options, path)
        views[name] = View(picture(array, axes, name, options), axes, place.first, place.every)
    return views, words


def name_of(arrays: Mapping[str, Any], picked: Any) -> str:
    """Return the name of one of the arrays."""
    return next(name for name, array in arrays.items() if array is picked)


def _unfolded(path: Path, array: Any, axes: tuple[str, ...], options: ReadOptions) -> tuple[Any, tuple[str, ...]]:
    if options.frame is None:
        return array, axes
    axis = axes.index("roi") if len(axes) == 2 and "roi" in axes else 0
    if "roi" not in axes or len(axes) != 2 or array.shape[axis] != options.frame[0] * options.frame[1]:
        raise DataError(
            f"frame: {options.frame[0]} rows of {options.frame[1]} pixels do not make up the frames.",
            f"The array in {path.name} has shape {tuple(array.shape)}, axes {', '.join(axes)}.",
            "Give rows and columns whose product is its number of pixels, and --axes roi,time or time,roi",
        )
    return Unfolded(array, axis, options.frame), (*axes[:axis], "x", "y", *axes[axis + 1 :])


def pick(path: Path, arrays: Mapping[str, Any], key: str | None) -> Any:
    """Return a numeric array by name; else the only one with two or more axes, or one of the usual names.

    Raises
    ------
    DataError
        Listing the arrays with their shapes.
    """
    numeric = {name: array for name, array in arrays.items() if np.dtype(array.dtype).kind in "buif"}
    large = [name for name, array in numeric.items() if len(array.shape) > 1]
    usual = [name for name in USUAL_KEYS if name in large]
    name = key.strip("/") if key else (large[0] if len(large) == 1 else "".join(usual[:1]))
    if name in numeric:
        return numeric[name]
    listed = ", ".join(f"{n} {tuple(a.shape)} {np.dtype(a.dtype)}" for n, a in list(arrays.items())[:12])
    more = f" and {len(arrays) - 12} more" if len(arrays) > 12 else ""
    what = f"has no numeric array '{name}'" if key else "does not say which array to read"
    raise DataError(f"{path} {what}.", f"Found: {listed or 'no arrays'}{more}.", "Name one: --key NAME")


def _column(path: Path, arrays: Mapping[str, Any], key: str) -> np.ndarray:
    array = arrays.get(key.strip("/"))
    if isinstance(array, Hdf5Array) and h5py.check_string_dtype(array.dtype):
        return array.text()
    if array is not None and np.dtype(array.dtype).kind == "U":
        return np.asarray(array[:])
    return np.asarray(pick(path, arrays, key)[:])


def _own_times(path: Path, arrays: Mapping[str, Any], key: str, view: View, options: ReadOptions) -> np.ndarray:
    """Return the time of every frame in the file, s, shape (frame,)."""
    array = pick(path, arrays, key)
    said = getattr(array, "units", None)
    said = UNIT_OF.get(said.decode() if isinstance(said, bytes) else str(said))
    times = seconds(np.asarray(array[:], dtype=np.float64).ravel(), key, options.times_unit, said)
    frames = view.source.shape[view.axes.index("time")]
    if times.size != frames:
        raise DataError(
            f"{path}: the frame times do not fit the frames.",
            f"Found {times.size} times; the array has {frames} frames.",
            "Name the times of all frames in the file, or give --fs alone.",
        )
    return times


def _check_trial_options(options: ReadOptions, view: View) -> None:
    given = sorted(name for name in options.model_dump(exclude_defaults=True) if name.startswith("trial_"))
    if given and view.trials is None:
        raise ConfigError(
            f"{', '.join(given)}: the array has no trial axis.",
            f"Its axes are {', '.join(view.axes)}.",
            "Name one, for example --axes trial,roi,time",
        )
    if options.times is not None and view.trials is not None:
        raise ConfigError(
            "times: trials have no common frame times.", "The array has a trial axis.", "Give --fs and trial_gap."
        )
