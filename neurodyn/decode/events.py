"""Stimulus events in order, the stretch of time each owns, and the window that suits them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from neurodyn.data.recording import Recording
from neurodyn.data.window_config import WindowConfig

LONGEST_BASELINE = 1.0


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


def event_windows(given: WindowConfig, recording: Recording, decoded: np.ndarray) -> WindowConfig:
    """Return windows around events: from half the shortest pause before an event, at most 1 s, to the shortest event's end.

    Parameters
    ----------
    given
        What was asked for, which stays: `duration` alone begins at the event.
    recording
        With the stimulus table.
    decoded
        Which events, in order of onsets, have a target, bool, shape (event,).
    """
    events, frame = Events.of(recording), 1 / recording.rate_hz
    pause = float(np.min(events.start[1:] - events.stop[:-1], initial=np.inf))
    lasting = (events.stop - events.start)[decoded]
    shortest = float(lasting.min(initial=np.inf))
    if not frame <= shortest < np.inf:  # events without a length last to the next one
        shortest = min(1.0, float(np.diff(events.start).min(initial=1.0)))
    update: dict[str, Any] = {"align": "events"}
    if not {"offset", "duration"} & given.model_fields_set and np.isfinite(pause):
        update["offset"] = -_whole_frames(min(LONGEST_BASELINE, max(0.0, pause / 2)), frame)
    if "duration" not in given.model_fields_set:
        update["duration"] = max(frame, _whole_frames(shortest - update.get("offset", given.offset), frame))
    return given.model_copy(update=update)


def _whole_frames(seconds: float, frame: float) -> float:
    return float(np.round(np.floor(seconds / frame + 1e-6) * frame, 9))


def describe_windows(config: WindowConfig) -> str:
    """Say in words what windows around events hold."""
    first, last = config.offset, config.offset + config.duration
    begin = f"{abs(first):g} s {'before' if first < 0 else 'after'} its start" if first else "its start"
    return (
        f"one window per event, from {begin} to {last:g} s after it" if first else f"one window of {last:g} s per event"
    )
