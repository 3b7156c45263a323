"""What a source holds, read as far as it says how; and what it has to be told before it is a recording."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.readers.array_axes import SMALLEST_PICTURE, named_axes
from neurodyn.readers.arrays import name_of, pick
from neurodyn.readers.options import ReadOptions, VariablePlace
from neurodyn.readers.questions import Need, QuestionError
from neurodyn.readers.read import find_reader, read
from neurodyn.readers.sources import NoRateError
from neurodyn.readers.stimulus import StimulusLog, read_events

RATE_NAME = re.compile(r"(^|_|/)(fs|rate|hz|framerate|frame_rate)|fs$|hz$", re.IGNORECASE)
STEP_NAME = re.compile(r"(^|_|/)dt$", re.IGNORECASE)
DFF_NAME = re.compile(r"dff|df_f|df_over_f|delta_?f(_?f)?|dfof|df_f0|dfof0?|f_dff", re.IGNORECASE)
COLUMN = re.compile(r"[A-Za-z_]\w*")
ACTIVITY = re.compile(
    r"neural|calcium|gcamp|fluor|df|trace|activ|spike|(?<!is)(?<!is_)cell|neuron|movie|camera|frames", re.IGNORECASE
)


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
    advice
        What should be told beside the needs, so that nothing the source holds is lost; it is read as if it had been.
    """

    format: str
    arrays: dict[str, str] = field(default_factory=dict)
    needs: list[Need] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    recording: Recording | None = None
    rate_known: bool = True
    advice: list[str] = field(default_factory=list)


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
    seen = _Look(path, name, options, arrays)
    if arrays:
        large = {key: array for key, array in arrays.items() if _is_table(array)}
        if not large and not (options.key or options.variables or options.channels):
            return Survey(name, _listed(arrays), notes=_of_vectors(path, arrays))
        if not (options.variables or options.channels):
            seen.choose(large)
    seen.read()
    return seen.survey()


class _Look:
    """A source read again and again, each time with one more answer."""

    def __init__(self, path: Path, reader: str, options: ReadOptions, arrays: Mapping[str, Any]) -> None:
        self.path, self.reader, self.options, self.arrays = path, reader, options, arrays
        self.needs: list[Need] = []
        self.advice: list[str] = []
        self.chosen: str | None = None
        self.rate_known = True
        self.recording: Recording

    def choose(self, large: Mapping[str, Any]) -> None:
        """Choose the array that is read, and what it is called after."""
        name, needs = _choice(self.path, self.arrays, large, self.options.key)
        self.needs += needs
        self.chosen = name
        told: dict[str, Any] = {"key": name}
        if DFF_NAME.fullmatch(name.rpartition("/")[2]):
            told["variables"] = {"dff": VariablePlace(key=name)}
            self.advice.append(f"--set source.variables.dff.key={name}")
        self.options = self.options.model_copy(update=told)

    def read(self) -> None:
        """Read until nothing is asked, then once more with the columns that lie beside trials."""
        self.recording = self._answered()
        columns = self._trial_columns()
        if columns:
            self.advice += [f"--set source.trial_columns.{name}={key}" for name, key in columns.items()]
            self.options = self.options.model_copy(update={"trial_columns": columns})
            self.recording = self._answered()
        elif (log := self._log()) is not None:
            self.advice.append(f"--set source.stimulus.file={self.path.name}")
            self.options = self.options.model_copy(update={"stimulus": log})
            self.recording = self._answered()

    def _answered(self) -> Recording:
        while True:
            try:
                return read(self.path, self.options, self.reader)
            except QuestionError as question:
                answered = self.options.model_copy(update=question.guess)
                if answered == self.options:  # its own guess does not answer it
                    raise
                no_rate = isinstance(question, NoRateError)
                self.rate_known = self.rate_known and not no_rate
                self.needs.append(_rate(self.arrays) if no_rate else question.need)
                self.options = answered

    def _axes(self) -> tuple[str, ...]:
        if self.chosen is None:
            return ()
        return tuple(self.options.axes.replace(",", " ").split()) or named_axes(self.arrays[self.chosen]) or ()

    def _trial_columns(self) -> dict[str, str]:
        """Return what lies beside an array of trials with one value per trial: column -> array."""
        axes = self._axes()
        if "trial" not in axes or self.options.trial_columns or self.options.stimulus:
            return {}
        sizes = self.arrays[str(self.chosen)].shape
        count = sizes[axes.index("trial")]
        if sizes.count(count) > 1:
            return {}
        named = {key.rpartition("/")[2]: key for key, array in self.arrays.items() if array.shape == (count,)}
        return {
            name: key
            for name, key in named.items()
            if COLUMN.fullmatch(name)
            and name not in ("start", "stop")
            and np.dtype(self.arrays[key].dtype).kind in "buifU"
        }

    def _log(self) -> StimulusLog | None:
        """Return the table of events that lies beside an array, where onsets and ends are called so."""
        if self.chosen is None or self.options.stimulus or "trial" in self._axes() or not self.rate_known:
            return None
        log = StimulusLog(file=self.path.name)
        try:
            read_events(self.path, log, self.recording.time)
        except QuestionError:
            return log
        except DataError:
            return None
        return log

    def survey(self) -> Survey:
        """Return what was seen."""
        recording = self.recording
        if recording.time.size == 1 and all(recording[name].ndim == 3 for name in recording.variables):
            pixels = " x ".join(map(str, recording[recording.variables[0]].shape[1:]))
            note = f"One picture of {pixels} pixels, no movie. As a brain mask: --brain {self.path.name}"
            return Survey(f"{self.reader}, one picture", notes=[note])
        notes = []
        if self.chosen is not None:
            notes = _of_array(self.chosen, self.arrays, recording.time.size, bool(self._axes()), bool(self.advice))
        return Survey(self.reader, _listed(self.arrays), self.needs, notes, recording, self.rate_known, self.advice)


def _listed(arrays: Mapping[str, Any]) -> dict[str, str]:
    return {key: f"{tuple(map(int, array.shape))} {np.dtype(array.dtype)}" for key, array in arrays.items()}


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


def _choice(path: Path, arrays: Mapping[str, Any], large: Mapping[str, Any], key: str | None) -> tuple[str, list[Need]]:
    """Return the array that is read, and that it has to be named where several could be meant."""
    try:
        picked = pick(path, arrays, key)
    except DataError:
        if key is not None:
            raise
        name, why = _likeliest(large)
        return name, [Need(f"--key {name}", why)]
    return name_of(arrays, picked), []


def _of_vectors(path: Path, arrays: Mapping[str, Any]) -> list[str]:
    notes = ["No array here has two axes or more; none can be a recording."]
    courses = [name for name, array in arrays.items() if len(array.shape) == 1][:4]
    if courses:
        notes.append(f"As behaviour beside one: --set source.behavior.file={path.name} ({', '.join(courses)}, …)")
    return notes


def _of_array(name: str, arrays: Mapping[str, Any], frames: int, axes_told: bool, as_dff: bool) -> list[str]:
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
    if as_dff and DFF_NAME.fullmatch(name.rpartition("/")[2]):
        notes.append(f"{name} is taken for ΔF/F by its name; told, as below, by source.variables.dff.key")
    elif np.dtype(array.dtype).kind == "f" and "fluorescence" not in name.lower():
        notes.append(
            f"Values are taken for fluorescence, counts. Where they are ΔF/F: --set source.variables.dff.key={name}"
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


def _rate(arrays: Mapping[str, Any]) -> Need:
    """Return the need for a rate, with the value where the file has just one number that is called so."""
    hints = {}
    for name, array in arrays.items():
        if int(np.prod(array.shape)) == 1 and np.dtype(array.dtype).kind in "iuf":
            value = float(np.asarray(array).ravel()[0])
            if RATE_NAME.search(name) and value > 0:
                hints[name] = value
            elif STEP_NAME.search(name) and value > 0:
                hints[f"1 / {name}"] = 1 / value
    said = ", ".join(f"{name} = {value:g}" for name, value in hints.items())
    option = f"--fs {next(iter(hints.values())):g}" if len(hints) == 1 else "--fs HZ"
    return Need(option, f"frames per second and channel{f'; the file has {said}' if said else ' are not in the file'}")
