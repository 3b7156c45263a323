"""Kinetics of simulated cells are found again from their traces."""

import numpy as np
import pytest
from scipy.signal import lfilter

from neurodyn.calcium.ar1 import noise_sd
from neurodyn.calcium.kinetics import fit_kinetics, shared_tau
from neurodyn.core.errors import DataError

RATE = 20.0


def cells(tau=0.5, gain=0.4, noise=0.15, count=3, rate=2.0, seed=0, windows=20, frames=300):
    """Poisson spikes under rates that wander over seconds, AR(1) calcium from rest, white noise."""
    rng = np.random.default_rng(seed)
    slow = lfilter([1], [1, -np.exp(-1 / (3 * RATE))], rng.normal(size=(windows, frames, count)), axis=1)
    spikes = rng.poisson(rate / RATE * np.exp(0.5 * slow / slow.std() - 0.125))
    calcium = lfilter([gain], [1, -np.exp(-1 / (tau * RATE))], spikes, axis=1)
    return calcium + noise * rng.normal(size=spikes.shape)


@pytest.mark.parametrize(("tau", "gain", "noise"), [(0.5, 0.4, 0.15), (1.0, 1.0, 0.2), (0.25, 0.2, 0.05)])
def test_noise_and_spike_size_are_found_with_a_known_decay(tau, gain, noise):
    found = fit_kinetics(cells(tau, gain, noise), RATE, tau)
    np.testing.assert_allclose(found.noise, noise, rtol=0.1)
    np.testing.assert_allclose(found.gain, gain, rtol=0.35)
    np.testing.assert_allclose(np.median(found.gain), gain, rtol=0.1)
    assert (found.tau == tau).all()


# Where many spikes are hardly above the noise and windows are short, fast decays come out too long: of 0.3 s, 0.39 s.
@pytest.mark.parametrize(("tau", "bound"), [(0.3, 0.45), (0.6, 0.25)])
def test_a_decay_faster_than_the_rates_is_found(tau, bound):
    assert shared_tau(cells(tau), RATE) == pytest.approx(tau, rel=bound)


def test_what_is_known_is_taken():
    found = fit_kinetics(cells(), RATE, tau=0.7, gain=0.3)
    assert (found.tau == 0.7).all() and (found.gain == 0.3).all()


def test_missing_frames_hardly_matter():
    whole = cells()
    holes = whole.copy()
    holes[np.random.default_rng(1).random(holes.shape) < 0.02] = np.nan
    holes[5] = np.nan
    a, b = fit_kinetics(whole, RATE, 0.5), fit_kinetics(holes, RATE, 0.5)
    np.testing.assert_allclose(b.noise, a.noise, rtol=0.1)
    np.testing.assert_allclose(b.gain, a.gain, rtol=0.2)


def test_noise_alone_has_its_own_size_and_tells_no_spike(caplog):
    rng = np.random.default_rng(0)
    found = fit_kinetics(0.3 * rng.normal(size=(20, 200, 2)), RATE, 0.5)
    np.testing.assert_allclose(found.noise, 0.3, rtol=0.1)
    np.testing.assert_allclose(found.gain, 4 * found.noise)
    assert "not to be told in 2 of 2 cells; they take 4 times their noise" in caplog.text


def test_a_cell_far_below_its_baseline_tells_its_spike_all_the_same():
    traces = cells()
    traces[:, :, 2] -= 10
    found = fit_kinetics(traces, RATE, 0.5)
    np.testing.assert_allclose(found.gain, 0.4, rtol=0.15)


def test_a_cell_that_tells_nothing_gets_the_others_spike_size(caplog):
    traces = cells(noise=0.08)
    traces[:, :, 1] = np.random.default_rng(3).normal(0, 0.08, traces.shape[:2])
    found = fit_kinetics(traces, RATE, 0.5)
    assert found.gain[1] == np.median(found.gain[[0, 2]])
    assert "not to be told in 1 of 3 cells; they take the median of the others" in caplog.text


@pytest.mark.parametrize("rate_hz", [5, 10, 30, 60])
@pytest.mark.parametrize("snr", [1, 3, 10])
def test_noise_is_found_at_any_frame_rate(rate_hz, snr):
    rng = np.random.default_rng(7)
    decay = np.exp(-1 / (0.7 * rate_hz))
    for firing in (0.2, 1.0):
        spikes = rng.poisson(firing / rate_hz, (20, 300 * rate_hz))
        traces = lfilter([0.2], [1, -decay], spikes, axis=1) + 0.2 / snr * rng.normal(size=spikes.shape)
        found = [noise_sd(trace, decay) for trace in traces]
        assert np.median(found) == pytest.approx(0.2 / snr, rel=0.1)


def test_constant_cells_show_no_decay():
    with pytest.raises(DataError, match="decay time cannot be estimated"):
        shared_tau(np.zeros((5, 50, 2)), RATE)
