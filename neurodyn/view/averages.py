"""Event averages: the mean course of a trace around events of one kind, and how sure it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurodyn.data.aligned import frames_around, span_of
from neurodyn.data.columns import WHEN

MOST_VALUES = 24  # panels that a page still shows


def columns(stimulus: xr.Dataset | None) -> dict[str, list[Any]]:
    """Return the columns with few enough values to be averaged over, and their values in order."""
    found: dict[str, list[Any]] = {}
    for name, values in ({} if stimulus is None else stimulus.data_vars).items():
        if name in WHEN or values.dims != ("event",):
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
    span = span_of(stimulus)
    around = frames_around(time, stimulus["start"].values, span.before, span.after)
    courses, column = around.of(trace), stimulus[name].values
    known = column if column.dtype.kind in "iufb" else np.array([str(value) for value in column])
    groups = [{"value": value} | _mean(courses[known == value]) for value in distinct(column)]
    return {"time": around.offset, "event": span.event, "groups": groups}


def _mean(courses: np.ndarray) -> dict[str, Any]:
    there = np.isfinite(courses)
    count = there.sum(axis=0)
    total = np.where(there, courses, 0).sum(axis=0, dtype=np.float64)
    mean = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    squares = np.where(there, courses - mean, 0) ** 2
    freedom = count * (count - 1)
    sem = np.sqrt(np.divide(squares.sum(axis=0), freedom, out=np.full(count.shape, np.nan), where=freedom > 0))
    return {"n": int(there.any(axis=1).sum()), "mean": mean, "sem": sem}
