"""The pixels of ROIs as columns of the table `rois`, and pictures of the plane: the one form every source is brought to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PIXEL = {"units": "pixel"}
UNITS = {"correlation_image": "a.u."}  # of pictures; suite2p weighs its correlation by how bright a place gets


@dataclass(frozen=True)
class Mask:
    """The pixels of one ROI.

    Parameters
    ----------
    y, x
        Row and column of each pixel, shape (pixel,).
    weight
        As the source gives it, a.u., shape (pixel,).
    overlap
        Whether another ROI has the pixel, too, bool, shape (pixel,); None where the source does not say, and it is then
        found among the masks that are read.
    """

    y: np.ndarray
    x: np.ndarray
    weight: np.ndarray
    overlap: np.ndarray | None = None


def mask_columns(masks: Sequence[Mask]) -> dict[str, Any]:
    """Return masks as columns with one row per pixel, dim `mask`.

    They are mask_roi (row of the table), mask_y, mask_x, mask_weight and mask_overlap (another ROI has the pixel, too); beside
    them `overlap`, by ROI the share of its pixels that it shares.
    """
    shared = _overlaps(masks)
    share = np.array([each.mean() if each.size else 0.0 for each in shared])
    return {
        "mask_roi": ("mask", np.repeat(np.arange(len(masks)), [mask.y.size for mask in masks])),
        "mask_y": ("mask", _joined([mask.y for mask in masks]).astype(np.int64), PIXEL),
        "mask_x": ("mask", _joined([mask.x for mask in masks]).astype(np.int64), PIXEL),
        "mask_weight": ("mask", _joined([mask.weight for mask in masks]).astype(np.float64), {"units": "a.u."}),
        "mask_overlap": ("mask", _joined(shared).astype(bool)),
        "overlap": ("roi", share, {"units": "1", "long_name": "share shared"}),
    }


def _overlaps(masks: Sequence[Mask]) -> list[np.ndarray]:
    """Return which pixels each mask shares, as the source says it, else as these masks show."""
    told = [mask.overlap for mask in masks if mask.overlap is not None]
    if len(told) == len(masks):  # of all ROIs of the source, also of those that are not read
        return told
    places = np.stack([_joined([mask.y for mask in masks]), _joined([mask.x for mask in masks])], axis=1)
    _, index, count = np.unique(places, axis=0, return_inverse=True, return_counts=True)
    return np.split(count[index.ravel()] > 1, np.cumsum([mask.y.size for mask in masks])[:-1])


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.empty(0)


def pictures(images: Mapping[str, Any], frame: tuple[int, int] | None, corner: tuple[int, int]) -> dict[str, Any]:
    """Return pictures of the plane as columns of `qc`, dims (y, x); one of a part of the frame has NaN around it.

    Parameters
    ----------
    images
        Name -> picture; what is no picture of the frame or of a part of it is left out.
    frame
        Rows and columns of a frame; None where the source does not say, and the first picture is taken for one.
    corner
        First row and column of a picture that is smaller than the frame.
    """
    kept: dict[str, Any] = {}
    for name, image in images.items():
        picture = np.asarray(image)
        if picture.ndim != 2 or picture.dtype.kind not in "iuf" or not picture.size:
            continue
        frame = frame or (picture.shape[0], picture.shape[1])
        end = tuple(first + size for first, size in zip(corner, picture.shape, strict=True))
        if picture.shape != frame and (end[0] > frame[0] or end[1] > frame[1]):
            continue
        whole = np.full(frame, np.nan, dtype=np.float32)
        place = (0, 0) if picture.shape == frame else corner
        whole[place[0] : place[0] + picture.shape[0], place[1] : place[1] + picture.shape[1]] = picture
        kept[name] = (("y", "x"), whole, {"units": UNITS.get(name, "counts")})
    return kept
