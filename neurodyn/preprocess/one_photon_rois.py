"""From a registered one-photon movie to ROIs and their traces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import skew

from neurodyn.core.errors import DataError
from neurodyn.preprocess.anatomy import Size, estimate_diameter
from neurodyn.preprocess.detected import ACTIVITY
from neurodyn.preprocess.find_cells import Cells, Wanted, in_frame
from neurodyn.preprocess.movie16 import stretches
from neurodyn.preprocess.one_photon import changes, find_footprints, read_traces
from neurodyn.preprocess.suite2p_stages import Stages, none_found


def one_photon_cells(stages: Stages, registration: Mapping[str, Any], wanted: Wanted) -> tuple[Cells, np.ndarray]:
    """Find cells amid one-photon background; return them and their light, in suite2p's numbers, shape (roi, time).

    Raises
    ------
    DataError
        If there is no cell, or the pictures do not tell how large cells are.
    """
    binned = stages.bin(registration)
    rise = np.max([gaussian_filter(frame, 1) for frame in changes(binned)], axis=0)
    size = None if wanted.diameter else estimate_diameter([rise])
    diameter = wanted.diameter or _diameter(size)
    found = find_footprints(binned, diameter)
    rows, columns = (slice(*registration[name]) for name in ("yrange", "xrange"))
    corner = np.array([rows.start, columns.start])
    pieces = [(pixels + corner, weights) for pixels, weights in found.pixels()]
    if not pieces:
        raise none_found(f"Nothing {diameter:.1f} pixels wide rises out of the noise together with its neighbours.")
    rois = [{"ypix": p[:, 0], "xpix": p[:, 1], "lam": w, "found_by": ACTIVITY} for p, w in pieces]
    stages.settings["diameter"] = [diameter, diameter]
    complete = stages.complete(rois, None)
    whole = sum(stages.binary[chunk][:, rows, columns].sum(axis=0, dtype=np.float64) for chunk in _chunks(stages))
    traces = read_traces(
        lambda chunk: stages.binary[chunk][:, rows, columns],
        _chunks(stages),
        whole / stages.binary.shape[0],
        found,
        diameter,
    )
    for roi, trace in zip(complete, traces, strict=True):
        roi |= {"skew": float(skew(trace)), "snr": 1 - 0.5 * float(np.diff(trace).var() / trace.var())}
    return Cells(complete, size, in_frame(rise, registration, stages.binary.shape[1:])), traces


def _chunks(stages: Stages) -> list[slice]:
    return stretches(stages.binary.shape, itemsize=16)  # several copies of a chunk in single precision


def _diameter(size: Size | None) -> float:
    if size is None:
        raise DataError(
            "The movie does not show how large its cells are.",
            "No discs of any size stand out where its brightness rises.",
            "Tell their diameter in pixels: --diameter 12",
        )
    return size.diameter
