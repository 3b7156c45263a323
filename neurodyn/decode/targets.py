"""What is decoded: a stimulus column or a behaviour variable, one value per window."""

from __future__ import annotations

import numpy as np

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.behavior import along_circle, at_times, held
from neurodyn.data.columns import Column, read_column, zero_is_nothing
from neurodyn.decode.column import with_target
from neurodyn.decode.events import Events, describe_windows
from neurodyn.decode.labels import Labels
from neurodyn.decode.settings import DecodeConfig
from neurodyn.decode.source import Source
from neurodyn.decode.tasks import Choice, choose_task

SEGMENTS = 40


def make_labels(source: Source, config: DecodeConfig) -> tuple[Labels, np.ndarray]:
    """Read the target of one session's windows.

    A stream window takes the stimulus on at its last frame; an event window its event's value; behaviour is
    interpolated at the last frame: linearly, along the circle, or the last value before it for classes.

    Returns
    -------
    labels
        Of the windows that can be used, with a note on what was taken for what, and how many windows could not be used.
    rows
        Those windows, shape (sample,).

    Raises
    ------
    DataError
        If there is no such column, no window has a value, or the values do not suit the transform.
    ConfigError
        If the values do not suit the task that is asked for.
    """
    recording = source.recording
    config = with_target(config, recording)
    target = str(config.target)
    column = read_column(recording, target)
    choice = choose_task(column, config)
    labels, why, word = _values(source, config, column, choice)
    groups, unit = _groups(source, not column.behavior)
    keep, left_out = _usable(labels, groups, why, unit)
    if not keep.any():
        raise DataError(
            f"No window has a value of '{column.name}'.", f"{left_out}.", "Choose other windows or another target."
        )
    kept = Labels(
        _transform(labels[keep], column, choice, config),
        groups[keep],
        source.windows.start[keep],
        choice.task,
        name=target,
        session=recording.session,
        unit=unit,
        note="; ".join(filter(None, (left_out, word))),
        taken=choice.sentence(target, config, column.numeric),
        circle=choice.circle,
        course=column.behavior,
    )
    return kept, np.flatnonzero(keep)


def _values(source: Source, config: DecodeConfig, column: Column, choice: Choice) -> tuple[np.ndarray, str, str]:
    """Return a value per window, missing ones as NaN or "", why they are missing, and what windows or blanks are."""
    if column.behavior:
        return _from_behavior(source, column, choice), f"lie outside the recording of '{column.name}'", ""
    aligned = source.windows.config.align == "events"
    event = source.windows.trial if aligned else Events.of(source.recording).active(source.last)
    word = describe_windows(source.windows.config) if aligned else ""
    why = f"end outside any stimulus, or have no '{column.name}'"
    if not column.numeric:
        return np.where(event >= 0, column.values[event], ""), why, word
    nothing = choice.task == "regress" and zero_is_nothing(column.name)
    zero = config.blank == "zero" or (config.blank is None and nothing)
    if zero and (event < 0).any():
        word = f"{(event < 0).sum()} windows between stimuli count as 0, left out by --set blank=drop"
    return np.where(event >= 0, column.values.astype(float)[event], 0.0 if zero else np.nan), why, word


def _from_behavior(source: Source, column: Column, choice: Choice) -> np.ndarray:
    behavior = source.recording.table("behavior")
    if behavior is None:
        raise RuntimeError("a column of behaviour without behaviour")
    course = behavior[column.name].copy(data=column.values)
    if choice.task == "classify":
        return held(course, source.last)
    if not column.finite.size:
        raise DataError(
            f"Behaviour '{column.name}' has no finite value.", f"Found {course.size} samples.", "Repair it first."
        )
    if choice.task == "regress":
        return at_times(course, source.last)
    return along_circle(course, source.last, choice.circle)


def _groups(source: Source, by_trial: bool) -> tuple[np.ndarray, str]:
    """Return the trial of each window, or a segment of time where trials mean nothing; -1 for windows in none."""
    windows = source.windows
    if windows.config.align == "events":
        return windows.trial, "trials"
    if by_trial:
        return Events.of(source.recording).trial(windows.start, source.last), "trials"
    time = source.recording.time
    length = max((time[-1] - time[0]) / SEGMENTS, 2 * windows.frames / windows.rate_hz)
    begin, end = (((t - time[0]) // length).astype(int) for t in (windows.start, source.last))
    return np.where(begin == end, begin, -1), "segments"


def _usable(labels: np.ndarray, groups: np.ndarray, why: str, unit: str) -> tuple[np.ndarray, str]:
    missing = labels == "" if labels.dtype.kind not in "iuf" else ~np.isfinite(labels)
    crossing = (groups < 0) & ~missing
    parts = [f"{missing.sum()} windows left out: they {why}"] if missing.any() else []
    if crossing.any():
        parts.append(f"{crossing.sum()} windows left out: they lie in no one of the {unit}")
    return ~missing & (groups >= 0), "; ".join(parts)


def _transform(values: np.ndarray, column: Column, choice: Choice, config: DecodeConfig) -> np.ndarray:
    """Scale the square root of a non-negative quantity to -1 .. 1, zero being -1."""
    if choice.task != "regress":
        if config.transform == "sqrt":
            raise ConfigError(
                f"'{column.name}' is no quantity with a square root.",
                f"It was taken as: {choice.task}.",
                "Leave the values alone: --set transform=none",
            )
        return values
    kind = config.transform or ("sqrt" if config.protocol == "paper" else "none")
    if kind == "none":
        return values
    whole = values if column.behavior else column.values
    largest = float(np.nanmax(whole))
    if values.min() < 0 or largest <= 0:
        raise DataError(
            f"'{column.name}' has no square root to scale.",
            f"Found values from {values.min():g} to {largest:g}.",
            "Leave the values alone: --set transform=none",
        )
    return 2 * np.sqrt(values / largest) - 1
