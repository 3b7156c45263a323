"""What the page is told, as JSON: arrays as base64 of little-endian numbers, which browsers read without parsing."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import Any

import numpy as np

from neurodyn.view.averages import columns
from neurodyn.view.curation import Verdicts
from neurodyn.view.projections import KINDS, sampled
from neurodyn.view.scene import Scene

WIDEST = 4000  # parts of a window: more than any screen has columns


def packed(values: np.ndarray, kind: str) -> str:
    """Return an array as base64 of numbers of one kind, such as "<f4"."""
    return base64.b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode()


def about(scene: Scene) -> dict[str, Any]:
    """Return what a page needs to draw itself: everything but frames, traces and averages."""
    recording, masks = scene.recording, scene.masks
    time = scene.time
    return {
        "where": scene.where,
        "session": recording.session,
        "indicator": recording.indicator,
        "rate": recording.rate_hz,
        "frames": int(time.size),
        "start": float(time[0]),
        "stop": float(time[-1]),
        "shape": list(scene.shape),
        "pictures": [_picture(scene, name) for name in scene.picture_names],
        "cells": scene.cells,
        "table": {name: packed(values, "<f4") for name, values in scene.table.items()},
        "masks": None
        if masks is None
        else {"roi": packed(masks.roi, "<i4"), "y": packed(masks.y, "<i4"), "x": packed(masks.x, "<i4")},
        "variables": [
            {"name": name, "units": str(variable.attrs.get("units", ""))}
            for name, variable in scene.traces.variables.items()
        ],
        "judged": scene.judged,
        "stimulus": _stimulus(scene),
        "tuning": _tuning(scene),
    }


def _picture(scene: Scene, name: str) -> dict[str, Any]:
    kind, _, which = name.partition("/")
    if kind == "frame":
        shape = scene.movies[which].shape
    else:
        shape = scene.movies[which].shape if kind in KINDS else scene.pictures[which].shape
    told = {"name": name, "kind": kind, "of": which, "shape": list(shape)}
    if kind in KINDS:
        told["sampled"] = sampled(scene.movies[which])
    return told


def _stimulus(scene: Scene) -> dict[str, Any] | None:
    table = scene.stimulus
    if table is None:
        return None
    kinds = columns(table)
    rows = {name: _places(table[name].values, values) for name, values in kinds.items()}
    return {
        "start": packed(table["start"].values, "<f8"),
        "stop": packed(table["stop"].values, "<f8"),
        "columns": [
            {"name": name, "values": values, "event": packed(rows[name], "<i4")} for name, values in kinds.items()
        ],
    }


def _tuning(scene: Scene) -> dict[str, Any] | None:
    tuning = scene.tuning
    if tuning is None:
        return None
    told, places = tuning.found.attrs, tuning.places
    return {
        "target": tuning.target,
        "labels": tuning.labels,
        "places": None if places is None else packed(places, "<f4"),
        "variable": told["variable"],
        "units": told["units"],
        "measured": told["measured"],
        "alpha": told["alpha"],
        "tuned": packed(tuning.tuned, "u1"),
        "table": {name: packed(values, "<f4") for name, values in tuning.columns.items()},
        "curves": {name: packed(values, "<f4") for name, values in tuning.curves.items()},
    }


def _places(column: np.ndarray, values: list[Any]) -> np.ndarray:
    """Return for each event which of the values it has, -1 for none."""
    number = {str(value): place for place, value in enumerate(values)}
    return np.array([number.get(str(value), -1) for value in column.tolist()], dtype=np.int32)


def window(scene: Scene, rows: list[int], names: list[str], start: float, stop: float, bins: int) -> dict[str, Any]:
    """Return traces of cells in a stretch of time, s: lowest and highest value of each of its parts."""
    bins = int(np.clip(bins, 1, WIDEST))
    traces: list[dict[str, Any]] = []
    for row in rows:
        for name in names:
            low, high = scene.traces.window(name, row, start, stop, bins)
            thin = low is not high
            traces.append(
                {"row": row, "variable": name, "low": packed(low, "<f4"), "high": packed(high, "<f4") if thin else None}
            )
    return {
        "start": start,
        "stop": stop,
        "time": packed(scene.traces.times(start, stop, bins), "<f8"),
        "traces": traces,
    }


def average(scene: Scene, row: int, variable: str, column: str) -> dict[str, Any]:
    """Return event averages of a cell."""
    found = scene.averages(row, variable, column)
    groups = [group | {name: packed(group[name], "<f4") for name in ("mean", "sem")} for group in found["groups"]]
    return found | {"time": packed(found["time"], "<f8"), "groups": groups}


def quality(scene: Scene) -> dict[str, str]:
    """Return the columns of quality, those that had to be computed included."""
    return {name: packed(values, "<f4") for name, values in scene.quality.items()}


def standing(found: Verdicts, path: str) -> dict[str, Any]:
    """Return what stands of a curation, and where it is written."""
    return {
        "verdict": found.verdict,
        "into": found.into,
        "last": None if found.last is None else asdict(found.last),
        "path": path,
    }
