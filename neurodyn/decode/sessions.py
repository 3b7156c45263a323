"""Two sessions of the same cells, opened to train a decoder on one and test it on the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.behavior import signal
from neurodyn.data.matching import have_ids, read_matching, rows_of_cells, with_rois
from neurodyn.data.recording import Recording
from neurodyn.data.windows import Windows
from neurodyn.decode.column import suitable_windows, with_target
from neurodyn.decode.gaps import labelled
from neurodyn.decode.labels import Labels
from neurodyn.decode.settings import DecodeConfig
from neurodyn.decode.source import Source, source_of


@dataclass(frozen=True)
class Pair:
    """Windows and labels of the session that is trained on, and of the one that is tested, of the same cells in one order.

    Parameters
    ----------
    train, test
        Windows.
    known, asked
        Their labels; those that are asked serve to score, and nothing else.
    config
        What is decoded, with the task that the first session's labels ask for.
    words
        What was trained on and how cells were matched.
    """

    train: Source
    known: Labels
    test: Source
    asked: Labels
    config: DecodeConfig
    words: str


def open_pair(path: Path, config: DecodeConfig) -> Pair:
    """Open two recordings, keep the cells that they share, and label their windows.

    Raises
    ------
    DataError
        If it is not known which cells are the same, or none is, or the second session has no condition of the first.
    ConfigError
        If one of them is a movie, or a run.
    """
    recordings = [_recording(one) for one in (path, config.on_session)]
    config = with_target(config, recordings[0])
    windows = suitable_windows(recordings[0], config)
    _require_cells(recordings, windows.variable)
    rows, by = _shared(recordings, config.matching)
    first, second = (with_rois(one, mine) for one, mine in zip(recordings, rows, strict=True))
    opened = source_of(first, config)
    train, known = labelled(opened, config)
    config = config.model_copy(update={"task": known.task} | _turn(known))
    test, asked = labelled(Source(Windows.cut([second], opened.windows.config), None), config)
    usable = train.entries & test.entries
    train, test = (replace(one, usable=usable) for one in (train, test))
    test, asked = _of_known_classes(test, asked, known)
    trials = np.unique(known.groups).size
    words = f"trained on {known.session}, {trials} {known.unit}; {int(usable.sum())} cells are shared by {by}"
    return Pair(train, known, test, asked, config, words)


def _recording(path: Path | None) -> Recording:
    if path is None or not (path / "zarr.json").is_file():
        raise ConfigError(
            f"{path} is no recording.",
            "Two sessions are decoded from their recordings.",
            "Give two .zarr: --on-session B.zarr",
        )
    return Recording.open(path)


def _require_cells(recordings: list[Recording], variable: str) -> None:
    for one in recordings:
        if variable in one.variables and signal(one, variable).ndim != 2:
            raise ConfigError(
                f"'{variable}' of '{one.session}' is a movie, which has no cells to match.",
                f"Found frames of shape {signal(one, variable).shape[1:]}.",
                "Find its cells first: neurodyn extract MOVIE -o cells.zarr",
            )


def _shared(recordings: list[Recording], matching: Path | None) -> tuple[list[list[int]], str]:
    """Return the rows of the cells that both sessions have, and how they were found."""
    names = " and ".join(one.session for one in recordings)
    if matching is None and not have_ids(recordings):
        raise DataError(
            f"Which cells of {names} are the same is not known.",
            "Expected a matching, or a column 'cell' in the ROIs of both.",
            "Match them: neurodyn match A.zarr B.zarr -o shared; then --matching shared/cells.csv",
        )
    found = rows_of_cells(recordings) if matching is None else read_matching(matching, recordings)
    both = [(one, other) for one, other in found.values() if one is not None and other is not None]
    if not both:
        raise DataError(
            f"{names} share no cell.", f"Found {len(found)} cells in one or the other.", "Are they of the same animal?"
        )
    return [list(rows) for rows in zip(*both, strict=True)], "ids" if matching is None else matching.name


def _turn(labels: Labels) -> dict[str, Any]:
    return {"period": labels.circle.period} if labels.task == "circular" else {}


def _of_known_classes(source: Source, labels: Labels, known: Labels) -> tuple[Source, Labels]:
    """Leave out trials of classes that the first session does not have."""
    if labels.task != "classify":
        return source, labels
    keep = np.flatnonzero(np.isin(labels.target, known.target))
    strange = np.setdiff1d(labels.target, known.target)
    if np.unique(labels.target[keep]).size < 2:
        raise DataError(
            f"{labels.session} and {known.session} share fewer than two values of '{labels.name}'.",
            f"Found {_some(labels.target)} and {_some(known.target)}.",
            "Choose another target, or another session.",
        )
    if not strange.size:
        return source, labels
    word = f"{len(labels.target) - keep.size} windows left out: {known.session} has no {labels.name} {_some(strange)}"
    parts = {name: getattr(labels, name)[keep] for name in ("target", "groups", "times")}
    return source.take(keep), replace(labels, **parts, note="; ".join(filter(None, (labels.note, word))))


def _some(values: np.ndarray) -> str:
    return ", ".join(map(str, np.unique(values)[:8]))
