"""A session of the Allen Brain Observatory, however it was read, and the Recording made of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.lazy import DiskArray, lazy
from neurodyn.data.recording import Recording
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.sources import View, build

LOGGER = logging.getLogger(__name__)
UNITS = {"corrected": "counts", "demixed": "counts"}
MOST_EPOCHS = 3  # every stimulus was shown in at most three blocks
LONGEST_PAUSE = 39  # frames between two events of one block; gratings are 30 apart
ENOUGH_EVENTS = 10  # for a median pause to mean something
LOOSE_FRAMES = 30  # by which traces and clock may differ
PIXEL = {"units": "pixel"}
TIMES = ("start", "end", "start_s", "stop_s")

Table = dict[str, np.ndarray]


class Course(NamedTuple):
    """A course of behaviour: times, s, and values, each shape (sample,), their unit, and the name of their axis."""

    time: np.ndarray
    values: np.ndarray
    unit: str
    axis: str


@dataclass(frozen=True)
class Session:
    """What one session's file holds.

    Parameters
    ----------
    metadata
        Name -> text or number; see `neurodyn.readers.allen.nwb1.METADATA`.
    time
        Frame times, s, shape (time,).
    traces
        Variable -> array on disk, shape (roi, time).
    tables
        Stimulus -> columns of shape (event,), sorted; `start` and `end` are frames, the others parameters, numbers or
        texts. Where the file states times, `start_s` and `stop_s` are these, s.
    behavior
        Name -> course.
    cells
        Cell specimen ids, shape (roi,).
    roi_ids
        Names of the ROIs in this session, shape (roi,).
    neuropil_r
        Share of the neuropil that is subtracted, shape (roi,); None where the file has none.
    masks
        Pixels of each ROI as (y, x), shape (pixel, 2) each.
    max_projection
        Brightest value of every pixel, shape (y, x); None where the file has none.
    motion
        Shifts along y and x that move frames onto the reference, pixels, shape (time, 2); None as above.
    templates
        Stimulus -> pictures on disk, shape (image, y, x).
    epochs
        Blocks of stimuli as the file has them, columns as `epochs` returns them; None to find them.
    trials
        Columns of shape (trial,); None where there are none.
    valid
        Whether the Institute takes each ROI for a cell, shape (roi,); None where the file does not say.
    faults
        Stimulus -> why its table in the file cannot be used.
    """

    metadata: dict[str, Any]
    time: np.ndarray
    traces: dict[str, Any]
    tables: dict[str, Table]
    behavior: dict[str, Course]
    cells: np.ndarray
    roi_ids: np.ndarray
    neuropil_r: np.ndarray | None
    masks: list[np.ndarray]
    max_projection: np.ndarray | None = None
    motion: np.ndarray | None = None
    templates: dict[str, Any] = field(default_factory=dict)
    epochs: Table | None = None
    trials: Table | None = None
    valid: np.ndarray | None = None
    faults: dict[str, DataError] = field(default_factory=dict)


class Corrected(DiskArray):
    """Demixed traces less r times the neuropil's, on disk, shape (roi, time)."""

    def __init__(self, traces: Any, neuropil: Any, r: np.ndarray) -> None:
        super().__init__(traces.shape, np.result_type(traces.dtype, neuropil.dtype, r.dtype))
        self.traces, self.neuropil, self.r = traces, neuropil, r

    def _block(self, key: tuple[slice, ...]) -> np.ndarray:
        return self.traces[key] - self.neuropil[key] * self.r[key[0], None]


def recording_of(reader: str, session: Session, path: Path, options: ReadOptions) -> Recording:
    """Build the Recording of a session.

    Raises
    ------
    DataError
        If the parts of the session do not belong together, or a stimulus's table cannot be used and is not skipped.
    ConfigError
        If a stimulus is to be skipped that was not shown.
    """
    session = _without(session, options.skip)
    _check_cells(session, path)
    time = session.time[: _frames(session, path)]
    neural = {
        name: lazy(("time", "roi"), View(array, ("roi", "time")))[: time.size] for name, array in session.traces.items()
    }
    said = session.metadata
    groups: dict[str, Any] = {
        "rate_hz": 1 / float(np.median(np.diff(time))),
        "indicator": options.indicator if options.indicator != "unknown" else said.get("indicator", "unknown"),
        "session": options.session or str(said.get("experiment_id", path.stem)),
        "behavior": behavior_of(session.behavior),
        "rois": _rois(session),
        "qc": _seen(session, time.size),
        "attrs": {"source": path.name} | {name: value for name, value in said.items() if name != "indicator"},
    }
    recording = build(reader, path, neural, time, options.model_copy(update={"units": UNITS | options.units}), **groups)
    return _with_stimuli(recording, session, options.templates)


def _without(session: Session, skipped: tuple[str, ...]) -> Session:
    known = sorted(session.tables.keys() | session.faults.keys())
    if strange := sorted(set(skipped) - set(known)):
        raise ConfigError(
            f"source.skip: {', '.join(strange)} was not shown.",
            f"Shown were: {', '.join(known)}.",
            "Name one of these.",
        )
    for name, fault in session.faults.items():
        if name not in skipped:
            raise fault
    tables = {name: table for name, table in session.tables.items() if name not in skipped}
    return replace(session, tables=tables, epochs=_rows(session.epochs, skipped))


def _rows(found: Table | None, skipped: tuple[str, ...]) -> Table | None:
    if found is None:
        return None
    kept = ~np.isin(found["stimulus"], skipped)
    return {name: column[kept] for name, column in found.items()}


def _with_stimuli(recording: Recording, session: Session, templates: bool) -> Recording:
    if not session.tables:
        return recording
    table = xr.Dataset({name: ("event", column) for name, column in events(session.tables, recording.time).items()})
    found = epochs(session.tables, recording.time) if session.epochs is None else session.epochs
    for axis, columns in {"epoch": found, "trial": session.trials or {}}.items():
        table = table.assign({f"{axis}_{name}": (axis, column) for name, column in columns.items()})
    if session.templates and not templates:
        LOGGER.info(
            "The pictures of %s are left out; keep them with: --set source.templates=true", ", ".join(session.templates)
        )
    for name, pictures in session.templates.items() if templates else ():
        dims = tuple(f"{axis}_{name}" for axis in ("image", "y", "x"))
        table[f"template_{name}"] = lazy(dims, pictures)
    return recording.with_groups({"stimulus": table})


def _check_cells(session: Session, path: Path) -> None:
    counts = {name: array.shape[0] for name, array in session.traces.items()}
    counts |= {"roi_ids": session.roi_ids.size, "masks": len(session.masks)}
    counts |= {} if session.neuropil_r is None else {"r": session.neuropil_r.size}
    odd = {name: count for name, count in counts.items() if count != session.cells.size}
    if odd or not session.cells.size:
        raise DataError(
            f"{path}: its parts do not have the same cells.",
            f"Found {session.cells.size} cell ids; {', '.join(f'{name} {count}' for name, count in odd.items())}.",
            "Fetch it again: neurodyn fetch allen",
        )


def _frames(session: Session, path: Path) -> int:
    """Return the frames that clock and traces all have."""
    counts = {"clock": session.time.size} | {name: array.shape[1] for name, array in session.traces.items()}
    fewest, most = min(counts.values()), max(counts.values())
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    if most - fewest > LOOSE_FRAMES or fewest < 2:
        raise DataError(
            f"{path}: traces and clock do not have the same frames.",
            f"Found {listed}.",
            "Fetch it again: neurodyn fetch allen",
        )
    if most > fewest:
        LOGGER.warning("%s: traces and clock differ in length (%s); all end at frame %d.", path, listed, fewest)
    return fewest


def seconds(frame: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Return the times of frames, s; frames after the last go on at the median rate."""
    step = float(np.median(np.diff(time)))
    inside = np.clip(frame, 0, time.size - 1)
    return time[inside] + (frame - inside) * step


def events(tables: Mapping[str, Table], time: np.ndarray) -> Table:
    """Lay the tables of all stimuli into one, in order of onsets.

    Parameters
    ----------
    tables
        As of a `Session`.
    time
        Frame times, s, shape (time,).

    Returns
    -------
    dict
        Columns of shape (event,): `start` and `stop`, s (an event lasts at least a frame), `start_frame` and
        `stop_frame` as the file has them, `stimulus`, and every parameter, NaN or "" where a stimulus has none of that
        name.
    """
    names = list(dict.fromkeys(name for table in tables.values() for name in table if name not in TIMES))
    start, stop = map(np.concatenate, zip(*(_span(table, time) for table in tables.values()), strict=True))
    order = np.argsort(start, kind="stable")
    columns: Table = {
        "start": start,
        "stop": stop,
        "start_frame": np.concatenate([table["start"] for table in tables.values()]),
        "stop_frame": np.concatenate([table["end"] for table in tables.values()]),
        "stimulus": np.concatenate([np.full(table["start"].size, name) for name, table in tables.items()]),
    }
    columns |= {name: _parameter(name, list(tables.values())) for name in names}
    return {name: column[order] for name, column in columns.items()}


def _span(table: Table, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if "start_s" in table:
        return table["start_s"], table["stop_s"]
    return seconds(table["start"], time), seconds(np.maximum(table["end"], table["start"] + 1), time)


def _parameter(name: str, tables: list[Table]) -> np.ndarray:
    """Return a parameter of all stimuli, shape (event,): texts, "" elsewhere, or numbers, NaN elsewhere."""
    texts = any(table[name].dtype.kind == "U" for table in tables if name in table)
    kind, missing = (np.str_, "") if texts else (np.float64, np.nan)
    return np.concatenate(
        [table[name].astype(kind) if name in table else np.full(table["start"].size, missing) for table in tables]
    )


def epochs(tables: Mapping[str, Table], time: np.ndarray) -> Table:
    """Find the blocks in which stimuli were shown.

    A block ends where another stimulus begins, or where the pause before the next event is longer than 39 frames and
    than three times the stimulus's median pause, so that a few dropped frames end none. More blocks of a stimulus than
    the protocol has are kept, with a warning.

    Returns
    -------
    dict
        Columns of shape (epoch,), in order of time: `stimulus`, `start` and `stop`, s, `start_frame` and `stop_frame`.
    """
    names = list(tables)
    kind = np.concatenate([np.full(tables[name]["start"].size, k) for k, name in enumerate(names)])
    start, end = (np.concatenate([tables[name][column] for name in names]) for column in ("start", "end"))
    allowed = np.array([_longest_pause(tables[name]) for name in names])[kind]
    order = np.lexsort((end, start))
    kind, start, end, allowed = kind[order], start[order], end[order], allowed[order]
    new = np.r_[True, (np.diff(kind) != 0) | (start[1:] - end[:-1] > allowed[1:])]
    first = np.flatnonzero(new)
    last = np.r_[first[1:], kind.size] - 1
    for k, name in enumerate(names):
        if (count := int((kind[first] == k).sum())) > MOST_EPOCHS:
            LOGGER.warning("%s was shown in %d blocks, more than the %d of the protocol.", name, count, MOST_EPOCHS)
    found = {"start_frame": start[first], "stop_frame": end[last]}
    return {
        "stimulus": np.array(names)[kind[first]],
        "start": seconds(found["start_frame"], time),
        "stop": seconds(found["stop_frame"], time),
    } | found


def _longest_pause(table: Table) -> float:
    pauses = table["start"][1:] - table["end"][:-1]
    usual = float(np.median(pauses)) if pauses.size >= ENOUGH_EVENTS else 0.0
    return max(LONGEST_PAUSE, 3 * usual)


def behavior_of(courses: Mapping[str, Course]) -> xr.Dataset | None:
    """Return courses of behaviour as a table in which each group of courses has its own axis of times, s."""
    if not courses:
        return None
    table = xr.Dataset()
    for name, course in courses.items():
        axis = f"time_{course.axis}"
        table = table.assign_coords({axis: (axis, course.time, {"units": "s"})})
        table[name] = (axis, course.values, {"units": course.unit})
    return table


def _rois(session: Session) -> xr.Dataset:
    sizes = [len(mask) for mask in session.masks]
    centres = np.array([mask.mean(axis=0) if len(mask) else (np.nan, np.nan) for mask in session.masks])
    pixels = np.concatenate(session.masks)
    columns: dict[str, Any] = {
        "cell": ("roi", session.cells),
        "roi_id": ("roi", session.roi_ids),
        "y": ("roi", centres[:, 0], PIXEL),
        "x": ("roi", centres[:, 1], PIXEL),
        "npix": ("roi", np.array(sizes), PIXEL),
        "mask_roi": ("mask", np.repeat(np.arange(len(sizes)), sizes)),
        "mask_y": ("mask", pixels[:, 0], PIXEL),
        "mask_x": ("mask", pixels[:, 1], PIXEL),
    }
    if session.neuropil_r is not None:
        columns["neuropil_r"] = ("roi", session.neuropil_r, {"units": "1"})
    if session.valid is not None:
        columns["valid"] = ("roi", session.valid)
    return xr.Dataset(columns)


def _seen(session: Session, frames: int) -> xr.Dataset | None:
    seen: dict[str, Any] = {}
    if session.max_projection is not None:
        seen["max_projection"] = (("y", "x"), session.max_projection, {"units": "counts"})
    if session.motion is not None:
        seen["motion"] = (("time_qc", "axis"), session.motion[:frames].astype(np.float32), {"units": "pixels"})
    return xr.Dataset(seen) if seen else None
