"""Deconvolution of 1000 traces of 10,000 frames, beside suite2p's and oasis-deconv's loop in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from oasis.functions import deconvolve
from scipy.signal import lfilter

from neurodyn.compiled.nnls import nonnegative_spikes
from neurodyn.core.processor import processors
from neurodyn.preprocess.suite2p import import_suite2p

pytestmark = pytest.mark.slow
TAU, RATE, ROIS, FRAMES, LOOPED = 0.7, 30.0, 1000, 10_000, 50


def fastest(work: Callable[[], object], times: int = 3) -> float:
    """Return the shortest of several runs, s; what is compiled is compiled before."""
    took = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return min(took)


def say(ours: float, peer: float, name: str) -> float:
    print(f"{name}: ours {ours:.3f} s, peer {peer:.3f} s, ratio {ours / peer:.3f}")
    return ours / peer


@pytest.fixture(scope="module")
def traces() -> np.ndarray:
    rng = np.random.default_rng(0)
    spikes = rng.poisson(0.02, (ROIS, FRAMES))
    calcium = lfilter([1.0], [1.0, -np.exp(-1 / (TAU * RATE))], spikes, axis=1)
    return (calcium + 0.3 * rng.normal(size=calcium.shape)).astype("f4")


def test_no_slower_than_suite2p(traces):
    oasis = import_suite2p().extraction.dcnv.oasis
    nonnegative_spikes(traces[:2], TAU, RATE)
    oasis(traces[:2], 500, TAU, RATE)
    ours = fastest(lambda: nonnegative_spikes(traces, TAU, RATE, threads=processors()))
    peer = fastest(lambda: oasis(traces, 500, TAU, RATE))
    assert say(ours, peer, "deconvolution 1000 x 10,000 against suite2p dcnv.oasis") <= 1.0


def test_faster_than_a_loop_over_oasis(traces):
    nonnegative_spikes(traces[:2], TAU, RATE)
    ours = fastest(lambda: nonnegative_spikes(traces, TAU, RATE, threads=processors()))
    some = traces[:LOOPED].astype("f8")
    loop = fastest(lambda: [deconvolve(row, tau_d=TAU, framerate=RATE, penalty=None) for row in some], 1)
    peer = loop * ROIS / LOOPED
    assert say(ours, peer, "deconvolution 1000 x 10,000 against a loop of oasis deconvolve(penalty=None)") <= 0.2
