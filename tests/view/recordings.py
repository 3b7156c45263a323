"""A small session whose cells, pixels and events are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from neurodyn.data.recording import Recording

RATE, FRAMES, CELLS = 10.0, 400, 6
CORNERS = np.array([[4, 4], [4, 20], [4, 34], [20, 4], [20, 20], [20, 23]])  # the last two overlap
SIDE = 5
ONSETS = np.arange(2.0, 37.0, 2.5)
DIRECTIONS = np.resize([0.0, 90.0, 180.0], ONSETS.size)


def masks() -> dict[str, tuple[str, np.ndarray]]:
    """Return squares of pixels whose weights are not all the same and sum to 1."""
    y, x = np.indices((SIDE, SIDE)).reshape(2, -1)
    weight = 1.0 + np.arange(SIDE**2)
    return {
        "mask_roi": ("mask", np.repeat(np.arange(CELLS), SIDE**2)),
        "mask_y": ("mask", np.concatenate([corner[0] + y for corner in CORNERS])),
        "mask_x": ("mask", np.concatenate([corner[1] + x for corner in CORNERS])),
        "mask_weight": ("mask", np.tile(weight / weight.sum(), CELLS)),
    }


def traces() -> np.ndarray:
    """Return fluorescence, shape (time, roi): cell k is noise over 100 and k times the first direction."""
    time = np.arange(FRAMES) / RATE
    drive = sum(np.where((time >= at) & (time < at + 1), 1.0, 0.0) for at in ONSETS[DIRECTIONS == 0])
    noise = np.random.default_rng(0).standard_normal((FRAMES, CELLS))
    return (100 + noise + 5 * drive[:, None] * np.arange(CELLS)).astype(np.float32)


def movie() -> np.ndarray:
    """Return a movie in which frame t has t in its first pixel, and every cell flickers as one."""
    rng = np.random.default_rng(1)
    frames = rng.normal(100, 3, (FRAMES, 32, 48))
    for cell, (y, x) in enumerate(CORNERS):
        frames[:, y : y + SIDE, x : x + SIDE] += 10 * rng.standard_normal((FRAMES, 1, 1)) + 5 * cell
    frames[:, 0, 0] = np.arange(FRAMES)
    return frames.astype(np.float32)


def session(ids: bool = True, with_movie: bool = True, more: dict[str, np.ndarray] | None = None) -> Recording:
    """Return a session with cells a0, a1, … or without ids."""
    fluorescence = traces()
    rois = xr.Dataset(
        masks()
        | {
            "y": ("roi", CORNERS[:, 0] + 2.0),
            "x": ("roi", CORNERS[:, 1] + 2.0),
            "npix": ("roi", np.full(CELLS, SIDE**2)),
            "skew": ("roi", np.arange(CELLS, 0, -1.0)),
        }
    )
    if ids:
        rois["cell"] = ("roi", np.array([f"a{k}" for k in range(CELLS)]))
    else:
        rois["cell"] = ("roi", np.ones(CELLS, dtype=bool))
    neural = {"fluorescence": fluorescence, "neuropil": 0.5 * fluorescence, "dff": fluorescence / 100 - 1}
    if with_movie:
        neural["raw"] = movie()
    return Recording.from_arrays(
        neural | (more or {}),
        rate_hz=RATE,
        session="small",
        units={"raw": "counts"},
        rois=rois,
        stimulus={"start": ONSETS, "stop": ONSETS + 1, "direction": DIRECTIONS},
        qc=xr.Dataset({"mean_image": (("y", "x"), movie().mean(axis=0), {"units": "counts"})}),
    )


def saved(folder: Path, **how) -> Path:
    return session(**how).save(folder / "small.zarr")
