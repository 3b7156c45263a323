"""Whether ROIs agree with the picture that they were found in: their size, their overlap, and that there is something."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr
from scipy.ndimage import binary_dilation

from neurodyn.data.recording import Recording
from neurodyn.preprocess.anatomy import estimate_diameter
from neurodyn.report.check import Check, above
from neurodyn.report.rois import GUARD, RING, areas, contrast

COPIES = 50  # of a ROI, moved to other places of the picture
ODDS = 0.9  # share of those that a cell stands out from more than


def roi_checks(recording: Recording, qc: xr.Dataset) -> list[Check]:
    """Check whether ROIs are of one size, of the cells' size, apart, and brighter than what surrounds them."""
    table = recording.table("rois")
    area = None if table is None else areas(table)
    if table is None or area is None or not area.size:
        return []
    middle = float(np.median(area))
    odd = float(((area < middle / 4) | (area > 4 * middle)).mean())
    found = [above("ROIs below ¼ or above 4 times the median area, share", odd, 0.1, "fragments or merged cells")]
    diameter = 2 * math.sqrt(middle / math.pi)
    why = "too small or too large for cell bodies at usual magnifications; check the diameter that the extraction was told"
    found.append(Check("ROI diameter, median (pixels)", diameter, 3.0, 50.0, why))
    if "mask_roi" not in table:
        return found
    return [*found, *_overlap(table), *_against_pictures(recording, table, qc, diameter)]


def _overlap(table: xr.Dataset) -> list[Check]:
    places = np.stack([table["mask_y"].values, table["mask_x"].values], axis=1)
    _, which, count = np.unique(places, axis=0, return_inverse=True, return_counts=True)
    shared = float((count[which.ravel()] > 1).mean())
    why = "pixels in several ROIs count for none of them; were cells found twice, or pieces of them?"
    return [above("pixels of ROIs that another ROI has, too, share", shared, 0.25, why)]


def _against_pictures(recording: Recording, table: xr.Dataset, qc: xr.Dataset, diameter: float) -> list[Check]:
    pictures = [qc[name].values for name in ("mean_image", "max_projection") if name in qc and qc[name].ndim == 2]
    if "mean_image" not in qc or np.isnan(pictures[0]).all():
        return []
    size = contrast(table, pictures[0])
    dark = float((size[np.isfinite(size)] <= 0).mean()) if np.isfinite(size).any() else float("nan")
    why = "they do not stand out of their surround in the mean image; noise or neuropil may have been taken for cells"
    found = [above("ROIs no brighter than the ring around them, share", dark, 0.25, why)]
    nothing = np.all([~_stands_out(table, picture) for picture in pictures], axis=0)
    why = "moved to chance places, most of them would look the same: they lie on nothing, or the picture is another movie's"
    found.append(above("ROIs that stand out no more than moved copies of them, share", float(nothing.mean()), 0.5, why))
    expected = _expected(recording, pictures)
    if expected:
        why = (
            f"cells in the movie's pictures are {expected:.1f} pixels wide; ROIs are pieces of them or of neurites, or "
            f"several in one. Extract anew: neurodyn extract --diameter {expected:.0f}"
        )
        found.append(
            Check("ROI diameter, median, share of the cells' in the pictures", diameter / expected, 0.65, 1.6, why)
        )
    return found


def _expected(recording: Recording, pictures: list[np.ndarray]) -> float | None:
    """Return the cells' diameter as the extraction estimated it, else as the pictures show it, pixels."""
    for item in reversed(recording.history):
        params = item.get("params") or {}
        if "diameter_px" in params and params.get("diameter_from") != "told":
            return float(params["diameter_px"])
    size = estimate_diameter(pictures)
    return size.diameter if size else None


def _stands_out(table: xr.Dataset, picture: np.ndarray) -> np.ndarray:
    """Return whether ROIs are brighter against their ring than nine in ten copies at other places, bool, shape (roi,)."""
    rng = np.random.default_rng(0)
    owner, y, x = (table[name].values.astype(int) for name in ("mask_roi", "mask_y", "mask_x"))
    found = np.zeros(table.sizes["roi"], dtype=bool)
    for roi in np.unique(owner):
        own = np.stack([y[owner == roi], x[owner == roi]], axis=1)
        moves = np.vstack([[0, 0], rng.integers(0, picture.shape, (COPIES, 2))])
        inside, around = (_means(picture, pixels, moves) for pixels in (own, _ring(own)))
        here, *elsewhere = inside - around
        found[roi] = here > np.nanquantile(elsewhere, ODDS)
    return found


def _means(picture: np.ndarray, pixels: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Return the mean of a picture over pixels, moved, shape (move,); what leaves at one side comes in at the other."""
    rows, columns = ((pixels + moves[:, None]) % picture.shape).transpose(2, 0, 1)  # each (move, pixel)
    values = picture[rows, columns]
    known = np.isfinite(values)
    return np.where(known, values, 0).sum(axis=1) / np.where(known.any(axis=1), known.sum(axis=1), np.nan)


def _ring(own: np.ndarray) -> np.ndarray:
    """Return the pixels 2 to 4 away from a ROI, some of them beyond the frame, shape (pixel, 2)."""
    corner = own.min(axis=0) - RING
    mask = np.zeros(own.max(axis=0) + RING + 1 - corner, dtype=bool)
    mask[tuple((own - corner).T)] = True
    wide, guard = (np.asarray(binary_dilation(mask, iterations=size), dtype=bool) for size in (RING, GUARD))
    return np.argwhere(wide & ~guard) + corner
