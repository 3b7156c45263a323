"""Regions of interest as pixels and centres: of a recording, or marked by hand in neurofinder's JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording


@dataclass(frozen=True)
class Regions:
    """Regions in the plane of a movie.

    Parameters
    ----------
    centres
        (y, x) in pixels, shape (region, 2).
    pixels
        (y, x) of every pixel of each region, each shape (pixel, 2); None where only centres are known.
    """

    centres: np.ndarray
    pixels: list[np.ndarray] | None


def read_regions(path: Path) -> Regions:
    """Read regions from neurofinder's JSON, or from a recording that has ROIs.

    Raises
    ------
    DataError
        If there are none.
    """
    return _json(path) if path.is_file() else regions_of(Recording.open(path))


def regions_of(recording: Recording) -> Regions:
    """Return a recording's ROIs, with pixels where it has masks or simulated footprints.

    Raises
    ------
    DataError
        If it has no ROIs with centres.
    """
    table = recording.table("rois")
    if table is None or not {"y", "x"} <= set(map(str, table.data_vars)):
        raise DataError(
            f"Recording '{recording.session}' has no ROIs with centres.",
            "Expected a table 'rois' with columns y and x, pixels.",
            "Find some: neurodyn extract MOVIE -o rois.zarr",
        )
    centres = np.stack([table["y"].values, table["x"].values], axis=1).astype(float)
    if "mask_roi" in table:
        places = np.stack([table["mask_y"].values, table["mask_x"].values], axis=1)
        owner = table["mask_roi"].values
        return Regions(centres, [places[owner == roi] for roi in range(len(centres))])
    truth = recording.table("truth")
    if truth is None or "footprint" not in truth:
        return Regions(centres, None)
    prints = truth["footprint"].values
    return Regions(centres, [np.argwhere(footprint > 0.5 * footprint.max()) for footprint in prints])


def _json(path: Path) -> Regions:
    try:
        regions = json.loads(path.read_text(encoding="utf-8"))
        pixels = [_pixels(region["coordinates"]) for region in regions]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} holds no regions.",
            f"{type(error).__name__}: {error}",
            'Expected a list such as [{"id": 1, "coordinates": [[row, column], …]}, …]',
        ) from error
    if not pixels:
        raise DataError(f"{path} holds no regions.", "The list is empty.", "Give the marked regions of this movie.")
    return Regions(np.array([each.mean(axis=0) for each in pixels]), pixels)


def _pixels(coordinates: Any) -> np.ndarray:
    pixels = np.asarray(coordinates, dtype=np.int64)
    if pixels.ndim != 2 or pixels.shape[1] != 2 or not pixels.size:
        raise ValueError(f"coordinates of shape {pixels.shape}, expected (pixel, 2)")
    return pixels
