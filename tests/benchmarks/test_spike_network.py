"""The spike network over 1,000 traces of 10,000 frames: seconds and memory of the whole step."""

from __future__ import annotations

import resource
import time

import numpy as np
import pytest

from neurodyn.data.recording import Recording
from neurodyn.preprocess.chain import chain_from_steps

pytestmark = pytest.mark.slow


def test_a_thousand_cells_in_half_a_minute(tmp_path):
    rng = np.random.default_rng(0)
    dff = rng.gamma(0.1, 0.3, (10_000, 1000)).astype("f4") + 0.05 * rng.normal(size=(10_000, 1000)).astype("f4")
    path = Recording.from_arrays({"dff": dff}, rate_hz=30).save(tmp_path / "a.zarr")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    chain_from_steps([{"step": "spike_network"}], "test").run(Recording.open(path), tmp_path / "b.zarr")
    took = time.perf_counter() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"1000 x 10,000: {took:.1f} s, {grown:.0f} MB on top")  # noqa: T201
    assert took < 30
    assert grown < 500
