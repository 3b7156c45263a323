"""What a simulated movie would be without noise: the product of the factors that its truth holds."""

from __future__ import annotations

import numpy as np
import xarray as xr

from neurodyn.data.recording import Recording
from neurodyn.simulate.widefield import hemodynamics

CELLS = {"footprint", "background", "baseline", "calcium", "neuropil"}
CORTEX = {"dff", "hemodynamics_course", "hemodynamics_map", "baseline_fluorescence", "bleaching_fluorescence"}


def clean_frames(recording: Recording) -> np.ndarray | None:
    """Return the expected counts of `fluorescence`, shape (time, y, x); None where the truth does not hold them.

    Simulators `two_photon` (as a movie), `widefield` and `widefield_awake` keep every factor, so that nothing else has to be
    stored.
    """
    truth = recording.table("truth")
    if truth is None:
        return None
    if set(truth.data_vars) >= CELLS:
        return _cells(truth)
    return _cortex(truth, _dark(recording)) if set(truth.data_vars) >= CORTEX else None


def _cells(truth: xr.Dataset) -> np.ndarray:
    light = truth["baseline"].values * (1 + truth["calcium"].values)
    neuropil = truth["neuropil"].values[:, :1, None] * truth["background"].values
    return (np.tensordot(light, truth["footprint"].values, axes=1) + neuropil).astype(np.float32)


def _cortex(truth: xr.Dataset, dark: float) -> np.ndarray:
    bleached = truth["bleaching_fluorescence"].values[:, None, None] * truth["baseline_fluorescence"].values
    absorbed = 1 + hemodynamics(truth, "fluorescence")
    return (dark + bleached * absorbed * (1 + truth["dff"].values)).astype(np.float32)


def _dark(recording: Recording) -> float:
    """Return the camera's dark level, which stands in the simulator's entry of the history."""
    for item in recording.history:
        if str(item["step"]).startswith("simulate "):
            return float(item["params"]["dark"])
    return 0.0
