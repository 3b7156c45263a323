"""What a session's movie says of itself, so that a pipeline has to be told the rest alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurodyn.core.config import build
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.core.registry import unknown
from neurodyn.data.columns import WHEN
from neurodyn.data.recording import Recording
from neurodyn.decode.settings import DecodeConfig
from neurodyn.decode.splits import make_folds
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.survey import Survey, survey
from neurodyn.workflow.pipeline import Found, PipelineSpec, names_of

CELLULAR = re.compile(r"sbx|scanbox|scanimage|bruker|prairie|thor|two.?photon", re.IGNORECASE)
PIPELINES = {"two-photon": "session", "one-photon": "session-one-photon", "widefield": "session-widefield"}
FILES = ("file", "brain", "frame_channel")  # keys of a source that may name files beside it


def look(spec: PipelineSpec, inputs: Sequence[Path]) -> dict[Path, Found]:
    """Look at every input of a pipeline of sessions, before anything is made of it.

    Raises
    ------
    DataError
        If one does not say what has to be known, or is no movie of the pipeline's kind.
    ConfigError
        If it cannot be told what is to be decoded, or one movie alone is to be several days.
    """
    if spec.settings.get("days") and len(inputs) < 2:
        raise ConfigError("--days: one movie has nothing to match.", f"Found {len(inputs)}.", "Give two or more.")
    files = [path.resolve() for path in inputs]
    found = {path: _look(spec, path, name) for name, path in names_of(files).items()}
    logs = [each.settings["source"].get("stimulus") for each in found.values()]
    if _places(spec) and not any(logs):
        name = _log_of(spec.source or {})
        raise DataError(
            "No movie has a stimulus log of that name.",
            f"Found none for {name}, where {{stem}} and {{folder}} stand for the movie's name and folder.",
            "Check the name: --stimulus '{folder}/{stem}.csv'",
        )
    return found


def _look(spec: PipelineSpec, path: Path, name: str) -> Found:
    source = _source_of(spec, path)
    source |= {"session": name} if name != path.stem else {}  # movies of several folders may have one name
    seen = survey(path, build(ReadOptions, source, "source"))
    recording = _movie(spec, path, seen)
    events = recording.table("stimulus")
    there = events is not None and events.sizes["event"] > 0
    known = recording.indicator != "unknown"
    two = "reference" in recording.variables
    target = _target(spec, path, recording)
    none = f"no stimulus (--stimulus FILE){_unfound(spec, path)}"
    undecoded = _too_few(recording, target) if target else "no column of the stimulus varies" if there else none
    settings = {
        "source": source,
        "stimulus": there or None,
        "target": target,
        "decoded": None if undecoded else target,
        "indicator": recording.indicator if known else None,
        "chain": spec.settings.get("chain") or ("widefield" if two else "widefield-mean"),
    }
    lacks = {"stimulus": none, "decoded": undecoded or none}
    lacks |= (
        {} if known else {"indicator": "the indicator is not told (--indicator NAME): no step can go by its kinetics"}
    )
    return Found(settings, lacks)


def _too_few(recording: Recording, target: str) -> str | None:
    """Return that a stimulus has too few trials to be decoded, in decode's words; None where it has enough."""
    events = recording.table("stimulus")
    if events is None or target.partition("%")[0] not in events:
        return None  # behaviour is cut into segments, of which there are enough
    try:
        for protocol in DecodeConfig(target=target).protocols():
            make_folds(np.arange(events.sizes["event"]), protocol)
    except DataError as error:
        what, fix = error.what.removeprefix("There are ").rstrip("."), error.fix.rstrip(".")
        return f"{what}; by neurodyn decode, by hand: {fix[:1].lower()}{fix[1:]}"
    return None


def _unfound(spec: PipelineSpec, path: Path) -> str:
    """Say which log is not there, where its name differs from movie to movie."""
    name = _log_of(_with_paths(spec.source or {}, path))
    return f": there is no {name}" if _places(spec) else ""


def kind_of(recording: Recording, reader: str) -> str:
    """Return whether a movie is of cells or widefield, by its variables and by the microscope that wrote it; else "either"."""
    if CELLULAR.search(f"{reader} {recording.tree.attrs.get('layout', '')}"):
        return "cells"
    two = {"fluorescence", "reference"} <= set(recording.variables)
    return "widefield" if two or reader.startswith("wfield") else "either"


def targets(recording: Recording) -> list[str]:
    """Return the stimulus columns that could be decoded: those that vary, and whose values come again."""
    table = recording.table("stimulus")
    if table is None:
        return []
    kinds = {str(name): np.unique(column.values).size for name, column in table.data_vars.items()}
    return [name for name, count in kinds.items() if name not in WHEN and 1 < count <= table.sizes["event"] / 2]


def _source_of(spec: PipelineSpec, path: Path) -> dict[str, Any]:
    """Return how an input is read, with whole paths; without its log where it is one of many movies and has none."""
    source = _with_paths(spec.source or {}, path)
    gone = _places(spec) and not (path.parent / _log_of(source)).exists()
    return {key: value for key, value in source.items() if not (gone and key == "stimulus")}


def _with_paths(tree: Mapping[str, Any], movie: Path) -> dict[str, Any]:
    """Fill in {stem} and {folder}, and make files absolute that lie where the user stands: jobs run elsewhere."""
    made = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            value = _with_paths(value, movie)
        elif key in FILES and isinstance(value, str):
            value = _file(value, movie)
        made[key] = value
    return made


def _file(name: str, movie: Path) -> str:
    """Return a file's whole path where it lies here, or, where its name is made from the movie's, beside that first."""
    own = name.replace("{stem}", movie.stem).replace("{folder}", str(movie.resolve().parent))
    places = [movie.parent / own, Path(own)] if own != name else [Path(own)]
    return next((str(place.resolve()) for place in places if place.is_file()), own)


def _log_of(source: Mapping[str, Any]) -> str:
    return str((source.get("stimulus") or {}).get("file") or "")


def _places(spec: PipelineSpec) -> bool:
    """Say whether the log's name differs from movie to movie."""
    return any(place in _log_of(spec.source or {}) for place in ("{stem}", "{folder}"))


def _movie(spec: PipelineSpec, path: Path, seen: Survey) -> Recording:
    """Return an input as a movie of the pipeline's kind.

    Raises
    ------
    DataError
        If it has to be told more, is no movie, or says that it is of another kind.
    """
    recording = seen.recording
    if seen.needs:
        raise DataError(
            f"{path} does not say all that has to be known.",
            " ".join(f"{need.option}: {need.why}." for need in seen.needs),
            f"Add to the command: {' '.join(need.option for need in seen.needs)}",
        )
    if recording is None or not any(recording[name].ndim == 3 for name in recording.variables):
        raise DataError(
            f"{path} is no movie.", f"Found {seen.format}: {_shapes(recording)}.", f"See: neurodyn inspect {path}"
        )
    kind = kind_of(recording, seen.format)
    if kind not in ("either", "widefield" if spec.kind == "widefield" else "cells"):
        fit = PIPELINES["widefield" if kind == "widefield" else "two-photon"]
        raise DataError(
            f"{path} is no {spec.kind} movie.", f"It says that it is {_said(kind)}.", f"Type: neurodyn run {fit} {path}"
        )
    return recording


def _said(kind: str) -> str:
    return "widefield, with a reference channel" if kind == "widefield" else "of a microscope that shows cells"


def _shapes(recording: Recording | None) -> str:
    if recording is None:
        return "nothing to read as a recording"
    return ", ".join(f"{name} {recording[name].shape}" for name in recording.variables)


def _target(spec: PipelineSpec, path: Path, recording: Recording) -> str | None:
    """Return what is decoded: the column that was told, or the only one that could be.

    Raises
    ------
    ConfigError
        If there are several.
    UnknownNameError
        If there is no such column.
    """
    told, known = spec.settings.get("target"), targets(recording)
    if told is None:
        if len(known) > 1:
            raise ConfigError(
                f"{path}: several stimulus columns could be decoded.",
                f"Found {', '.join(known)}.",
                f"Name one: --target {known[0]}",
            )
        return known[0] if known else None
    tables = [recording.table(name) for name in ("stimulus", "behavior")]
    columns = [str(name) for table in tables if table is not None for name in table.data_vars if name not in WHEN]
    if columns and str(told).partition("%")[0] not in columns:
        raise unknown(f"column of {path.name}", str(told), columns)
    return str(told) if columns else None
