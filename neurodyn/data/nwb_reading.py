# pynwb makes its attributes at run time, so that a type checker cannot see them.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportCallIssue=false
"""From an NWB file to a Recording."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, cast

import h5py
import numpy as np
import xarray as xr
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.behavior import SpatialSeries
from pynwb.epoch import TimeIntervals
from pynwb.image import GrayscaleImage
from pynwb.ophys import OnePhotonSeries, RoiResponseSeries, TwoPhotonSeries

from neurodyn.core.errors import DataError
from neurodyn.data.arrays import Hdf5Array
from neurodyn.data.lazy import lazy
from neurodyn.data.readers import Channel, ReadOptions
from neurodyn.data.recording import UNITS, Recording
from neurodyn.data.sources import View, build, parse_axes

LOGGER = logging.getLogger(__name__)
MOVIES = (OnePhotonSeries, TwoPhotonSeries)
NOT_EVENTS = {"epochs", "invalid_times"}


class Scaled:
    """An array on disk in the unit that NWB's conversion and offset say, float32."""

    def __init__(self, source: Hdf5Array, factor: float, offset: float) -> None:
        self.source, self.factor, self.offset = source, factor, offset
        self.shape, self.dtype = source.shape, np.dtype(np.float32)

    def __getitem__(self, key: Any) -> np.ndarray:
        return (self.source[key] * self.factor + self.offset).astype(np.float32)


@contextmanager
def opened(path: Path) -> Iterator[NWBFile]:
    """Open an NWB file for reading; pynwb's warnings go to the log.

    Raises
    ------
    DataError
        If it is no NWB file.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with NWBHDF5IO(path=path, mode="r") as io:
                yield cast(NWBFile, io.read())
        except DataError:
            raise
        except Exception as error:  # hdmf answers a damaged file with whatever comes up
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(
                f"{path} cannot be read as NWB.", f"{reason}.", "Check that the file is whole and is NWB 2."
            ) from error
    for warning in caught:
        LOGGER.debug("pynwb: %s", warning.message)


def read_nwb(path: Path, options: ReadOptions) -> Recording:
    """Read an NWB file lazily.

    Raises
    ------
    DataError
        If it holds no imaging series, or several that do not go together.
    """
    with opened(path) as nwbfile:
        own = _own_attrs(nwbfile)
        series = _select(path, _imaging_series(nwbfile), options, bool(own))
        neural = {name: _variable(name, item, options) for name, item in series.items()}
        first = next(iter(series.values()))
        traces = next((item for item in series.values() if isinstance(item, RoiResponseSeries)), None)
        groups: dict[str, Any] = {
            "stimulus": _stimulus(nwbfile),
            "behavior": _behavior(nwbfile),
            "rois": None if traces is None else _rois(traces),
            "brain": _brain(nwbfile),
        }
        groups |= _identity(nwbfile, first, own, options)
        place = options.variables.get(next(iter(series)), Channel())
        return build("nwb", path, neural, _times(first)[place.first :: place.every], options, **groups)


def _own_attrs(nwbfile: NWBFile) -> dict[str, Any]:
    """Return what `write_nwb` kept of a recording's attributes; empty for other programs' files."""
    try:
        notes = json.loads(nwbfile.notes or "")
    except ValueError:
        return {}
    return notes.get("neurodyn", {}) if isinstance(notes, dict) else {}


def _identity(nwbfile: NWBFile, first: TimeSeries, own: dict[str, Any], options: ReadOptions) -> dict[str, Any]:
    planes = list(nwbfile.imaging_planes.values())
    indicator = options.indicator if options.indicator != "unknown" or not planes else str(planes[0].indicator)
    identity: dict[str, Any] = {"indicator": indicator, "rate_hz": options.fs or own.get("rate_hz") or first.rate}
    identity["session"] = options.session or own.get("session") or nwbfile.session_id or nwbfile.identifier
    if own:
        identity["history"] = json.loads(own["history"])
        kept = {"session", "rate_hz", "indicator", "history", "schema_version"}
        identity["attrs"] = {key: value for key, value in own.items() if key not in kept}
    return identity


def _key(series: TimeSeries) -> str:
    return str(PurePosixPath(series.data.name).parent).strip("/")


def _imaging_series(nwbfile: NWBFile) -> dict[str, TimeSeries]:
    found = {}
    for item in nwbfile.objects.values():
        if isinstance(item, (*MOVIES, RoiResponseSeries)) and isinstance(item.data, h5py.Dataset):
            if isinstance(item, MOVIES) and item.data.ndim != 3:
                LOGGER.warning("%s has shape %s and is left out.", _key(item), item.data.shape)
            else:
                found[_key(item)] = item
    return dict(sorted(found.items()))


def _select(path: Path, found: dict[str, TimeSeries], options: ReadOptions, own: bool) -> dict[str, TimeSeries]:
    if options.variables:
        return {name: _named(path, found, name, place) for name, place in options.variables.items()}
    chosen: dict[str, TimeSeries] = {}
    for key, item in found.items():
        name = str(item.name) if own else _variable_name(key, item)
        if name in chosen:
            raise _choose(path, found, f"has several series that could be {name}")
        chosen[name] = item
    if not chosen:
        raise DataError(
            f"{path} has no imaging data that neurodyn reads.",
            "Expected a OnePhotonSeries, TwoPhotonSeries or RoiResponseSeries with its frames inside the file.",
            "Read the frames from where they lie, for example the TIFF files.",
        )
    if len({item.data.shape[0] for item in chosen.values()}) > 1:
        raise _choose(path, found, "has series of different lengths")
    return chosen


def _named(path: Path, found: dict[str, TimeSeries], name: str, place: Channel) -> TimeSeries:
    wanted = place.key or name
    hits = [item for key, item in found.items() if key == wanted.strip("/") or item.name == wanted]
    if len(hits) != 1:
        raise _choose(path, found, f"has {len(hits) or 'no'} series '{wanted}'")
    return hits[0]


def _choose(path: Path, found: dict[str, TimeSeries], what: str) -> DataError:
    listed = ", ".join(f"{key} {item.data.shape}" for key, item in found.items())
    return DataError(f"{path} {what}.", f"Found: {listed}.", "Choose: --set source.variables.fluorescence.key=SERIES")


def _variable_name(key: str, series: TimeSeries) -> str:
    if series.name in UNITS:
        return series.name
    words = key.lower()
    kind = type(series.parent).__name__
    if kind == "DfOverF":
        return "dff"
    hints = {"neuropil": "neuropil", "deconv": "spikes", "spike": "spikes", "event": "spikes", "dff": "dff"}
    return next((name for hint, name in hints.items() if hint in words), "fluorescence")


def _variable(name: str, series: TimeSeries, options: ReadOptions) -> xr.Variable:
    place = options.variables.get(name, Channel())
    source: Any = Hdf5Array(Path(series.data.file.filename), series.data)
    if series.conversion != 1.0 or series.offset:
        source = Scaled(source, series.conversion, series.offset)
    default = "time,x,y" if isinstance(series, MOVIES) else "time,roi"
    ndim = len(source.shape)
    text = place.axes or (options.axes if len(options.axes.replace(",", " ").split()) == ndim else "")
    view = View(source, parse_axes(text or (default if ndim > 1 else ""), ndim, name), place.first, place.every)
    variable = lazy(("time", *view.space), view)
    variable.attrs = {"units": options.units.get(name, str(series.unit)), "made_by": series.description or "source"}
    if variable.attrs["made_by"] == "no description":
        variable.attrs["made_by"] = "source"
    return variable


def _times(series: TimeSeries) -> np.ndarray:
    if series.timestamps is not None:
        return np.asarray(series.timestamps[:], dtype=np.float64)
    if not series.rate:
        raise DataError(
            f"{_key(series)} has neither rate nor timestamps.", "NWB demands one.", "Repair the file with pynwb."
        )
    return (series.starting_time or 0.0) + np.arange(series.data.shape[0]) / series.rate


def _columns(table: Any) -> dict[str, np.ndarray]:
    """Return the plain columns of an NWB table: one number or string per row."""
    columns = {}
    for name in table.colnames:
        data = table[name].data
        values = np.asarray(data[:]) if not isinstance(table[name], (list, tuple)) else np.empty((0, 0))
        if values.ndim == 1 and type(table[name]).__name__ == "VectorData" and len(values) == len(table):
            if values.dtype.kind in "OS":
                if not all(isinstance(value, str | bytes) for value in values):
                    continue
                values = np.array([v.decode() if isinstance(v, bytes) else v for v in values], dtype=str)
            columns[name] = values
    return columns


def _stimulus(nwbfile: NWBFile) -> dict[str, np.ndarray] | None:
    """Return all events in order of time; where several tables hold them, a column `table` tells which."""
    tables = {
        item.name: item
        for item in nwbfile.objects.values()
        if isinstance(item, TimeIntervals) and item.name not in NOT_EVENTS and len(item)
    }
    if not tables:
        return None
    parts = []
    for name, table in sorted(tables.items()):
        columns = _columns(table)
        renamed = {"start": columns.pop("start_time"), "stop": columns.pop("stop_time")} | columns
        parts.append(renamed if len(tables) == 1 else renamed | {"table": np.full(len(table), name)})
    if len(parts) == 1:
        return parts[0]
    names = list(dict.fromkeys(name for part in parts for name in part))
    merged = {name: np.concatenate([_padded(part, name, parts) for part in parts]) for name in names}
    order = np.argsort(merged["start"], kind="stable")
    return {name: column[order] for name, column in merged.items()}


def _padded(part: dict[str, np.ndarray], name: str, parts: list[dict[str, np.ndarray]]) -> np.ndarray:
    texts = any(other[name].dtype.kind in "UT" for other in parts if name in other)
    if name in part:
        return part[name].astype(str) if texts else part[name].astype(float)
    return np.full(len(part["start"]), "" if texts else np.nan)


def _behavior(nwbfile: NWBFile) -> xr.Dataset | None:
    found = {}
    for item in nwbfile.objects.values():
        plain = type(item) in (TimeSeries, SpatialSeries) and isinstance(item.data, h5py.Dataset)
        if plain and item.data.ndim in (1, 2) and item.data.dtype.kind in "buif":
            found[item.name] = item
    behavior = xr.Dataset()
    for name, item in sorted(found.items()):
        try:
            kept = json.loads(item.comments)
        except ValueError:
            kept = {"dims": [f"time_{name}", f"component_{name}"][: item.data.ndim], "dtype": str(item.data.dtype)}
        axis = kept["dims"][0]
        behavior = behavior.assign_coords({axis: (axis, _times(item), {"units": "s"})})
        attrs = {"units": str(item.unit)}
        behavior[name] = (tuple(kept["dims"]), np.asarray(item.data[:]).astype(kept["dtype"]), attrs)
    return behavior if found else None


def _rois(series: RoiResponseSeries) -> xr.Dataset | None:
    table, rows = series.rois.table, np.asarray(series.rois.data[:], dtype=int)
    columns = {name: ("roi", values[rows]) for name, values in _columns(table).items()}
    return xr.Dataset(columns) if columns else None


def _brain(nwbfile: NWBFile) -> np.ndarray | None:
    for item in nwbfile.objects.values():
        if isinstance(item, GrayscaleImage) and item.name == "brain":
            return np.asarray(item.data[:]).T > 0
    return None
