"""What suite2p says of one plane, and the recording of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurodyn.core.errors import DataError
from neurodyn.data.lazy import lazy
from neurodyn.data.recording import Recording
from neurodyn.data.schema import RATE_TOLERANCE
from neurodyn.readers.masks import Mask, mask_columns, pictures
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.sources import View, build, regular_times

LOGGER = logging.getLogger(__name__)
TRACES = {"fluorescence": "F", "neuropil": "Fneu", "spikes": "spks"}
ROI_COLUMNS = {"npix": "pixel", "radius": "pixel", "skew": "", "snr": ""}
PICTURES = {"mean_image": "meanImg", "max_projection": "max_proj", "correlation_image": "Vcorr"}


@dataclass(frozen=True)
class Output:
    """What suite2p says of one plane.

    Parameters
    ----------
    where
        The folder or file, for messages.
    traces
        Name of the variable -> array on disk, shape (roi, time).
    iscell
        Verdict and probability, shape (roi, 2), or verdicts alone, shape (roi,); None where there are none.
    said
        Settings and pictures; nothing where they are not read.
    stat
        One mapping per ROI, with ypix, xpix, lam and more; None where it is not read.
    """

    where: Path
    traces: Mapping[str, Any]
    iscell: np.ndarray | None
    said: Mapping[str, Any]
    stat: Sequence[Mapping[str, Any]] | None


def of_output(path: Path, output: Output, options: ReadOptions, session: str) -> Recording:
    """Build the recording of one plane.

    Parameters
    ----------
    session
        Its name where the options give none.
    """
    count, frames = _size(output)
    rows, table = _cells(output, count, options.cells_only)
    if output.stat is not None:
        table |= _of_stat(output, rows, count)
    fs = _rate(output, options.fs)
    neural = {
        name: lazy(("time", "roi"), View(trace, ("roi", "time")))[:, rows] for name, trace in output.traces.items()
    }
    seen = _pictures(output.said)
    return build(
        "suite2p", path, neural, regular_times(output.where, frames, fs), options,
        rate_hz=fs, rois=xr.Dataset(table), session=options.session or session, qc=xr.Dataset(seen) if seen else None,
        attrs={"source": path.name, "layout": _words(output, count, rows.size, options.cells_only)},
    )  # fmt: skip


def _size(output: Output) -> tuple[int, int]:
    shapes = {name: tuple(trace.shape) for name, trace in output.traces.items()}
    if len(set(shapes.values())) > 1:
        raise DataError(f"{output.where}: the traces differ in shape.", f"Found {shapes}.", "Run suite2p again.")
    return shapes["fluorescence"]


def _cells(output: Output, count: int, cells_only: bool) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the rows that are read, and their numbers, verdicts and probabilities as columns."""
    if output.iscell is None:
        return np.arange(count), {"suite2p_roi": ("roi", np.arange(count))}
    iscell = output.iscell[:, None] if output.iscell.ndim == 1 else output.iscell
    verdict = iscell[:, 0] > 0
    if len(iscell) != count or not (verdict.any() or not cells_only):
        raise DataError(
            f"{output.where}: iscell leaves no cells.",
            f"Found {len(iscell)} rows with {int(verdict.sum())} cells; F has {count} ROIs.",
            "Curate in suite2p, or take every ROI: --set source.cells_only=false",
        )
    rows = np.flatnonzero(verdict) if cells_only else np.arange(count)
    columns = {"suite2p_roi": ("roi", rows), "cell": ("roi", verdict[rows])}
    return rows, columns | {"probability": ("roi", np.asarray(iscell[rows, -1], dtype=np.float64))}


def _words(output: Output, count: int, kept: int, cells_only: bool) -> str:
    files = ", ".join(file for name, file in TRACES.items() if name in output.traces)
    words = f"suite2p's {output.where.name}: {files}, ROI by time, as {', '.join(output.traces)}"
    if output.iscell is None:
        return f"{words}; no iscell, every ROI is taken"
    how = "cells by iscell are taken (all: --set source.cells_only=false)" if cells_only else "ROIs are taken"
    return f"{words}; {kept} of {count} {how}"


def _rate(output: Output, given: float | None) -> float | None:
    fs = np.asarray(output.said.get("fs", np.nan)).ravel()
    said = float(fs[0]) if fs.size and fs.dtype.kind in "iuf" and np.isfinite(fs[0]) and fs[0] > 0 else None
    if given is not None and said is not None and abs(given / said - 1) > RATE_TOLERANCE:
        raise DataError(
            f"{output.where}: the given rate contradicts suite2p's settings.",
            f"Given {given:g} Hz; the settings say {said:g} Hz.",
            f"Give --fs {said:g}, or leave it out.",
        )
    return given if said is None else said


def _pictures(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plane's pictures; the projection covers the part seen in every frame (yrange, xrange)."""
    size = [np.asarray(said.get(name, 0)).ravel() for name in ("Ly", "Lx")]
    frame = (int(size[0][0]), int(size[1][0])) if all(side.size and side[0] > 0 for side in size) else None
    first = [np.asarray(said.get(name, 0)).ravel() for name in ("yrange", "xrange")]
    corner = (int(first[0][0]), int(first[1][0])) if all(part.size for part in first) else (0, 0)
    images = {name: said[key] for name, key in PICTURES.items() if said.get(key) is not None}
    return pictures(images, frame, corner)


def _of_stat(output: Output, rows: np.ndarray, count: int) -> dict[str, Any]:
    """Return centres, columns and masks of the ROIs that are read."""
    stat = list(output.stat or [])
    if len(stat) != count or not all(isinstance(roi, Mapping) and "med" in roi for roi in stat):
        raise DataError(
            f"{output.where}: stat does not describe the ROIs.",
            f"Found {len(stat)} entries; F has {count} ROIs.",
            "Read without pickle, or run suite2p again.",
        )
    kept = [stat[k] for k in rows]
    centres = np.array([np.asarray(roi["med"], dtype=float).ravel() for roi in kept])
    table: dict[str, Any] = {"y": ("roi", centres[:, 0]), "x": ("roi", centres[:, 1])}
    for name, units in ROI_COLUMNS.items():
        if all(name in roi for roi in kept):
            values = np.array([float(np.ravel(roi[name])[0]) for roi in kept])
            table[name] = ("roi", values, {"units": units} if units else {})
    if all("iplane" in roi for roi in kept):  # of the folder in which suite2p puts the planes beside each other
        table["plane"] = ("roi", np.array([int(np.ravel(roi["iplane"])[0]) for roi in kept]))
    if not all({"ypix", "xpix", "lam"} <= set(roi) for roi in kept):
        LOGGER.warning("%s: stat has no pixels (ypix, xpix, lam); the ROIs have centres only.", output.where)
        return table
    return table | mask_columns([_mask(output.where, roi) for roi in kept])


def _mask(where: Path, roi: Mapping[str, Any]) -> Mask:
    y, x, weight = (np.ravel(roi[name]) for name in ("ypix", "xpix", "lam"))
    overlap = np.ravel(roi["overlap"]) if "overlap" in roi else None
    sizes = {y.size, x.size, weight.size, y.size if overlap is None else overlap.size}
    if len(sizes) > 1:
        raise DataError(
            f"{where}: a mask in stat is not whole.",
            f"Found {y.size} rows, {x.size} columns and {weight.size} weights of pixels.",
            "Run suite2p again, or read without pickle.",
        )
    return Mask(y, x, weight, overlap)
