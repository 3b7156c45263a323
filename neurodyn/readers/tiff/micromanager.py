"""Micro-Manager: one TIFF file per frame, plane and channel, described by metadata.txt beside them."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.readers.tiff.grid import Grid, of_places
from neurodyn.readers.tiff.layout import Order, rising

LOGGER = logging.getLogger(__name__)
NAME = re.compile(r"^img_channel(?P<c>\d+)_position(?P<p>\d+)_time(?P<t>\d+)_z(?P<z>\d+)$")
OLD_NAME = re.compile(r"^img_(?P<t>\d{6,})_(?P<c>.*)_(?P<z>\d+)$")


def arranged(path: Path, files: Sequence[Path]) -> Grid | None:
    """Return the grid of a Micro-Manager folder of single pictures; None where names are others.

    Raises
    ------
    DataError
        If there are several positions, or files of other names.
    """
    known = {file: found for file in files if (found := NAME.match(file.stem) or OLD_NAME.match(file.stem))}
    if not known:
        return None
    positions = sorted({found.groupdict().get("p", "0") for found in known.values()})
    if len(known) < len(files) or len(positions) > 1:
        raise DataError(
            f"{path} is not one Micro-Manager series.",
            f"Found positions {', '.join(positions)}, and {len(files) - len(known)} files of other names.",
            "Give each position a folder of its own, and move other files out.",
        )
    channels = sorted({found["c"] for found in known.values()})
    places = {file: (int(found["t"]), int(found["z"]), channels.index(found["c"])) for file, found in known.items()}
    grid = of_places(places, f"Micro-Manager, by names, channels {', '.join(channels)}")
    return replace(grid, order=_clocked(grid, path / "metadata.txt"))


def _clocked(grid: Grid, path: Path) -> Order:
    """Add the times or the rate that the description tells."""
    if not path.is_file():
        return grid.order
    try:
        told = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except ValueError as error:  # of a stopped acquisition it is not closed
        LOGGER.warning("%s is damaged (%s): times and rate are not read from it.", path, error)
        return grid.order
    told = told if isinstance(told, dict) else {}
    summary = told.get("Summary")
    period = summary.get("Interval_ms") if isinstance(summary, dict) else None
    rate = 1000 / period if isinstance(period, int | float) and period > 0 else None
    taken = _elapsed(told)
    every = np.array([taken.get(file.name, np.nan) for file in grid.files] + [np.nan])  # row -1: a missing file
    times = every[grid.order.rows[..., 0]] / 1000
    order = replace(grid.order, rate_hz=rate)
    return replace(order, times=times - times.min()) if len(times) > 1 and rising(times) else order


def _elapsed(told: Mapping[str, Any]) -> dict[str, float]:
    """Return when each file's picture was taken, ms."""
    found = {}
    for key, value in told.items():
        if isinstance(value, dict) and isinstance(value.get("ElapsedTime-ms"), int | float):
            name = value.get("FileName") or key.rpartition("/")[2].removeprefix("Metadata-")
            found[str(name).rpartition("/")[2]] = float(value["ElapsedTime-ms"])
    return found
