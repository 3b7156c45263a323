"""Cells of a registered movie: by their activity, by their shape, or where the user says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.core.log import LOGGER
from neurodyn.preprocess.anatomy import Size, estimate_diameter, find_somata
from neurodyn.preprocess.detected import ACTIVITY, ANATOMY, BOTH, GIVEN, joined, of_a_cells_size, soma_roi
from neurodyn.preprocess.suite2p_stages import Roi, Stages, none_found

Way = Literal["activity", "anatomy", "both"]
WAYS = (ACTIVITY, ANATOMY, BOTH)
SCALE_OF_ONE = 3.0  # pixels; suite2p's spatial scales are 6, 12, 24 and 48 pixels
NEUROPIL_WIDTH = 2.5  # diameters, of the filter that takes neuropil away before detection


@dataclass(frozen=True)
class Wanted:
    """How cells are to be found.

    Parameters
    ----------
    cells
        By their "activity", by their "anatomy", or "both".
    diameter
        Of cells, pixels; None for an estimate.
    masks
        Pixels (y, x) of the user's own ROIs, each shape (pixel, 2), instead of any search.
    one_photon
        Whether the movie is of one-photon light, in which cells lie on a bright background.
    """

    cells: Way = "both"
    diameter: float | None = None
    masks: Sequence[np.ndarray] | None = None
    one_photon: bool = False


@dataclass(frozen=True)
class Cells:
    """What was found.

    Parameters
    ----------
    rois
        `ypix`, `xpix`, `lam`, suite2p's measures and `found_by`.
    size
        Diameter of the somata in the movie's pictures, and their contrast; None where none stand out or one was told.
    rise
        Largest rise of the binned movie above its mean, NaN beside the part seen in every frame, shape (y, x).
    """

    rois: list[Roi]
    size: Size | None
    rise: np.ndarray


def find_cells(stages: Stages, registration: Mapping[str, Any], wanted: Wanted, by_hand: Mapping[str, Any]) -> Cells:
    """Find cells in a registered movie, and tell suite2p their diameter.

    Parameters
    ----------
    by_hand
        suite2p's settings that the user changed; these stay.

    Raises
    ------
    DataError
        If there is none.
    """
    binned = stages.bin(registration)
    mean, rise = binned.mean(axis=0), _rise(binned)
    size = None if wanted.diameter or wanted.masks is not None else estimate_diameter([mean, rise])
    diameter = wanted.diameter or (size.diameter if size else None)
    if diameter:
        _tell(stages.settings, diameter, by_hand)
    rois = (
        _given(wanted.masks)
        if wanted.masks is not None
        else _found(stages, registration, binned, mean, diameter, wanted)
    )
    if not rois:
        raise none_found(
            "Neither activity nor shape showed any." if wanted.cells == BOTH else f"Sought by {wanted.cells}."
        )
    complete = _complete(stages, rois, wanted)
    return Cells(complete, size, in_frame(rise, registration, stages.binary.shape[1:]))


def _complete(stages: Stages, rois: list[Roi], wanted: Wanted) -> list[Roi]:
    """Return ROIs with suite2p's measures; refuse the user's own whose every pixel others have, too: they have no trace."""
    most = None if wanted.masks is not None else stages.settings["detection"]["max_overlap"]
    complete = stages.complete(rois, most)
    hidden = [number for number, roi in enumerate(complete, start=1) if roi["overlap"].all()]
    if hidden and not stages.settings["extraction"]["allow_overlap"]:
        raise DataError(
            f"ROI {hidden[0]} lies wholly within others.",
            "Pixels that ROIs share count for none of them.",
            "Count them for all: --set extraction.allow_overlap=true",
        )
    return complete


def _given(masks: Sequence[np.ndarray]) -> list[Roi]:
    return [soma_roi(mask) | {"found_by": GIVEN} for mask in masks]


def _found(
    stages: Stages,
    registration: Mapping[str, Any],
    binned: np.ndarray,
    mean: np.ndarray,
    diameter: float | None,
    wanted: Wanted,
) -> list[Roi]:
    active = stages.detect(registration, binned) if wanted.cells != ANATOMY else []
    if diameter is None:
        LOGGER.warning("No cell bodies stand out in the movie's pictures; suite2p judges their size by itself.")
        return [roi | {"found_by": ACTIVITY} for roi in active]
    corner = [registration["yrange"][0], registration["xrange"][0]]
    somata = find_somata(mean, diameter) if wanted.cells != ACTIVITY else []
    sized = of_a_cells_size(active, diameter)
    LOGGER.info("%d ROIs by activity, %d of them of a cell's size; %d somata.", len(active), len(sized), len(somata))
    return joined(sized, [pixels + corner for pixels in somata], diameter)


def _rise(binned: np.ndarray) -> np.ndarray:
    return binned.max(axis=0) - binned.mean(axis=0)


def in_frame(picture: np.ndarray, registration: Mapping[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    """Return a picture of the part seen in every frame in the whole frame, NaN around it, shape (y, x)."""
    whole = np.full(shape, np.nan)
    rows, columns = (slice(*registration[name]) for name in ("yrange", "xrange"))
    whole[rows, columns] = picture
    return whole


def _tell(settings: dict[str, Any], diameter: float, by_hand: Mapping[str, Any]) -> None:
    """Set suite2p's diameter, the nearest of its spatial scales, and the width of its neuropil filter."""
    settings["diameter"] = [diameter, diameter]
    sparsery, theirs = (
        settings["detection"]["sparsery_settings"],
        by_hand.get("detection", {}).get("sparsery_settings", {}),
    )
    scale = int(np.clip(round(np.log2(diameter / SCALE_OF_ONE)), 1, 4))
    width = max(sparsery["highpass_neuropil"], round(NEUROPIL_WIDTH * diameter))
    sparsery |= {
        name: value for name, value in (("spatial_scale", scale), ("highpass_neuropil", width)) if name not in theirs
    }


def told(cells: Cells, wanted: Wanted) -> dict[str, Any]:
    """Return for the history which cells were sought and what their diameter was taken to be, and why."""
    found: dict[str, Any] = {"cells": GIVEN if wanted.masks is not None else wanted.cells}
    if wanted.diameter:
        return found | {"diameter_px": float(wanted.diameter), "diameter_from": "told"}
    if cells.size is None:
        return found
    LOGGER.info("Cells are %.1f pixels wide (contrast %.1f).", cells.size.diameter, cells.size.contrast)
    return found | {
        "diameter_px": round(cells.size.diameter, 2),
        "diameter_from": "estimated from the movie's pictures",
    }
