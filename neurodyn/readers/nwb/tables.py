# pynwb makes its attributes at run time, so that a type checker cannot see them.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
"""Events, behaviour, ROIs and masks of an NWB file, as a recording has them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from pynwb import NWBFile, TimeSeries
from pynwb.behavior import SpatialSeries
from pynwb.epoch import TimeIntervals
from pynwb.image import GrayscaleImage
from pynwb.ophys import RoiResponseSeries

from neurodyn.core.errors import DataError
from neurodyn.readers.masks import Mask, mask_columns
from neurodyn.readers.nwb.clock import stated

LOGGER = logging.getLogger(__name__)
NOT_EVENTS = {"epochs", "invalid_times"}


def end_of(times: np.ndarray) -> float:
    """Return when a recording ends, s: a frame after its last one begins."""
    return float(times[-1] + (np.median(np.diff(times)) if times.size > 1 else 0.0)) if times.size else 0.0


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


def stimulus(path: Path, nwbfile: NWBFile, end: float) -> dict[str, np.ndarray] | None:
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
        events = _with_stops(name, table, columns, end)
        parts.append(events if len(tables) == 1 else events | {"table": np.full(len(events["start"]), name)})
    if len(parts) == 1:
        return parts[0]
    names = list(dict.fromkeys(name for part in parts for name in part))
    merged = {name: np.concatenate([_padded(part, name, parts) for part in parts]) for name in names}
    order = np.argsort(merged["start"], kind="stable")
    return {name: column[order] for name, column in merged.items()}


def _with_stops(name: str, table: Any, columns: dict[str, np.ndarray], end: float) -> dict[str, np.ndarray]:
    """Return a table's events; one that says no stop, as a trial still open does, lasts to the next start or the end.

    Parameters
    ----------
    columns
        Name -> one value per row.
    end
        When the recording ends, s.
    """
    start, stop = (_stated(table, which) for which in ("start_time", "stop_time"))
    own = {f"{key}_" if key in ("start", "stop") else key: column for key, column in columns.items()}
    own = {key: column for key, column in own.items() if key not in ("start_time", "stop_time")}
    begun = np.isfinite(start)
    if not begun.all():
        LOGGER.warning("%s: %d of %d events have no start and are left out.", name, (~begun).sum(), begun.size)
    start, stop, own = start[begun], stop[begun], {key: column[begun] for key, column in own.items()}
    open_ = ~(stop >= start)
    if open_.any():
        LOGGER.warning(
            "%s: %d of %d events have no stop, or one before their start; each is taken to last to the next start, the "
            "last one to the end of the recording.",
            *(name, open_.sum(), open_.size),
        )
    later = np.append(np.sort(start), max(end, start.max(initial=end)))
    return {
        "start": start,
        "stop": np.where(open_, later[np.searchsorted(later[:-1], start, side="right")], stop),
    } | own


def _stated(table: Any, which: str) -> np.ndarray:
    """Return starts or stops, s, one per row; NaN where there is none."""
    said = np.asarray(table[which].data[:], dtype=np.float64) if which in table.colnames else np.empty(0)
    return np.append(said, np.full(max(0, len(table) - said.size), np.nan))[: len(table)]


def _padded(part: dict[str, np.ndarray], name: str, parts: list[dict[str, np.ndarray]]) -> np.ndarray:
    texts = any(other[name].dtype.kind in "UT" for other in parts if name in other)
    if name in part:
        return part[name].astype(str) if texts else part[name].astype(float)
    return np.full(len(part["start"]), "" if texts else np.nan)


def behavior(path: Path, nwbfile: NWBFile) -> xr.Dataset | None:
    """Return every plain series of numbers with its own time axis; one whose times cannot be is left out."""
    found = _courses(nwbfile)
    table = xr.Dataset()
    for name, item in sorted(found.items()):
        times, wrong = stated(path, item, item.data.shape[0])
        if wrong:
            LOGGER.warning("%s is left out: %s", name, wrong)
            continue
        axis = f"time_{name}"
        table = table.assign_coords({axis: (axis, times, {"units": "s"})})
        dims = (axis, f"component_{name}")[: item.data.ndim]
        table[name] = (dims, _in_unit(item), {"units": str(item.unit)})
    return table if table.variables else None


def _courses(nwbfile: NWBFile) -> dict[str, TimeSeries]:
    """Return plain series of numbers by their names, with their containers' where names repeat."""
    items = [
        item
        for item in nwbfile.objects.values()
        if type(item) in (TimeSeries, SpatialSeries)
        and isinstance(item.data, h5py.Dataset)
        and item.data.ndim in (1, 2)
        and item.data.dtype.kind in "buif"
    ]
    names = [item.name for item in items]
    return {item.name if names.count(item.name) == 1 else f"{item.parent.name}_{item.name}": item for item in items}


def _in_unit(item: TimeSeries) -> np.ndarray:
    """Return a series' values in the unit it names."""
    values = np.asarray(item.data[:])
    return values if item.conversion == 1.0 and not item.offset else values * item.conversion + item.offset


def rois(path: Path, series: RoiResponseSeries) -> xr.Dataset | None:
    """Return the series' rows of the ROI table: columns, masks, and centres where there is no column of them."""
    table, rows = series.rois.table, np.asarray(series.rois.data[:], dtype=int)
    if rows.size and not 0 <= rows.min() <= rows.max() < len(table):
        raise DataError(
            f"{path}: {series.name} names ROIs that are not there.",
            f"Found row {rows.max()} of a table of {len(table)} ROIs.",
            "Check that the file is whole.",
        )
    rois = xr.Dataset({name: ("roi", values[rows]) for name, values in _columns(table).items()})
    masks = _masks(table, rows)
    if masks is None:
        return rois if rois.variables else None
    columns = mask_columns([Mask(mask[:, 0], mask[:, 1], mask[:, 2]) for mask in masks])
    rois = rois.assign({name: column for name, column in columns.items() if name not in rois})
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


def brain(nwbfile: NWBFile) -> np.ndarray | None:
    """Return the brain mask, bool, shape (y, x); None where there is none."""
    for item in nwbfile.objects.values():
        if isinstance(item, GrayscaleImage) and item.name == "brain":
            return np.asarray(item.data[:]).T > 0
    return None
