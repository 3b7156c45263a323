"""Cells found by their activity and by their shape in the mean image, joined without duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Roi = dict[str, Any]
ACTIVITY, ANATOMY, BOTH, GIVEN = "activity", "anatomy", "both", "given"
SIZES = 0.3, 3.0  # least and largest area of a cell, of a disc of the diameter
CONFLICT = 0.5, 2.0  # area of an active ROI to that of its soma, outside which the soma's outline is taken
NEAR = 0.5  # distance of two centres of one cell, diameters
SHARED = 0.5  # share of the smaller mask in the larger one


def of_a_cells_size(rois: Sequence[Roi], diameter: float) -> list[Roi]:
    """Return the ROIs whose area is that of a cell: neither pieces of neurites nor patches of neuropil."""
    disc = np.pi * diameter**2 / 4
    return [roi for roi in rois if SIZES[0] * disc <= roi["ypix"].size <= SIZES[1] * disc]


def soma_roi(pixels: np.ndarray) -> Roi:
    """Return pixels (y, x), shape (pixel, 2), as a ROI of even weights."""
    return {"ypix": pixels[:, 0], "xpix": pixels[:, 1], "lam": np.ones(len(pixels), dtype=np.float32)}


def joined(active: Sequence[Roi], somata: Sequence[np.ndarray], diameter: float) -> list[Roi]:
    """Return every cell once, with `found_by`; active ones first.

    A cell found by both keeps the mask of its activity, unless that is half or twice as large as the soma.

    Parameters
    ----------
    active
        ROIs found by their activity: `ypix`, `xpix`, `lam` and more.
    somata
        Pixels (y, x) of somata in the mean image, each shape (pixel, 2).
    diameter
        Of cells, pixels.
    """
    taken: set[int] = set()
    cells = []
    for roi in active:
        pixels = np.stack([roi["ypix"], roi["xpix"]], axis=1)
        same = [k for k, soma in enumerate(somata) if k not in taken and _same(pixels, soma, diameter)]
        taken |= set(same)
        cells.append(_of_both(roi, somata[same[0]]) if same else roi | {"found_by": ACTIVITY})
    rest = [soma_roi(soma) | {"found_by": ANATOMY} for k, soma in enumerate(somata) if k not in taken]
    return [*cells, *rest]


def _of_both(roi: Roi, soma: np.ndarray) -> Roi:
    low, high = CONFLICT
    agree = low <= roi["ypix"].size / len(soma) <= high
    return (roi if agree else soma_roi(soma)) | {"found_by": BOTH}


def _same(one: np.ndarray, other: np.ndarray, diameter: float) -> bool:
    if np.linalg.norm(one.mean(axis=0) - other.mean(axis=0)) > 2 * diameter:
        return False
    if np.linalg.norm(one.mean(axis=0) - other.mean(axis=0)) <= NEAR * diameter:
        return True
    shared = len(set(map(tuple, one.tolist())) & set(map(tuple, other.tolist())))
    return shared >= SHARED * min(len(one), len(other))
