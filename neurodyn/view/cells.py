"""The cells of a recording as a window lists them: ids, places, quality and masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from neurodyn.core.errors import DataError
from neurodyn.data.matching import cell_ids
from neurodyn.data.recording import Recording

ROW = "curated_row"  # where a cell stood in the recording that was curated, when it had no id
COLUMNS, AT_ONCE = 256, 16  # traces read together, as a Zarr chunk holds them, and worked on together


def names_of_cells(recording: Recording) -> list[str]:
    """Return an id per ROI: those of the table of ROIs where it has them, else rows, counted from 0."""
    table = recording.table("rois")
    if table is not None and ROW in table:
        return [str(row) for row in table[ROW].values.tolist()]
    try:
        return cell_ids(recording).tolist()
    except DataError:  # suite2p's column `cell` is a verdict, not an id
        return [str(row) for row in range(recording.neural.sizes.get("roi", 0))]


@dataclass(frozen=True)
class Masks:
    """Pixels of ROIs.

    Parameters
    ----------
    roi, y, x
        Row of the ROI, and the pixel, one entry per pixel of each mask.
    """

    roi: np.ndarray
    y: np.ndarray
    x: np.ndarray


def masks_of(recording: Recording) -> Masks | None:
    """Return the masks of a recording's ROIs, or simulated footprints above half their peak; None without either."""
    table, truth = recording.table("rois"), recording.table("truth")
    if table is not None and "mask_roi" in table:
        return Masks(*(table[name].values.astype(np.int64) for name in ("mask_roi", "mask_y", "mask_x")))
    count = recording.neural.sizes.get("roi")
    if truth is None or "footprint" not in truth or truth["footprint"].shape[0] != count:
        return None
    prints = truth["footprint"].values
    return Masks(*np.nonzero(prints > 0.5 * prints.max(axis=(1, 2), keepdims=True)))


def column(recording: Recording, name: str) -> np.ndarray:
    """Return a numeric column of the table of ROIs, NaN where there is none, shape (roi,)."""
    table, count = recording.table("rois"), recording.neural.sizes.get("roi", 0)
    if table is not None and name in table and table[name].dims == ("roi",) and table[name].dtype.kind in "iuf":
        return table[name].values.astype(np.float64)
    return np.full(count, np.nan)


def sizes(recording: Recording, masks: Masks | None) -> np.ndarray:
    """Return the pixels of each ROI, shape (roi,); NaN where nothing says."""
    told = column(recording, "npix")
    if masks is None or np.isfinite(told).all():
        return told
    return np.bincount(masks.roi, minlength=told.size).astype(np.float64)


def quality(traces: xr.Variable) -> dict[str, np.ndarray]:
    """Return `snr` and `skew` of every trace, as suite2p has them; each shape (roi,), NaN for constant traces.

    snr = 1 - ½ var(x[t+1] - x[t]) / var(x): 0 for white noise, near 1 for what changes slowly. Skewness is that of the
    values: events are rare and positive.

    Parameters
    ----------
    traces
        Shape (time, roi), on disk.
    """
    parts = [_quality(part) for part in _columns(traces)]
    return {name: np.concatenate([part[name] for part in parts]) for name in ("snr", "skew")}


def _columns(traces: xr.Variable) -> Iterator[np.ndarray]:
    for first in range(0, traces.shape[1], COLUMNS):
        read = traces[:, first : first + COLUMNS].values
        yield from (read[:, k : k + AT_ONCE].astype(np.float64) for k in range(0, read.shape[1], AT_ONCE))


def _quality(values: np.ndarray) -> dict[str, np.ndarray]:
    found = {name: np.full(values.shape[1], np.nan) for name in ("snr", "skew")}
    usable = np.isfinite(values).sum(axis=0) > 2
    centred = values[:, usable] - np.nanmean(values[:, usable], axis=0)
    spread = np.nanmean(centred**2, axis=0)
    change = np.nanmean(np.diff(centred, axis=0) ** 2, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):  # a constant trace has neither
        found["snr"][usable] = 1 - 0.5 * change / spread
        found["skew"][usable] = np.nanmean(centred**3, axis=0) / spread**1.5
    return found
