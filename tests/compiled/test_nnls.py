"""The compiled deconvolution against oasis-deconv."""

import math

import numpy as np
import pytest
from oasis.oasis_methods import oasisAR1

from neurodyn.compiled.nnls import nonnegative_spikes
from neurodyn.core.processor import processors

TAU, RATE = 0.7, 30.0
G = math.exp(-1 / (TAU * RATE))


def traces(rows=40, frames=1200, seed=0):
    rng = np.random.default_rng(seed)
    spikes = rng.poisson(0.03, (rows, frames))
    calcium = np.zeros((rows, frames))
    for t in range(1, frames):
        calcium[:, t] = G * calcium[:, t - 1] + spikes[:, t]
    return calcium - 0.2 + 0.3 * rng.normal(size=calcium.shape)


@pytest.mark.parametrize("threads", [1, 2])
def test_it_is_oasis_to_nine_digits(threads):
    y = traces()
    expected = np.array([oasisAR1(row, G)[1] for row in y])
    np.testing.assert_allclose(nonnegative_spikes(y, TAU, RATE, threads=threads), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("gap", [slice(0, 3), slice(500, 520), slice(1190, 1200), slice(0, 1200)])
def test_missing_frames_are_inferred_around_as_oasis_does(gap):
    y = traces(rows=4, seed=1)
    y[1:3, gap] = np.nan
    found = nonnegative_spikes(y, TAU, RATE)
    for row, trace in zip(found, y, strict=True):
        if np.isfinite(trace).any():
            np.testing.assert_allclose(row, oasisAR1(trace, G)[1], rtol=0, atol=1e-9)
        else:
            assert np.isnan(row).all()


def test_stretches_are_inferred_by_themselves():
    y = traces(rows=3, seed=2)
    found = nonnegative_spikes(y, TAU, RATE, np.array([0, 400, 401]))
    for start, stop in ((0, 400), (400, 401), (401, 1200)):
        alone = nonnegative_spikes(np.ascontiguousarray(y[:, start:stop]), TAU, RATE)
        np.testing.assert_array_equal(found[:, start:stop], alone)


def test_single_precision_stays_near():
    y = traces(rows=5, seed=3)
    found = nonnegative_spikes(y.astype("f4"), TAU, RATE)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, nonnegative_spikes(y, TAU, RATE), atol=1e-4)


def test_at_least_one_core_is_counted():
    assert processors() >= 1
