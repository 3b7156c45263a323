"""How the axes of a plain array lie: as told, as its file names them; else what speaks for one way, and the question."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurodyn.readers.options import ReadOptions
from neurodyn.readers.questions import Need, QuestionError
from neurodyn.readers.sources import parse_axes

LOGGER = logging.getLogger(__name__)
SMALLEST_PICTURE = 16  # pixels along an edge
MANY_TIMES = 4  # a last axis so much longer than the two before it is time
CALLED = {
    "trial": ("trial", "trials", "repeat", "repeats"),
    "time": ("time", "times", "t", "frame", "frames", "sample", "samples", "timestep", "timepoint", "timepoints"),
    "roi": ("roi", "rois", "cell", "cells", "neuron", "neurons", "unit", "units", "unit_id", "cell_id", "roi_id",
            "component", "components", "trace", "traces"),
    "y": ("y", "height", "row", "rows"),
    "x": ("x", "width", "column", "columns", "col"),
}  # fmt: skip
AXIS_OF = {word: axis for axis, words in CALLED.items() for word in words}
ROI_BY_TIME = {
    "suite2p": ("F", "Fneu", "spks", "F_chan2", "Fneu_chan2"),
    "CaImAn": ("C", "S", "YrA", "F_dff", "C_raw", "C_dec", "S_dec"),
}
PROGRAM_OF = {name: program for program, names in ROI_BY_TIME.items() for name in names}


@dataclass(frozen=True)
class Lay:
    """How an array lies.

    Parameters
    ----------
    axes
        Name of each axis.
    words
        What they were taken from; nothing where they were told.
    """

    axes: tuple[str, ...]
    words: str = ""


def lay_of(path: Path, variable: str, key: str, arrays: Mapping[str, Any], options: ReadOptions) -> Lay:
    """Return the axes of an array.

    Parameters
    ----------
    variable
        What it becomes.
    key
        Its name among `arrays`, the others of which may speak for one way.

    Raises
    ------
    DataError
        If the axes told do not fit.
    QuestionError
        If they are not told and the array looks as if it lay otherwise than (time, roi) or (time, y, x).
    """
    array, place = arrays[key], options.variables.get(variable)
    text = (place.axes if place else "") or options.axes
    if text or len(array.shape) not in (2, 3):
        return Lay(parse_axes(text, len(array.shape), variable))
    names = named_axes(array)
    if names is not None:
        return Lay(names, f"the axes of {key} are {', '.join(names)}, as the file names them")
    guess, why = _likeliest(key, array, arrays)
    if guess != _default(array):
        raise _question(path, variable, key, array, options, guess, why)
    axes = tuple(guess.split(","))
    if len(axes) == 3 or why:
        return Lay(axes, f"the axes of {key} are taken as {', '.join(axes)}{f': {why}' if why else ''}")
    frames, rois = array.shape
    words = f"the axes of {key} are taken as time, roi: {frames} frames of {rois} ROIs; else --axes roi,time"
    LOGGER.warning("%s: %s", path.name, words)
    return Lay(axes, words)


def named_axes(array: Any) -> tuple[str, ...] | None:
    """Return the axes by the names that the file gives them; None where one is missing or is called otherwise."""
    names = [AXIS_OF.get(str(name).rpartition("/")[2].strip().lower()) for name in getattr(array, "dims", None) or ()]
    axes = tuple(name for name in names if name)
    right = set(axes) - {"trial"} in ({"time", "roi"}, {"time", "y", "x"})
    return axes if right and len(set(axes)) == len(axes) == len(array.shape) else None


def _question(
    path: Path, variable: str, key: str, array: Any, options: ReadOptions, guess: str, why: str
) -> QuestionError:
    place = options.variables.get(variable) if len(options.variables) > 1 else None
    option = f"--axes {guess}" if place is None else f"--set source.variables.{variable}.axes={guess}"
    told: dict[str, Any] = {"axes": guess}
    if place is not None:
        told = {"variables": options.variables | {variable: place.model_copy(update={"axes": guess})}}
    shape = " x ".join(map(str, array.shape))
    default = _default(array)
    return QuestionError(
        f"{path}: nothing says how the axes of {key} lie.",
        f"Found {shape}, which as {default} would be {array.shape[0]} frames; but {why}.",
        f"Say it: {option}, or {option.replace(guess, default)}",
        need=Need(option, why),
        guess=told,
    )


def _default(array: Any) -> str:
    return "time,roi" if len(array.shape) == 2 else "time,y,x"


def _likeliest(key: str, array: Any, arrays: Mapping[str, Any]) -> tuple[str, str]:
    """Guess the axes of an array by those that go with it in the file, its name, its lengths; and say what speaks for it."""
    shape = tuple(array.shape)
    times = axis_of(shape, arrays, increases)
    if len(shape) == 3:
        return _of_three(shape, arrays, times)
    if times is not None:
        return ("roi,time" if times[0] else "time,roi"), f"{times[1]} has as many times"
    program = PROGRAM_OF.get(key.rpartition("/")[2])
    if program is not None:
        return "roi,time", f"{program} calls its ROI by time arrays so"
    return ("roi,time", f"{shape[1]} is the longer axis") if shape[1] > shape[0] else ("time,roi", "")


def _of_three(shape: tuple[int, ...], arrays: Mapping[str, Any], times: tuple[int, str] | None) -> tuple[str, str]:
    if times is None:
        square = shape[0] == shape[1] != shape[2] and shape[0] >= SMALLEST_PICTURE
        if square or shape[2] >= MANY_TIMES * max(shape[:2]):
            return "y,x,time", f"its first two axes look like pictures of {shape[0]} x {shape[1]} pixels"
        return "time,y,x", ""
    axis, by = times
    named = axis_of(shape, arrays, lambda one: np.dtype(one.dtype).kind in "USO")
    rest = [k for k in range(3) if k != axis]
    roi = named[0] if named is not None and named[0] in rest else rest[-1]
    names = {axis: "time", roi: "roi"}
    if axis == 0 and named is None:
        return "time,y,x", ""
    told = f"; {named[1]} names {shape[roi]} ROIs" if named is not None and named[0] in rest else ""
    return ",".join(names.get(k, "trial") for k in range(3)), f"{by} has {shape[axis]} times{told}"


def axis_of(shape: tuple[int, ...], arrays: Mapping[str, Any], fits: Callable[[Any], bool]) -> tuple[int, str] | None:
    """Return the one axis of that length for which the file has such a list, and the list's name."""
    for name, one in arrays.items():
        if len(one.shape) == 1 and shape.count(one.shape[0]) == 1 and fits(one):
            return shape.index(one.shape[0]), name
    return None


def increases(array: Any) -> bool:
    """Say whether an array is a list of times: floating-point numbers that increase."""
    if len(array.shape) != 1 or array.shape[0] < 2 or np.dtype(array.dtype).kind != "f":
        return False
    steps = np.diff(np.asarray(array[:]))
    return bool(np.isfinite(steps).all() and np.greater(steps, 0).all())


def ask_for_times(path: Path, arrays: Mapping[str, Any], frames: int, options: ReadOptions) -> None:
    """Ask whether a list in the file is that of the frame times, where nothing says the rate.

    Raises
    ------
    QuestionError
        If there is such a list.
    """
    if options.fs is not None or options.times is not None:
        return
    times = next((name for name, one in arrays.items() if one.shape == (frames,) and increases(one)), None)
    if times is not None:
        raise QuestionError(
            f"{path} does not say its frame rate.",
            f"Found {times}, {frames} times that increase, one for every frame.",
            f"Take them: --set source.times={times}; or give the rate: --fs 30",
            need=Need(f"--set source.times={times}", f"{times} has a time for every frame"),
            guess={"times": times},
        )
