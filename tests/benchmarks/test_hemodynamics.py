"""Seconds of the patch estimator, and its ratio to the published form, which solves every pixel by itself."""

import math
import time

import numpy as np
import pytest
import zarr
from scipy.ndimage import gaussian_filter
from threadpoolctl import threadpool_limits

from neurodyn.data import store
from neurodyn.preprocess.base import Workspace
from neurodyn.preprocess.optimal_linear import literal_estimate
from neurodyn.preprocess.patch_hemodynamics import PatchHemodynamics, PatchHemodynamicsParams
from neurodyn.preprocess.scan import scan

FRAMES, SIDE, SAMPLE = 3000, 256, 40


def movie(folder):
    """Two channels of 256 x 256 x 3000, uint16."""
    rng = np.random.default_rng(0)
    root = zarr.open_group(folder / "movie.zarr", mode="w", zarr_format=3)
    maps = np.stack([gaussian_filter(rng.normal(size=(SIDE, SIDE)), 4) for _ in range(32)]).astype("f4")
    maps *= 150 / maps.std() / math.sqrt(32)
    for name in ("fluorescence", "reference"):
        attrs = {"units": "counts", "made_by": "source"}
        array = store.create_variable(root, name, (FRAMES, SIDE, SIDE), ("time", "y", "x"), np.uint16, attrs)
        for start in range(0, FRAMES, 512):
            frames = min(512, FRAMES - start)
            courses = rng.standard_normal((frames, 32), dtype="f4")
            noise = 80 * rng.standard_normal((frames, SIDE, SIDE), dtype="f4")
            array[start : start + frames] = 8000 + np.tensordot(courses, maps, axes=1) + noise
    workspace = Workspace(root, 10.0, np.arange(FRAMES) / 10, None, "GCaMP6f")
    for name in ("fluorescence", "reference"):
        scan(workspace, name)
    return workspace


def literal_seconds(workspace):
    """Seconds that the published form needs for the whole frame, from some pixels with the movie in memory."""
    y1, y2 = (workspace[name][:, :64, :64].astype("f8") for name in ("fluorescence", "reference"))
    y1, y2 = (v / v.mean(0) - 1 for v in (y1, y2))
    begun = time.perf_counter()
    with threadpool_limits(1):
        for pixel in range(SAMPLE):
            window = np.s_[:, pixel : pixel + 9, pixel : pixel + 9]
            rows = np.hstack([y1[window].reshape(FRAMES, -1), y2[window].reshape(FRAMES, -1)])
            found = literal_estimate(rows.T @ rows / FRAMES, np.array([40]))
            rows @ found.weights[0]
    return (time.perf_counter() - begun) / SAMPLE * SIDE**2


@pytest.mark.slow
def test_the_patch_estimator_takes_seconds(tmp_path):
    workspace = movie(tmp_path)
    begun, busy = time.perf_counter(), time.process_time()
    PatchHemodynamics(PatchHemodynamicsParams()).apply(workspace)
    seconds, processor = time.perf_counter() - begun, time.process_time() - busy
    peer = literal_seconds(workspace)
    print(f"patch hemodynamics 256x256x3000: ours {seconds:.1f} s ({processor:.1f} s of processor time),", end=" ")
    print(f"peer (literal, one solve per pixel, extrapolated) {peer:.0f} s, ratio {peer / seconds:.1f}")
    assert seconds < 25
    assert seconds < 0.25 * peer
