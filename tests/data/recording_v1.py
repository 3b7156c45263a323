"""Write the recording of schema version 1 that is kept: `python -m tests.data.recording_v1`, once per version."""

from pathlib import Path

import numpy as np
import xarray as xr

from neurodyn.data.recording import Recording

KEPT = Path(__file__).parent / "recording_v1.zarr"
FRAMES = np.arange(12, dtype=np.float32)
BRAIN = np.array([[True, True, False], [True, False, False]])


def made() -> Recording:
    """Return the recording: whole numbers that a test can state."""
    neural = {
        "fluorescence": (FRAMES[:, None, None] + np.arange(6).reshape(2, 3)).astype(np.uint16),
        "dff": FRAMES[:, None] * [0.25, -0.5],
    }
    stimulus = {"start": [0.1, 0.6], "stop": [0.2, 0.7], "contrast": [0.0, 1.0], "name": np.array(["blank", "grating"])}
    behavior = xr.Dataset(
        {"speed": ("time_wheel", [1.5, 2.5, 3.5], {"units": "cm/s"})}, coords={"time_wheel": [0.0, 0.5, 1.0]}
    )
    rois = xr.Dataset({"y": ("roi", [0.5, 1.5]), "x": ("roi", [2.0, 1.0])})
    history = [{"step": "read tiff", "params": {"fs": 10.0}, "version": "1"}]
    return Recording.from_arrays(
        neural,
        rate_hz=10.0,
        session="kept",
        indicator="GCaMP6s",
        stimulus=stimulus,
        behavior=behavior,
        rois=rois,
        brain=BRAIN,
        history=history,
    )


if __name__ == "__main__":
    made().save(KEPT)
