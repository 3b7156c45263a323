"""The decay time of an indicator is found whatever drives its cells."""

import logging

import numpy as np
import pytest
from scipy.signal import lfilter

from neurodyn.calcium.decay import decay_time, shared_decay
from neurodyn.core.errors import DataError

RATE, TAU = 20, 0.7


def trace(seed, kind, seconds=60):
    """ΔF/F of one cell, shape (time,): one spike is five times the noise."""
    rng = np.random.default_rng(seed)
    frames = seconds * RATE
    spikes = rng.poisson(0.5 / RATE, frames)
    if kind == "bursts":
        spikes = (rng.random(frames) < 0.15 / RATE) * rng.geometric(0.3, frames)
    if kind == "slow":  # second-long waves of firing
        spikes = rng.poisson(4 / RATE * lfilter(np.ones(RATE), [1], rng.random(frames) < 0.12 / RATE))
    place = np.arange(frames) / frames
    sizes = 0.2 * (1 + (0.6 * np.sin(2 * np.pi * (place + rng.random())) if kind == "sizes" else 0))
    calcium = lfilter([1], [1, -np.exp(-1 / (TAU * RATE))], sizes * spikes)
    drift = 0.1 * np.sin(4 * place) if kind == "drift" else 0.0
    return calcium + drift + 0.04 * rng.normal(size=frames)


# A drift within one minute is faster than the baseline follows: 0.83 s was found.
@pytest.mark.parametrize(
    ("kind", "bound"), [("poisson", 0.15), ("bursts", 0.15), ("slow", 0.15), ("sizes", 0.15), ("drift", 0.25)]
)
def test_the_median_over_cells_is_near_whatever_drives_them(kind, bound, caplog):
    edges = np.array([0, 60 * RATE])
    found = np.array([decay_time(trace(seed, kind), edges, RATE) for seed in range(10)])
    with caplog.at_level(logging.WARNING):
        assert shared_decay(found, "gcamp6f", "deconvolution", "deconvolution.tau") == pytest.approx(TAU, rel=bound)
    if np.isnan(found).any():
        assert f"of the {np.isfinite(found).sum()} of 10 cells that tell it" in caplog.text.replace("median ", "")


def test_noise_tells_no_decay():
    noise = np.random.default_rng(0).normal(0, 0.1, (8, 1200))
    found = np.array([decay_time(row, np.array([0, 1200]), RATE) for row in noise])
    with pytest.raises(DataError, match="cannot be estimated") as error:
        shared_decay(found[np.isnan(found)], "unknown", "counts", "counts.tau")
    assert "counts.tau=0.7" in error.value.fix
    assert np.isnan(found).sum() >= 7


def test_a_decay_far_from_the_indicators_is_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        shared_decay(np.array([0.7, 0.72, 0.68]), "GCaMP6f", "counts", "counts.tau")
        assert "far from" not in caplog.text
        shared_decay(np.array([0.7, 0.72, 0.68]), "jGCaMP8f", "counts", "counts.tau")
    assert "0.7 s is far from the 0.097 to 0.1 s on record for jGCaMP8f" in caplog.text
