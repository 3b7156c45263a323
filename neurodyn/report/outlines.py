"""Outlines of ROIs as lines, so that they stay sharp at any size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from scipy.ndimage import binary_fill_holes
from skimage.measure import find_contours


def outlines(table: xr.Dataset) -> list[list[np.ndarray]]:
    """Return the closed lines around each ROI, (y, x), shape (point, 2) each; holes are passed over."""
    owner, y, x = (table[name].values.astype(int) for name in ("mask_roi", "mask_y", "mask_x"))
    order = np.argsort(owner, kind="stable")
    edges = np.searchsorted(owner[order], np.arange(table.sizes["roi"] + 1))
    return [_around(y[order[a:b]], x[order[a:b]]) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def _around(y: np.ndarray, x: np.ndarray) -> list[np.ndarray]:
    if not y.size:
        return []
    corner = np.array([y.min(), x.min()])
    part = np.zeros((int(np.ptp(y)) + 3, int(np.ptp(x)) + 3))  # a margin, so that every line closes
    part[y - corner[0] + 1, x - corner[1] + 1] = 1
    return [line + corner - 1 for line in find_contours(np.asarray(binary_fill_holes(part), dtype=float), 0.5)]


def draw_outlines(axes: Axes, lines: Sequence[Sequence[np.ndarray]], colour: str, width: float = 0.7) -> None:
    """Draw the outlines of ROIs, as `outlines` gives them."""
    points = [line[:, ::-1] for each in lines for line in each]  # matplotlib's x comes first
    axes.add_collection(
        LineCollection(points, colors=colour, linewidths=width), autolim=False
    )  # the picture has the limits
