"""What is decoded: a stimulus column or a behaviour variable, one value per window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.behavior import at_times
from neurodyn.data.recording import Recording
from neurodyn.decode import DECODERS
from neurodyn.decode.protocol import Labels
from neurodyn.decode.scoring import Task
from neurodyn.decode.settings import DecodeConfig
from neurodyn.decode.source import Source, as_text

SEGMENTS = 40


@dataclass(frozen=True)
class Events:
    """A recording's stimulus table in the order of onsets, and the stretch of time each event owns.

    Parameters
    ----------
    start, stop
        s, shape (event,).
    edges
        Borders between trials, s, shape (event + 1,): halfway between one event's end and the next one's start.
    table
        The sorted table.
    """

    start: np.ndarray
    stop: np.ndarray
    edges: np.ndarray
    table: xr.Dataset

    @classmethod
    def of(cls, recording: Recording) -> Events:
        """Read and sort a recording's stimulus table."""
        table = recording.stimulus
        table = table.isel(event=np.argsort(table["start"].values, kind="stable"))
        start, stop = table["start"].values.astype(float), table["stop"].values.astype(float)
        blank = np.maximum(start[1:] - stop[:-1], 0.0)
        half = float(np.median(blank)) / 2 if blank.size else 0.0
        edges = np.concatenate([[start[0] - half], start[1:] - blank / 2, [stop[-1] + half]])
        return cls(start, stop, edges, table)

    def active(self, time: np.ndarray) -> np.ndarray:
        """Return the event on at each time, -1 between events, shape (sample,)."""
        event = np.searchsorted(self.start, time + 1e-9, side="right") - 1
        return np.where((event >= 0) & (time < self.stop[event] - 1e-9), event, -1)

    def trial(self, first: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Return the trial a window lies in from its first to its last frame (s), -1 where it crosses a border."""
        begin, end = (np.searchsorted(self.edges, time + 1e-9, side="right") - 1 for time in (first, last))
        inside = (begin == end) & (begin >= 0) & (begin < self.start.size)
        return np.where(inside, begin, -1)


def find_task(config: DecodeConfig, values: np.ndarray) -> Task:
    """Return what kind of prediction the target and the decoder ask for."""
    if config.task is not None:
        return config.task
    if config.decoder is not None and len(tasks := DECODERS.get(config.decoder).tasks) == 1:
        return next(iter(tasks))
    return "classify" if "%" in (config.target or "") or values.dtype.kind not in "iuf" else "regress"


def with_target(config: DecodeConfig, recording: Recording) -> DecodeConfig:
    """Return the configuration with a target: the one asked for, or the only stimulus column there is.

    Raises
    ------
    ConfigError
        If none was asked for and there are none or several.
    """
    if config.target is not None:
        return config
    table = recording.table("stimulus")
    columns = [] if table is None else sorted(str(name) for name in table.data_vars if name not in ("start", "stop"))
    if len(columns) != 1:
        raise ConfigError(
            "No target was named.",
            f"Recording '{recording.session}' has stimulus columns: {', '.join(columns) or 'none'}.",
            f"Name one: --target {columns[0] if columns else 'NAME'}",
        )
    return config.model_copy(update={"target": columns[0]})


def make_labels(source: Source, config: DecodeConfig) -> tuple[Labels, np.ndarray]:
    """Read the target of one session's windows.

    A stream window takes the stimulus on at its last frame; an event window its event's value; behaviour is
    interpolated at the last frame.

    Returns
    -------
    labels
        Of the windows that can be used, with a note on how many could not and why.
    rows
        Those windows, shape (sample,).

    Raises
    ------
    DataError
        If there is no such column, no window has a value, or the values do not suit the transform.
    """
    config = with_target(config, source.recording)
    target = str(config.target)
    name, modulo = _parse(target)
    recording = source.recording
    stimulus = recording.table("stimulus")
    if stimulus is not None and name in stimulus:
        labels, why = _from_stimulus(source, config, name, modulo)
    else:
        labels, why = _from_behavior(source, config, name)
    task = find_task(config, labels)
    groups, unit = _groups(source, stimulus is not None and name in stimulus)
    keep, note = _usable(labels, groups, why, unit)
    if not keep.any():
        raise DataError(f"No window has a value of '{name}'.", f"{note}.", "Choose other windows or another target.")
    kept = Labels(
        _transform(labels[keep], recording, name, config) if labels.dtype.kind in "iuf" else labels[keep],
        groups[keep],
        source.windows.start[keep],
        task,
        name=target,
        session=recording.session,
        unit=unit,
        note=note,
    )
    return kept, np.flatnonzero(keep)


def _parse(target: str) -> tuple[str, float | None]:
    name, sign, number = target.partition("%")
    if not sign:
        return name, None
    try:
        modulo = float(number)
    except ValueError as error:
        raise ConfigError(
            f"Target '{target}' cannot be read.",
            f"After % a number is expected, found '{number}'.",
            "--target NAME%180",
        ) from error
    if modulo <= 0:
        raise ConfigError(f"Target '{target}' cannot be read.", "The number after % must be positive.", "NAME%180")
    return name, modulo


def _from_stimulus(source: Source, config: DecodeConfig, name: str, modulo: float | None) -> tuple[np.ndarray, str]:
    """Return a value per window, missing ones as NaN or "", and why they are missing."""
    events = Events.of(source.recording)
    column = _plain(events.table[name].values)
    if modulo is not None:
        if column.dtype.kind not in "iuf":
            raise DataError(f"'{name}' is not a number.", f"Found {column.dtype}; % needs numbers.", "Leave out the %.")
        column = column % modulo
    aligned = source.windows.config.align == "events"
    event = source.windows.trial if aligned else events.active(source.last)
    if column.dtype.kind not in "iuf":
        return np.where(event >= 0, column[event], ""), "end outside any stimulus"
    task = find_task(config, column)
    zero = config.blank == "zero" or (config.blank is None and task == "regress")
    blank = 0.0 if zero else np.nan
    return np.where(event >= 0, column.astype(float)[event], blank), f"end outside any stimulus, or have no '{name}'"


def _plain(column: np.ndarray) -> np.ndarray:
    return as_text(column) if column.dtype.kind in "OSUT" else column


def _from_behavior(source: Source, config: DecodeConfig, name: str) -> tuple[np.ndarray, str]:
    behavior = source.recording.table("behavior")
    if behavior is None or name not in behavior.data_vars or behavior[name].ndim != 1 or "%" in str(config.target):
        raise _no_target(source.recording, str(config.target))
    variable = behavior[name]
    if not np.isfinite(variable.values.astype(float)).any():
        raise DataError(
            f"Behaviour '{name}' has no finite value.", f"Found {variable.size} samples.", "Repair it first."
        )
    return at_times(variable, source.last), f"lie outside the recording of '{name}'"


def _no_target(recording: Recording, target: str) -> DataError:
    found = []
    for group in ("stimulus", "behavior"):
        table = recording.table(group)
        if table is not None:
            names = sorted(str(n) for n in table.variables if n not in ("start", "stop") and n not in table.dims)
            found.append(f"{group}: {', '.join(names) or 'nothing'}")
    return DataError(
        f"Recording '{recording.session}' has no target '{target}'.",
        f"Found {'; '.join(found) or 'neither stimulus nor behaviour'}.",
        "Name one of these: --target NAME",
    )


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


def _transform(values: np.ndarray, recording: Recording, name: str, config: DecodeConfig) -> np.ndarray:
    """Scale the square root of a non-negative quantity to -1 .. 1, zero being -1."""
    kind = config.transform or ("sqrt" if config.protocol == "paper" else "none")
    if kind == "none":
        return values
    stimulus = recording.table("stimulus")
    whole = stimulus[name].values if stimulus is not None and name in stimulus else values
    largest = float(np.nanmax(whole))
    if values.min() < 0 or largest <= 0:
        raise DataError(
            f"'{name}' has no square root to scale.",
            f"Found values from {values.min():g} to {largest:g}.",
            "Leave the values alone: --set transform=none",
        )
    return 2 * np.sqrt(values / largest) - 1
