"""Event averages: the mean course of a trace around events of one kind, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

MOST_VALUES = 24  # panels that a page still shows
BEFORE, AFTER = 1.0, 2.0  # s before the onset and after the end


@dataclass(frozen=True)
class Span:
    """The stretch around an onset, s: from `-before` to `after`, of which the event takes `event`."""

    before: float
    after: float
    event: float


def columns(stimulus: xr.Dataset | None) -> dict[str, list[Any]]:
    """Return the columns with few enough values to be averaged over, and their values in order."""
    found: dict[str, list[Any]] = {}
    for name, values in ({} if stimulus is None else stimulus.data_vars).items():
        if name in ("start", "stop", "start_frame", "stop_frame") or values.dims != ("event",):
            continue
        different = distinct(values.values)
        if 1 <= len(different) <= MOST_VALUES:
            found[str(name)] = different
    return found


def distinct(values: np.ndarray) -> list[Any]:
    """Return the different values of a column, numbers in order of size, texts of the alphabet; NaN left out."""
    if values.dtype.kind in "iufb":
        return np.unique(values[np.isfinite(values.astype(np.float64))]).tolist()
    return sorted({str(value) for value in values})


def span_of(stimulus: xr.Dataset) -> Span:
    """Choose the stretch: a second before, two after the end, but not into the next event."""
    start, stop = stimulus["start"].values, stimulus["stop"].values
    gaps = np.diff(np.sort(start))
    gap = float(np.median(gaps[gaps > 0])) if (gaps > 0).any() else np.inf
    event = float(np.nanmedian(stop - start))
    return Span(min(BEFORE, gap / 2), min(event + AFTER, gap), event)


def averages(trace: np.ndarray, time: np.ndarray, stimulus: xr.Dataset, name: str) -> dict[str, Any]:
    """Return mean and standard error of a trace around the events of each value of a column.

    Parameters
    ----------
    trace
        Shape (time,).
    time
        s, shape (time,).

    Returns
    -------
    dict
        `time` from the onset, s, shape (sample,); `event`, s; `groups`: per value its `value`, `n` events that lie in
        the recording, `mean` and `sem`, shape (sample,), NaN without events, or of one event.
    """
    span, step = span_of(stimulus), float(np.median(np.diff(time)))
    offsets = np.arange(-round(span.before / step), max(1, round(span.after / step)))
    column, start = stimulus[name].values, stimulus["start"].values
    known = column if column.dtype.kind in "iufb" else np.array([str(value) for value in column])
    groups = [
        {"value": value} | _mean(_courses(trace, time, start[known == value], offsets, step))
        for value in distinct(column)
    ]
    return {"time": offsets * step, "event": span.event, "groups": groups}


def _courses(trace: np.ndarray, time: np.ndarray, onsets: np.ndarray, offsets: np.ndarray, step: float) -> np.ndarray:
    """Return the trace around onsets, shape (event, sample); NaN where no frame is near, as at a gap or an end."""
    asked = onsets[:, None] + offsets * step
    after = np.clip(np.searchsorted(time, asked), 1, time.size - 1)
    nearest = after - (asked - time[after - 1] < time[after] - asked)
    return np.where(np.abs(time[nearest] - asked) <= 0.75 * step, trace[nearest], np.nan)


def _mean(courses: np.ndarray) -> dict[str, Any]:
    there = np.isfinite(courses)
    count = there.sum(axis=0)
    total = np.where(there, courses, 0).sum(axis=0, dtype=np.float64)
    mean = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    squares = np.where(there, courses - mean, 0) ** 2
    freedom = count * (count - 1)
    sem = np.sqrt(np.divide(squares.sum(axis=0), freedom, out=np.full(count.shape, np.nan), where=freedom > 0))
    return {"n": int(there.any(axis=1).sum()), "mean": mean, "sem": sem}
