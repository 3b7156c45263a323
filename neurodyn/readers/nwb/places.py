"""Where in an NWB file the parts of a Recording lie; the one list that writing and reading share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr

from neurodyn.data.recording import Recording

Place = Literal["series", "times", "brain", "column", "event", "course", "scratch"]
RESERVED = {"id", "start_time", "stop_time", "tags", "timeseries", "pixel_mask", "image_mask", "voxel_mask", "iscell"} | {
    "colnames", "description", "namespace", "neurodata_type", "object_id"
}  # fmt: skip
# Where suite2p's own reader looks; the series of the first plane has this name there.
CONTAINERS = {"fluorescence": "Fluorescence", "neuropil": "Neuropil", "spikes": "Deconvolved"}
FIRST_PLANE = "plane0"


class Part(NamedTuple):
    """One variable of a recording's group, and where it goes."""

    group: str
    name: str
    variable: xr.Variable
    place: Place
    coordinate: bool

    @property
    def key(self) -> str:
        """Its name in the list of parts."""
        return f"{self.group}.{self.name}"


def scratch_name(key: str) -> str:
    """Return a part's name in the scratch space, where NWB allows no colon."""
    return key.replace("%", "%25").replace(":", "%3A")


def parts(recording: Recording) -> Iterator[Part]:
    """List every variable of a recording."""
    for group, node in recording.tree.children.items():
        dataset = node.to_dataset(inherit=False)
        for name, variable in dataset.variables.items():
            place = _place(group, str(name), variable, dataset, recording.rate_hz)
            yield Part(group, str(name), variable, place, name in dataset.coords)


def timing(times: np.ndarray, rate_hz: float | None = None) -> tuple[dict[str, Any], bool]:
    """Return what an NWB series says of its times, and whether these very times come of it, to the last bit.

    Times that are regular to the nanosecond are told by start and rate, as NWB wants it; others one by one.
    """
    steps = np.diff(times)
    if not steps.size or np.unique(np.round(steps, 9)).size > 1:
        return {"timestamps": times}, True
    mean = float(steps.size / (times[-1] - times[0]))
    for rate in (rate_hz, mean):
        if rate is not None and np.array_equal(times, times[0] + np.arange(times.size) / rate):
            return {"starting_time": float(times[0]), "rate": rate}, True
    return {"starting_time": float(times[0]), "rate": mean}, False


def _place(group: str, name: str, variable: xr.Variable, dataset: xr.Dataset, rate_hz: float) -> Place:
    if ":" in name:
        return "scratch"
    if group == "neural":
        return _neural_place(name, variable, dataset, rate_hz)
    if group == "behavior" and _is_course(name, variable, dataset):
        whole = name not in dataset.coords or timing(variable.values.astype(float))[1]
        return "course" if whole else "scratch"
    if variable.size and name not in RESERVED:
        if group == "stimulus" and variable.dims == ("event",):
            return "event"
        if group == "rois" and variable.dims == ("roi",):
            return "column"
    return "scratch"


def _neural_place(name: str, variable: xr.Variable, dataset: xr.Dataset, rate_hz: float) -> Place:
    if name == "brain":
        return "brain"
    series = any("component" not in array.dims for array in dataset.data_vars.values())
    if name == "time" and series and timing(variable.values, rate_hz)[1]:
        return "times"
    return "series" if name in dataset.data_vars and "component" not in variable.dims else "scratch"


def _is_course(name: str, variable: xr.Variable, dataset: xr.Dataset) -> bool:
    """Say whether a variable of behaviour is numbers over time, or the times of such numbers."""
    numbers = variable.dtype.kind in "buif" and variable.size > 0
    axes = {array.dims[0] for array in dataset.data_vars.values() if array.dims and array.dtype.kind in "buif"}
    if name in dataset.coords:
        return numbers and name in axes and variable.dims == (name,)
    return numbers and bool(variable.dims) and variable.dims[0] in dataset.coords


def contents(recording: Recording) -> str:
    """Return attributes and parts of a recording as JSON, from which reading builds it again."""
    listed = {
        part.key: {
            "place": part.place,
            "dims": [str(dim) for dim in part.variable.dims],
            "dtype": "str" if part.variable.dtype.kind in "UOT" else str(part.variable.dtype),
            "attrs": _plain(part.variable.attrs),
            "coordinate": part.coordinate,
        }
        for part in parts(recording)
    }
    groups = {group: _plain(node.attrs) for group, node in recording.tree.children.items() if node.attrs}
    whole = {"attrs": _plain(recording.tree.attrs), "groups": groups, "parts": listed}
    return json.dumps({"neurodyn": whole}, ensure_ascii=False)


def _plain(attrs: dict[Any, Any]) -> dict[str, Any]:
    return {str(key): value.tolist() if hasattr(value, "tolist") else value for key, value in attrs.items()}
