"""Baselines against suite2p and scipy, in one run: `pytest -m slow -n 0 -s tests/benchmarks/test_baselines.py`."""

import importlib
import time

import numpy as np
import pytest
from scipy.ndimage import percentile_filter

from neurodyn.preprocess.baselines import maximin, odd, rolling_percentile

RATE, WINDOW, FRAMES = 30.0, 60.0, 10_000

pytestmark = pytest.mark.slow


def traces(count):
    rng = np.random.default_rng(0)
    drift = 300 + 40 * np.sin(np.arange(FRAMES) / 1500)
    return (drift + rng.gamma(2, 15, (count, FRAMES))).astype(np.float32)


def fastest(call, repeats=3):
    """Shortest time of a few calls, s."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def compare(name, ours, theirs):
    print(f"\n{name}: ours {ours:.3g} s, peer {theirs:.3g} s, ratio {theirs / ours:.1f}")
    return theirs / ours


def test_maximin_is_eight_times_faster_than_suite2ps():
    importlib.import_module("neurodyn.preprocess.suite2p").import_suite2p()
    dcnv = importlib.import_module("suite2p.extraction.dcnv")
    f = traces(1000)
    sigma, window = 10.0, odd(WINDOW * RATE)  # suite2p's defaults

    def ours():
        for start in range(0, len(f), 64):
            maximin(f[start : start + 64], window, sigma, "nearest", truncate=3)

    peer = fastest(lambda: dcnv.baseline_maximin(f, WINDOW, sigma, RATE, device="cpu"))
    assert compare("maximin, 1000 x 10,000 frames, against suite2p on the CPU", fastest(ours), peer) >= 8


def test_rolling_percentile_is_a_hundred_times_faster_than_in_two_dimensions():
    """The peer's time grows with the number of traces: it is measured on 8 of 1000 and scaled."""
    f, few, window = traces(1000), 8, odd(WINDOW * RATE)
    ours = fastest(lambda: rolling_percentile(f, window, 8), repeats=2)
    peer = fastest(lambda: percentile_filter(f[:few], 8, size=(1, window)), repeats=1) * len(f) / few
    name = "rolling percentile, 1000 x 10,000 frames, against scipy in 2-D (8 traces, times 125)"
    assert compare(name, ours, peer) >= 100
