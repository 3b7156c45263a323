"""What a source holds, read as far as it says how; and what it has to be told before it is a recording."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.data.arrays import pick
from neurodyn.data.questions import Need, QuestionError
from neurodyn.data.readers import ReadOptions, find_reader, read
from neurodyn.data.recording import Recording
from neurodyn.data.sources import NoRateError, parse_axes

RATE_NAME = re.compile(r"(^|_|/)(fs|rate|hz|framerate|frame_rate)|fs$|hz$", re.IGNORECASE)
STEP_NAME = re.compile(r"(^|_|/)dt$", re.IGNORECASE)
ACTIVITY = re.compile(r"neural|calcium|gcamp|fluor|df|trace|activ|spike|cell|neuron|movie|camera|frames", re.IGNORECASE)
SMALLEST_PICTURE = 16  # pixels along an edge


@dataclass(frozen=True)
class Survey:
    """What a source holds.

    Parameters
    ----------
    format
        Name of the reader, or what else it is.
    arrays
        Name -> shape and type, of containers of arrays.
    needs
        What has to be told; the recording is read as if it had been, where that can be guessed.
    notes
        What else was seen.
    recording
        None where there is nothing to read as one.
    rate_known
        Whether times are seconds; else frames count as if they lasted one.
    """

    format: str
    arrays: dict[str, str] = field(default_factory=dict)
    needs: list[Need] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    recording: Recording | None = None
    rate_known: bool = True


def survey(path: Path, options: ReadOptions, reader: str | None = None) -> Survey:
    """Look at any file or folder.

    Raises
    ------
    DataError
        If it is damaged, or in no format neurodyn knows.
    """
    if (other := _no_recording(path)) is not None:
        return other
    name, found = find_reader(path, reader)
    arrays = found.arrays(path)
    if not arrays:
        return _read(Survey(name), path, options, name)
    listed = {key: f"{tuple(map(int, array.shape))} {np.dtype(array.dtype)}" for key, array in arrays.items()}
    needs, notes, told = _layout(path, arrays, options)
    if told is None:
        return Survey(name, listed, needs, notes)
    return _read(Survey(name, listed, needs, notes), path, told, name, arrays)


def _read(
    seen: Survey, path: Path, options: ReadOptions, reader: str, arrays: Mapping[str, Any] | None = None
) -> Survey:
    needs, notes, known = list(seen.needs), list(seen.notes), True
    recording = None
    while recording is None:
        try:
            recording = read(path, options, reader)
        except QuestionError as question:
            answered = options.model_copy(update=question.guess)
            if answered == options:  # its own guess does not answer it
                raise
            known = known and not isinstance(question, NoRateError)
            needs.append(_rate(arrays or {}) if isinstance(question, NoRateError) else question.need)
            options = answered
    if recording.time.size == 1 and all(recording[name].ndim == 3 for name in recording.variables):
        return Survey(f"{reader}, one picture", notes=[
            f"One picture of {' x '.join(map(str, recording[recording.variables[0]].shape[1:]))} pixels, no movie. "
            f"As a brain mask: --brain {path.name}"
        ])  # fmt: skip
    return Survey(seen.format, seen.arrays, needs, notes, recording, known)


def _no_recording(path: Path) -> Survey | None:
    """Say what a path is that is no recording but belongs to neurodyn's work; None for all others."""
    if (path / "config.yaml").is_file() and (path / "status.json").is_file():
        return Survey("run folder", notes=[f"A trained model. See: neurodyn status {path.parent}"])
    if path.suffix == ".json" and path.is_file():
        from neurodyn.data.regions import read_regions

        count = len(read_regions(path).centres)
        notes = [f"{count} regions of interest as neurofinder writes them, no recording.", "As truth for found ROIs: "
                 f"neurodyn evaluate rois.zarr --metric rois --regions {path.name}"]  # fmt: skip
        return Survey("regions", notes=notes)
    if path.is_file() and path.name == "scores.csv":
        return Survey("scores", notes=["A table of scores. See: neurodyn compare, neurodyn report"])
    return None


def _layout(
    path: Path, arrays: Mapping[str, Any], options: ReadOptions
) -> tuple[list[Need], list[str], ReadOptions | None]:
    """Guess which array is the recording and how it lies; return needs, notes, and options as if told."""
    if options.variables or options.channels:
        return [], [], options
    large = {name: array for name, array in arrays.items() if _is_table(array)}
    if options.key is None and not large:
        return [], _of_vectors(path, arrays), None
    name, needs = _choice(path, arrays, large, options.key)
    array = arrays[name]
    axes, why = (options.axes, "") if options.axes else _axes(array, arrays)
    parsed = parse_axes(axes, len(array.shape), name)
    if not options.axes and axes != _default(array):
        needs.append(Need(f"--axes {axes}", why))
    told = options.model_copy(update={"key": name, "axes": axes})
    frames = array.shape[parsed.index("time")]
    times = next((key for key, one in arrays.items() if one.shape == (frames,) and _increases(one)), None)
    if options.fs is None and options.times is None and times is not None and "trial" not in parsed:
        needs.append(Need(f"--set source.times={times}", f"{times} has a time for every frame"))
        told = told.model_copy(update={"times": times})
    return needs, _of_array(name, arrays, frames, bool(options.axes)), told


def _choice(path: Path, arrays: Mapping[str, Any], large: Mapping[str, Any], key: str | None) -> tuple[str, list[Need]]:
    """Return the array that is read, and that it has to be named where several could be meant."""
    try:
        picked = pick(path, arrays, key)
    except DataError:
        if key is not None:
            raise
        name, why = _likeliest(large)
        return name, [Need(f"--key {name}", why)]
    return next(name for name, array in arrays.items() if array is picked), []


def _of_vectors(path: Path, arrays: Mapping[str, Any]) -> list[str]:
    notes = ["No array here has two axes or more; none can be a recording."]
    courses = [name for name, array in arrays.items() if len(array.shape) == 1][:4]
    if courses:
        notes.append(f"As behaviour beside one: --set source.behavior.file={path.name} ({', '.join(courses)}, …)")
    return notes


def _of_array(name: str, arrays: Mapping[str, Any], frames: int, axes_told: bool) -> list[str]:
    """Say what speaks against reading an array as it is read."""
    array, notes = arrays[name], []
    if not axes_told and len(array.shape) == 3 and min(array.shape[1:]) < SMALLEST_PICTURE:
        notes.append(f"{name} may be no movie; its axes are told by --axes, for example trial,roi,time.")
    for key, one in arrays.items():
        if one.shape == (frames,) and np.dtype(one.dtype) == bool:
            notes.append(
                f"{key} marks {int(np.count_nonzero(one[:]))} of {frames} frames: if these are another channel's, say "
                "--channels fluorescence,reference in the order of the frames"
            )
    if np.dtype(array.dtype).kind == "f" and "fluorescence" not in name.lower():
        notes.append(
            f"Values are taken for fluorescence, counts. Where they are ΔF/F: --set source.variables.dff.key={name} "
            "with axes beside it: --set source.variables.dff.axes=…"
        )
    return notes


def _is_table(array: Any) -> bool:
    return np.dtype(array.dtype).kind in "iuf" and len(array.shape) in (2, 3) and min(array.shape) > 0


def _likeliest(large: Mapping[str, Any]) -> tuple[str, str]:
    """Return the largest array among those called after activity, else among all, and what speaks for it."""
    called = {name: array for name, array in large.items() if ACTIVITY.search(name)}
    size = {name: int(np.prod(array.shape)) for name, array in (called or large).items()}
    most = max(size.values())
    names = [name for name in size if size[name] == most]
    listed = ", ".join(names[:4]) + (" and more" if len(names) > 4 else "")
    why = "the largest with such a name" if called else "the largest"
    return names[0], f"{len(large)} arrays could be the recording; {why}: {listed}"


def _axes(array: Any, arrays: Mapping[str, Any]) -> tuple[str, str]:
    """Guess the axes of an array by those that go with it in the file, else by their lengths."""
    shape = tuple(array.shape)
    times = _axis_of(shape, arrays, _increases)
    if len(shape) == 2:
        if times is None:
            longer = int(shape[1] > shape[0])
            return ("roi,time", f"{shape[1]} is the longer axis") if longer else ("time,roi", "")
        return ("roi,time", "as many times") if times[0] == 1 else ("time,roi", "")
    if times is None:
        return "time,y,x", ""
    axis, by = times
    named = _axis_of(shape, arrays, lambda one: np.dtype(one.dtype).kind in "USO")
    rest = [k for k in range(3) if k != axis]
    roi = named[0] if named is not None and named[0] in rest else rest[-1]
    names = {axis: "time", roi: "roi"}
    guess = ",".join(names.get(k, "trial") for k in range(3))
    if axis == 0 and named is None and min(shape[1:]) >= SMALLEST_PICTURE:
        return "time,y,x", ""
    told = f"; {named[1]} names {shape[roi]} ROIs" if named is not None and named[0] in rest else ""
    return guess, f"{by} has {shape[axis]} times{told}"


def _axis_of(shape: tuple[int, ...], arrays: Mapping[str, Any], fits: Callable[[Any], bool]) -> tuple[int, str] | None:
    """Return the one axis of that length for which the file has such a list, and the list's name."""
    for name, one in arrays.items():
        if len(one.shape) == 1 and shape.count(one.shape[0]) == 1 and fits(one):
            return shape.index(one.shape[0]), name
    return None


def _increases(array: Any) -> bool:
    """Say whether an array is a list of times: floating-point numbers that increase."""
    if len(array.shape) != 1 or array.shape[0] < 2 or np.dtype(array.dtype).kind != "f":
        return False
    steps = np.diff(np.asarray(array[:]))
    return bool(np.isfinite(steps).all() and np.greater(steps, 0).all())


def _default(array: Any) -> str:
    return "time,roi" if len(array.shape) == 2 else "time,y,x"


def _rate(arrays: Mapping[str, Any]) -> Need:
    """Return the need for a rate, with the value where the file has just one number that is called so."""
    hints = {}
    for name, array in arrays.items():
        if int(np.prod(array.shape)) == 1 and np.dtype(array.dtype).kind in "iuf":
            value = float(np.asarray(array[()] if array.shape == () else array[:]).ravel()[0])
            if RATE_NAME.search(name) and value > 0:
                hints[name] = value
            elif STEP_NAME.search(name) and value > 0:
                hints[f"1 / {name}"] = 1 / value
    said = ", ".join(f"{name} = {value:g}" for name, value in hints.items())
    option = f"--fs {next(iter(hints.values())):g}" if len(hints) == 1 else "--fs HZ"
    return Need(option, f"frames per second and channel{f'; the file has {said}' if said else ' are not in the file'}")
