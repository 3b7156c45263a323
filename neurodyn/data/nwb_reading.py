# pynwb makes its attributes at run time, so that a type checker cannot see them.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportCallIssue=false
"""From an NWB file to a Recording."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path, PurePosixPath
from typing import Any, cast

import h5py
import numpy as np
import xarray as xr
from pydantic import ValidationError
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.behavior import SpatialSeries
from pynwb.epoch import TimeIntervals
from pynwb.image import GrayscaleImage
from pynwb.ophys import OnePhotonSeries, RoiResponseSeries, TwoPhotonSeries

from neurodyn.core.errors import DataError
from neurodyn.data.arrays import Hdf5Array
from neurodyn.data.damage import library, reason
from neurodyn.data.lazy import lazy
from neurodyn.data.nwb import NwbFacts
from neurodyn.data.nwb_places import CONTAINERS, FIRST_PLANE, scratch_name
from neurodyn.data.readers import Channel, ReadOptions
from neurodyn.data.recording import UNITS, Recording
from neurodyn.data.sources import View, build, parse_axes, refuse_others

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
def opened(path: Path, file: h5py.File | None = None) -> Iterator[NWBFile]:
    """Open an NWB file for reading; pynwb's warnings go to the log.

    Parameters
    ----------
    file
        The file, where it is open already; it is closed in the end.

    Raises
    ------
    DataError
        If it is no NWB file.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with library(path, _no_nwb), NWBHDF5IO(path=path, mode="r") if file is None else NWBHDF5IO(file=file) as io:
            yield cast(NWBFile, io.read())
    for warning in caught:
        LOGGER.debug("pynwb: %s", warning.message)


def _no_nwb(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read as NWB.", f"{reason(error)}.", "Check that the file is whole and is NWB 2."
    )


def read_nwb(path: Path, options: ReadOptions, source: NWBFile | None = None) -> Recording:
    """Read an NWB file lazily; one that neurodyn wrote gives the recording that was written.

    Parameters
    ----------
    source
        The file, where it is open already.

    Raises
    ------
    DataError
        If it holds no imaging series, or several that do not go together.
    """
    with opened(path) if source is None else nullcontext(source) as nwbfile:
        own = _own(nwbfile)
        if own and not options.variables:
            return _written(nwbfile, own, path, options)
        series = _select(path, _imaging_series(nwbfile), options)
        neural = {name: _variable(name, item, options) for name, item in series.items()}
        first = next(iter(series.values()))
        traces = next((item for item in series.values() if isinstance(item, RoiResponseSeries)), None)
        groups: dict[str, Any] = {
            "stimulus": _stimulus(nwbfile),
            "behavior": _behavior(nwbfile),
            "rois": None if traces is None else _rois(traces),
            "brain": _brain(nwbfile),
        }
        groups |= _identity(nwbfile, first, options)
        place = options.variables.get(next(iter(series)), Channel())
        return build("nwb", path, neural, _times(first)[place.first :: place.every], options, **groups)


def _own(nwbfile: NWBFile) -> dict[str, Any]:
    """Return what `write_nwb` listed; empty for other programs' files."""
    try:
        notes = json.loads(nwbfile.notes or "")
    except ValueError:
        return {}
    own = notes.get("neurodyn", {}) if isinstance(notes, dict) else {}
    return own if "parts" in own else {}


def _written(nwbfile: NWBFile, own: dict[str, Any], path: Path, options: ReadOptions) -> Recording:
    """Build the recording that `write_nwb` wrote."""
    refuse_others(options, "nwb", {"fs"})
    variables: dict[str, dict[bool, dict[str, xr.Variable]]] = {}
    for key, listed in own["parts"].items():
        group, _, name = key.partition(".")
        try:
            variable = _part(nwbfile, own["parts"], group, name)
        except (KeyError, AttributeError, StopIteration) as error:
            raise DataError(
                f"{path} lacks {group}/{name}.", "neurodyn wrote it there.", "Convert the recording again."
            ) from error
        variables.setdefault(group, {True: {}, False: {}})[listed["coordinate"]][name] = variable
    datasets = {
        group: xr.Dataset(kinds[False], kinds[True], own["groups"].get(group)) for group, kinds in variables.items()
    }
    tree = xr.DataTree.from_dict({"/": xr.Dataset()} | datasets)
    given = {"session": options.session, "rate_hz": options.fs}
    given["indicator"] = None if options.indicator == "unknown" else options.indicator
    tree.attrs = own["attrs"] | {name: value for name, value in given.items() if value is not None}
    return Recording(tree)


def _part(nwbfile: NWBFile, listed: dict[str, Any], group: str, name: str) -> xr.Variable:
    """Return one variable from where `neurodyn.data.nwb_places` says it lies."""
    mine = listed[f"{group}.{name}"]
    dims = tuple(mine["dims"])
    if mine["place"] == "series":
        data = _series_of(nwbfile, name).data
        source: Any = View(_on_disk(data), ("time", "x", "y"), 0, 1) if len(dims) == 3 else _on_disk(data)
        variable = lazy(dims, source)
    else:
        values = _values(nwbfile, listed, group, name)
        if isinstance(values, h5py.Dataset) and values.ndim > 1 and values.dtype.kind in "buif":
            variable = lazy(dims, _on_disk(values))
        else:
            values = _typed(values, mine["dtype"])
            variable = xr.Variable(dims, values if values.ndim else values.reshape((1,) * len(dims)))
    variable.attrs = mine["attrs"]
    return variable


def _series_of(nwbfile: NWBFile, name: str) -> TimeSeries:
    if name in nwbfile.acquisition:
        return nwbfile.acquisition[name]
    interfaces = nwbfile.processing["ophys"].data_interfaces
    if name == "dff":
        return interfaces["DfOverF"].roi_response_series[name]
    known = CONTAINERS.get(name)
    return interfaces[known or name].roi_response_series[FIRST_PLANE if known else name]


def _values(nwbfile: NWBFile, listed: dict[str, Any], group: str, name: str) -> Any:
    place = listed[f"{group}.{name}"]["place"]
    if place == "times":
        first = next(key for key, part in listed.items() if part["place"] == "series")
        return _times(_series_of(nwbfile, first.partition(".")[2]))
    if place == "brain":
        return nwbfile.processing["ophys"]["masks"]["brain"].data[:].T
    if place == "column":
        return nwbfile.processing["ophys"]["ImageSegmentation"]["PlaneSegmentation"][name].data[:]
    if place == "event":
        return nwbfile.intervals["stimulus"][{"start": "start_time", "stop": "stop_time"}.get(name, name)].data[:]
    if place == "course":
        courses = nwbfile.processing["behavior"].data_interfaces
        if not listed[f"{group}.{name}"]["coordinate"]:
            return courses[name].data[:]
        of_axis = (key for key, part in listed.items() if part["place"] == "course" and not part["coordinate"]
                   and part["dims"][0] == name)  # fmt: skip
        return _times(courses[next(of_axis).partition(".")[2]])
    return nwbfile.scratch[scratch_name(f"{group}.{name}")].data


def _typed(values: Any, dtype: str) -> np.ndarray:
    values = np.asarray(values[()] if isinstance(values, h5py.Dataset) else values)
    if dtype != "str":
        return values.astype(dtype)
    texts = [value.decode() if isinstance(value, bytes) else str(value) for value in values.ravel()]
    return np.array(texts, dtype=str).reshape(values.shape)


def _on_disk(dataset: h5py.Dataset) -> Hdf5Array:
    return Hdf5Array(Path(dataset.file.filename), dataset)


def _identity(nwbfile: NWBFile, first: TimeSeries, options: ReadOptions) -> dict[str, Any]:
    planes = list(nwbfile.imaging_planes.values())
    indicator = options.indicator if options.indicator != "unknown" or not planes else str(planes[0].indicator)
    session = options.session or nwbfile.session_id or nwbfile.identifier
    facts = {"nwb": _facts(nwbfile)}
    return {"indicator": indicator, "rate_hz": options.fs or first.rate, "session": session, "attrs": facts}


def _facts(nwbfile: NWBFile) -> dict[str, Any]:
    """Return what the file says of session, animal and microscope, as `neurodyn.data.nwb.NwbFacts` names it."""
    facts: dict[str, Any] = {
        "session_start": nwbfile.session_start_time.isoformat(),
        "description": nwbfile.session_description,
        "experiment": nwbfile.experiment_description,
        "experimenter": list(nwbfile.experimenter or ()),
        "institution": nwbfile.institution,
        "lab": nwbfile.lab,
        "keywords": [str(word) for word in nwbfile.keywords[:]] if nwbfile.keywords is not None else [],
    }
    for plane in list(nwbfile.imaging_planes.values())[:1]:
        channel = next(iter(plane.optical_channel), None)
        facts |= {"location": plane.location, "device": plane.device.description or plane.device.name}
        facts |= {"excitation_nm": plane.excitation_lambda}
        facts |= {"emission_nm": None if channel is None else channel.emission_lambda}
    animal = nwbfile.subject
    if animal is not None and animal.subject_id:
        told = {name: getattr(animal, name) for name in ("species", "sex", "age", "genotype", "strain")}
        facts["subject"] = {"id": animal.subject_id} | {name: value for name, value in told.items() if value}
    return {name: value for name, value in facts.items() if value and _is_fact(name, value)}


def _is_fact(name: str, value: Any) -> bool:
    try:
        NwbFacts.model_validate({name: value})
    except ValidationError:
        if value == value:  # noqa: PLR0124 - NaN stands for unknown
            LOGGER.warning("The file's %s is left out: %s.", name, value)
        return False
    return True


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


def _select(path: Path, found: dict[str, TimeSeries], options: ReadOptions) -> dict[str, TimeSeries]:
    if options.variables:
        return {name: _named(path, found, name, place) for name, place in options.variables.items()}
    chosen: dict[str, TimeSeries] = {}
    for key, item in found.items():
        name = _variable_name(key, item)
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
    source: Any = _on_disk(series.data)
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
        axis = f"time_{name}"
        behavior = behavior.assign_coords({axis: (axis, _times(item), {"units": "s"})})
        dims = (axis, f"component_{name}")[: item.data.ndim]
        behavior[name] = (dims, np.asarray(item.data[:]), {"units": str(item.unit)})
    return behavior if found else None


def _rois(series: RoiResponseSeries) -> xr.Dataset | None:
    """Return the series' rows of the ROI table: columns, masks, and centres where there is no column of them."""
    table, rows = series.rois.table, np.asarray(series.rois.data[:], dtype=int)
    rois = xr.Dataset({name: ("roi", values[rows]) for name, values in _columns(table).items()})
    masks = _masks(table, rows)
    if masks is None:
        return rois if rois.variables else None
    owner = np.repeat(np.arange(len(masks)), [len(mask) for mask in masks])
    pixels = np.concatenate(masks)
    for column, name in enumerate(("mask_y", "mask_x")):
        rois[name] = ("mask", pixels[:, column].astype(np.int64), {"units": "pixel"})
    rois["mask_roi"] = ("mask", owner)
    rois["mask_weight"] = ("mask", pixels[:, 2])
    if not {"y", "x"} & set(rois.data_vars):
        centres = np.array([mask[:, :2].mean(axis=0) if len(mask) else (np.nan, np.nan) for mask in masks])
        for column, name in enumerate("yx"):
            rois[name] = ("roi", centres[:, column], {"units": "pixel"})
    return rois


def _masks(table: Any, rows: np.ndarray) -> list[np.ndarray] | None:
    """Return (y, x, weight) of every ROI's pixels, float, shape (pixel, 3) each; None where there are no masks.

    suite2p puts rows into the field x: its files are told by their description, and read as they are meant.
    """
    if "pixel_mask" in table.colnames:
        turned = table.description == "suite2p output"
        fields = ("x", "y", "weight") if turned else ("y", "x", "weight")
        masks = (np.asarray(table["pixel_mask"][int(row)]) for row in rows)
        return [np.stack([mask[field].astype(float) for field in fields], axis=1) for mask in masks]
    if "image_mask" not in table.colnames:
        return None
    pictures = (np.asarray(table["image_mask"].data[int(row)]).T for row in rows)
    return [np.column_stack([np.argwhere(picture), picture[picture != 0]]).astype(float) for picture in pictures]


def _brain(nwbfile: NWBFile) -> np.ndarray | None:
    for item in nwbfile.objects.values():
        if isinstance(item, GrayscaleImage) and item.name == "brain":
            return np.asarray(item.data[:]).T > 0
    return None
