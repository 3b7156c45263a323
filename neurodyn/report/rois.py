"""ROIs in the mean image: how large they are, whether they stand out, and where they lie."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure as Canvas
from scipy.ndimage import binary_dilation

from neurodyn.data.recording import Recording
from neurodyn.report.blocks import Figure
from neurodyn.report.style import draw, image

GUARD, RING = 1, 4  # pixels around a ROI: left out, and where its surround ends
OUTLINE = (0.90, 0.62, 0.0, 1.0)


def areas(table: xr.Dataset) -> np.ndarray | None:
    """Return the pixels of each ROI, shape (roi,); None where the table does not say."""
    if "npix" in table:
        return table["npix"].values.astype(float)
    if "mask_roi" in table:
        return np.bincount(table["mask_roi"].values.astype(int), minlength=table.sizes["roi"]).astype(float)
    return None


def contrast(table: xr.Dataset, mean: np.ndarray) -> np.ndarray:
    """Return each ROI's mean less that of the ring around it, in the image's unit, shape (roi,).

    The ring has the pixels 2 to 4 away from the ROI that are in no ROI; NaN where there are none.

    Parameters
    ----------
    mean
        Mean image, shape (y, x).
    """
    owner, y, x = _pixels(table)
    taken = np.zeros(mean.shape, dtype=bool)
    taken[y, x] = True
    found = np.full(table.sizes["roi"], np.nan)
    for roi in range(found.size):
        rows, columns = y[owner == roi], x[owner == roi]
        if not rows.size:
            continue
        corner = max(0, rows.min() - RING), max(0, columns.min() - RING)
        part = slice(corner[0], rows.max() + RING + 1), slice(corner[1], columns.max() + RING + 1)
        own = np.zeros(taken[part].shape, dtype=bool)
        own[rows - corner[0], columns - corner[1]] = True
        wide, guard = (np.asarray(binary_dilation(own, iterations=size), dtype=bool) for size in (RING, GUARD))
        near = wide & ~guard & ~taken[part]
        near &= np.isfinite(mean[part])
        if near.any():
            found[roi] = np.nanmean(mean[part][own]) - mean[part][near].mean()
    return found


def _pixels(table: xr.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return owner, row and column of every pixel of the masks."""
    owner, y, x = (table[name].values.astype(int) for name in ("mask_roi", "mask_y", "mask_x"))
    return owner, y, x


def rois_figure(recording: Recording, qc: xr.Dataset) -> Figure | None:
    """Draw the ROIs' outlines on the mean image; None without either."""
    table = recording.table("rois")
    if table is None or "mask_roi" not in table or "mean_image" not in qc:
        return None
    mean = qc["mean_image"].values
    edges = _outlines(table, mean.shape)

    def paint(canvas: Canvas) -> None:
        plain, outlined = canvas.subplots(1, 2)
        low, high = np.nanpercentile(mean, [1, 99.5])
        for axes in (plain, outlined):
            bar = image(axes, mean, None, cmap="gray", vmin=low, vmax=high)
        outlined.imshow(edges, interpolation="nearest")
        plain.set_title("mean image")
        outlined.set_title(f"{table.sizes['roi']} ROIs")
        canvas.colorbar(bar, ax=[plain, outlined], shrink=0.8, label=str(qc["mean_image"].attrs.get("units", "")))

    caption = (
        "Mean of the registered movie, and the outlines of the ROIs on it. Greys end at the 1st and 99.5th percentile."
    )
    return draw(paint, height=3.4, alt="ROIs on the mean image", caption=caption, pixels=True)


def _outlines(table: xr.Dataset, shape: tuple[int, ...]) -> np.ndarray:
    """Return the border pixels of the ROIs in colour, the rest transparent, shape (y, x, 4)."""
    owner, y, x = _pixels(table)
    label = np.full((shape[0] + 2, shape[1] + 2), -1)
    label[y + 1, x + 1] = owner
    core = label[1:-1, 1:-1]
    beside = (label[:-2, 1:-1], label[2:, 1:-1], label[1:-1, :-2], label[1:-1, 2:])
    edges = np.zeros((*shape, 4))
    edges[(core >= 0) & np.any([core != other for other in beside], axis=0)] = OUTLINE
    return edges
