"""Courses of behaviour, on the frames of their recording."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurodyn.core.errors import DataError
from neurodyn.data.circle import Circle
from neurodyn.data.recording import Recording

BEHAVIOR = "behavior."  # how a course is told from a neural variable


def at_times(course: xr.DataArray, times: np.ndarray) -> np.ndarray:
    """Interpolate a course of behaviour linearly between its finite samples; NaN outside of them, shape of `times`.

    Parameters
    ----------
    course
        Over an axis of seconds.
    times
        s, any shape.
    """
    own, values = course[course.dims[0]].values, course.values.astype(np.float64)
    known = np.isfinite(values)
    if not known.any():
        return np.full(times.shape, np.nan)
    return np.interp(times, own[known], values[known], left=np.nan, right=np.nan)


def held(course: xr.DataArray, times: np.ndarray) -> np.ndarray:
    """Return the value of the last sample at or before each time; NaN or "" outside of the samples."""
    own = course[course.dims[0]].values
    before = np.searchsorted(own, times + 1e-9, side="right") - 1
    inside = (before >= 0) & (times <= own[-1] + np.median(np.diff(own)) + 1e-9 if own.size > 1 else before >= 0)
    numeric = course.dtype.kind in "iuf"
    values = course.values.astype(float) if numeric else course.values
    return np.where(inside, values[before], np.nan if numeric else "")


def along_circle(course: xr.DataArray, times: np.ndarray, circle: Circle) -> np.ndarray:
    """Interpolate cosine and sine, so that the way from 359 to 1 degrees leads over 0."""
    radians = circle.radians(course.values)
    cosine, sine = (at_times(course.copy(data=part), times) for part in (np.cos(radians), np.sin(radians)))
    return circle.values(np.arctan2(sine, cosine))


def signal(recording: Recording, name: str) -> xr.Variable:
    """Return a neural variable, or a course of behaviour interpolated to the frames, shape (time, *space).

    Parameters
    ----------
    name
        Of the variable; `behavior.COLUMN` for behaviour, one entry wide.

    Raises
    ------
    DataError
        If the recording has no such signal.
    """
    if not name.startswith(BEHAVIOR):
        return recording[name].variable
    table, column = recording.table("behavior"), name.removeprefix(BEHAVIOR)
    if table is None or column not in table.data_vars or table[column].ndim != 1:
        listed = [] if table is None else [f"{BEHAVIOR}{key}" for key in table.data_vars if table[key].ndim == 1]
        raise DataError(
            f"Recording '{recording.session}' has no signal '{name}'.",
            f"Found: {', '.join([*recording.variables, *listed])}.",
            "Name one of these.",
        )
    course = at_times(table[column], recording.time)
    return xr.Variable(("time", "column"), course[:, None].astype(np.float32))
