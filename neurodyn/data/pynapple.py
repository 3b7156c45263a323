"""A recording as objects of pynapple."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurodyn.core.extras import require

IDS = ("cell", "roi_id")  # columns of the table of ROIs that name them, the better one first


def to_pynapple(
    neural: xr.Dataset, rois: xr.Dataset | None, behavior: xr.Dataset | None, stimulus: xr.Dataset | None
) -> dict[str, Any]:
    """Return a recording's variables, courses of behaviour and stimuli by name; see `Recording.to_pynapple`."""
    nap = require("pynapple", "to_pynapple")
    time, found = neural["time"].values, dict[str, Any]()
    for name, array in neural.data_vars.items():
        traces = array.ndim == 2
        told = {"columns": roi_ids(rois, array.shape[1]), "metadata": _per_roi(rois)} if traces else {}
        found[str(name)] = (nap.TsdFrame if traces else nap.TsdTensor)(t=time, d=array.values, **told)
    for name, course in ({} if behavior is None else behavior.data_vars).items():
        assert behavior is not None
        found[str(name)] = nap.Tsd(t=behavior[course.dims[0]].values, d=course.values)
    if stimulus is not None:
        columns = {str(name): column.values for name, column in stimulus.variables.items()}
        found["stimulus"] = nap.IntervalSet(columns.pop("start"), columns.pop("stop"), metadata=columns or None)
    return found


def responses_to_pynapple(found: xr.Dataset) -> dict[str, Any]:
    """Return aligned responses as objects of pynapple: times in seconds from the onset, as `compute_perievent` gives them.

    Parameters
    ----------
    found
        What `neurodyn.respond` gives, of events.

    Returns
    -------
    dict
        "trials", shape (time, event, cell), where they were kept, and "average", shape (time, condition, cell), are `TsdTensor`;
        "events" is an `IntervalSet` with the condition of each; "tuning" is a DataArray, cells first, as of
        `compute_tuning_curves`.

    Raises
    ------
    ConfigError
        If pynapple is not installed.
    """
    nap = require("pynapple", "responses_to_pynapple")
    time, cell = found["time"].values, found["peak_response"].dims
    told = {"condition": found["event_condition"].values}
    out = {name: nap.TsdTensor(t=time, d=found[name].transpose("time", ...).values) for name in ("trials", "average")
           if name in found}  # fmt: skip
    out["events"] = nap.IntervalSet(found["start"].values, found["stop"].values, metadata=told)
    return out | {"tuning": found["tuning"].transpose(*cell, "condition")}


def roi_ids(rois: xr.Dataset | None, count: int) -> np.ndarray:
    """Return the ids of the ROIs, shape (roi,): those that the table of ROIs names, otherwise their numbers from 0.

    A column of truth values, as suite2p's verdicts, names none.
    """
    named = [name for name in IDS if rois is not None and name in rois and rois[name].dtype.kind != "b"]
    return np.arange(count) if rois is None or not named else rois[named[0]].values


def _per_roi(rois: xr.Dataset | None) -> dict[str, np.ndarray]:
    columns = {} if rois is None else {str(name): column for name, column in rois.data_vars.items()}
    return {
        name: column.values
        for name, column in columns.items()
        if column.dims == ("roi",) and column.dtype.kind in "biufUT"
    }
