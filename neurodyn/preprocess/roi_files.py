"""ROIs that the user drew or found elsewhere: mask images, ImageJ's ROIs, tables of centres, neurofinder's JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import label
from skimage.draw import disk, polygon2mask

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.core.extras import require
from neurodyn.data.damage import library, reason
from neurodyn.data.regions import read_regions
from neurodyn.readers.columns import read_columns
from neurodyn.readers.images import read_image

Frame = tuple[int, int]
KINDS = ".tif, .npy, .roi, .zip, .csv, .json or a recording (.zarr)"


def read_masks(path: Path, frame: Frame, diameter: float | None = None) -> list[np.ndarray]:
    """Return the pixels (y, x) of every ROI of a file, each shape (pixel, 2).

    Parameters
    ----------
    frame
        Height and width of the registered movie that the ROIs belong to, pixels.
    diameter
        Of the discs around centres whose table has no column `radius`, pixels.

    Raises
    ------
    DataError
        If the file has no ROI, or one that is empty or reaches out of the frame.
    """
    if not path.exists():
        raise DataError(f"There is no file {path}.", f"Expected ROIs as {KINDS}.", "Check the name: --rois FILE")
    readers: dict[str, Callable[[Path, Frame, float | None], list[np.ndarray]]] = {
        ".tif": _image, ".tiff": _image, ".npy": _image, ".roi": _imagej, ".zip": _imagej, ".csv": _centres,
        ".json": _regions, ".zarr": _regions,
    }  # fmt: skip
    if path.suffix.lower() not in readers:
        raise DataError(f"{path} is no file of ROIs.", f"Expected {KINDS}.", "Export the ROIs as one of these.")
    masks = [np.asarray(mask, dtype=np.int64) for mask in readers[path.suffix.lower()](path, frame, diameter)]
    if not masks:
        raise DataError(f"{path} holds no ROI.", "It is empty.", "Mark at least one region.")
    for number, mask in enumerate(masks, start=1):
        _check(path, number, mask, frame)
    return masks


def _check(path: Path, number: int, mask: np.ndarray, frame: Frame) -> None:
    if not len(mask):
        raise DataError(
            f"ROI {number} of {path} is empty.", "It has no pixel.", "Remove it, or mark a region of pixels."
        )
    if (mask < 0).any() or (mask >= frame).any():
        reach = f"rows {mask[:, 0].min()} to {mask[:, 0].max()}, columns {mask[:, 1].min()} to {mask[:, 1].max()}"
        raise DataError(
            f"ROI {number} of {path} lies outside the movie.",
            f"It has {reach}; frames have {list(frame)} pixels, as (y, x).",
            "Give ROIs of this movie, as (row, column) from 0.",
        )


def _image(path: Path, frame: Frame, diameter: float | None) -> list[np.ndarray]:
    """Read labels (one number per ROI), a black-and-white mask (ROIs are its islands), or a stack of such masks."""
    image = np.squeeze(read_image(path))
    if image.shape[-2:] != frame or image.ndim not in (2, 3):
        raise DataError(
            f"{path} is no mask of this movie.",
            f"It has the shape {image.shape}; expected {frame}, or (roi, {frame[0]}, {frame[1]}).",
            "Save the mask at the size of the movie's frames.",
        )
    if image.ndim == 3:
        return [np.argwhere(plane) for plane in image]
    if not np.issubdtype(image.dtype, np.integer) and image.dtype != bool and (image != np.rint(image)).any():
        raise DataError(
            f"{path} holds no labels.", f"Found fractions, {image.dtype}.", "Save whole numbers, 0 outside ROIs."
        )
    values = np.unique(image[image != 0])
    if values.size == 1:  # nobody numbers a single ROI 255, and a mask of many has but one value
        islands, count = label(image != 0)  # pyright: ignore[reportGeneralTypeIssues]
        return [np.argwhere(islands == number + 1) for number in range(count)]
    return [np.argwhere(image == value) for value in values]


def _imagej(path: Path, frame: Frame, diameter: float | None) -> list[np.ndarray]:
    roifile = require("roifile", "Reading ImageJ's ROIs")
    with library(path, _unreadable):
        found = roifile.roiread(path)
    rois = found if isinstance(found, list) else [found]
    return [_outlined(path, number, roi, frame) for number, roi in enumerate(rois, start=1)]


def _outlined(path: Path, number: int, roi: Any, frame: Frame) -> np.ndarray:
    """Return the pixels within an outline; one that leaves the frame keeps a pixel outside, for the check to find."""
    outline = np.asarray(roi.coordinates(), dtype=float)[:, ::-1] - 0.5  # ImageJ counts from a pixel's corner
    if len(outline) < 3:
        kind = getattr(roi.roitype, "name", str(roi.roitype)).lower()
        raise DataError(
            f"ROI {number} of {path} has no area.", f"It is a {kind}.", "Draw polygons, ovals or rectangles."
        )
    corner = np.floor(outline.min(axis=0)).astype(int)
    shape = tuple(np.ceil(outline.max(axis=0)).astype(int) - corner + 2)
    if max(shape) > 2 * max(frame):
        return np.array([corner, corner + shape])
    return np.argwhere(polygon2mask(shape, outline - corner)) + corner


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read as ImageJ's ROIs.", f"{reason(error)}.", "Save them anew in ImageJ's ROI manager."
    )


def _centres(path: Path, frame: Frame, diameter: float | None) -> list[np.ndarray]:
    table = read_columns(path)
    if not {"y", "x"} <= set(table):
        raise DataError(
            f"{path} has no centres.", f"Found columns {', '.join(table)}; expected y, x and radius.", "Name them."
        )
    if "radius" not in table and diameter is None:
        raise ConfigError(
            f"{path} does not say how large its ROIs are.", "Found no column radius.", "Give --diameter 12"
        )
    radius = table.get("radius", np.full(len(table["y"]), (diameter or 0) / 2))
    values = np.stack([table["y"], table["x"], radius], axis=1).astype(float)
    return [_disc(path, number, row, frame) for number, row in enumerate(values, start=1)]


def _disc(path: Path, number: int, row: np.ndarray, frame: Frame) -> np.ndarray:
    """Return the pixels of a disc within the frame; its centre must be there."""
    y, x, radius = row
    if not np.isfinite(row).all() or not (0 <= y < frame[0] and 0 <= x < frame[1]):
        raise DataError(
            f"ROI {number} of {path} lies outside the movie.",
            f"Its centre is ({y:g}, {x:g}); frames have {list(frame)} pixels, as (y, x).",
            "Give rows as y and columns as x, in pixels from 0.",
        )
    return np.stack(disk((y, x), radius, shape=frame), axis=1) if radius > 0 else np.empty((0, 2))


def _regions(path: Path, frame: Frame, diameter: float | None) -> list[np.ndarray]:
    found = read_regions(path)
    if found.pixels is None:
        raise DataError(
            f"{path} has centres only.", "Expected ROIs with pixels.", "Give masks, or a CSV with y, x and radius."
        )
    return found.pixels
