"""Calcium kernels and noise against closed forms and independent implementations."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.signal import welch

from neurodyn.simulate.signals import blob, box_response, calcium, pink, smooth_field, step_response


def test_step_response_integrates_the_kernel():
    def kernel(t):
        return (np.exp(-t / 0.5) - np.exp(-t / 0.1)) / 0.4

    for t in (0.05, 0.3, 2.0):
        assert step_response(np.array(t), 0.1, 0.5) == pytest.approx(quad(kernel, 0, t)[0], abs=1e-9)
    assert step_response(np.array(-1.0), 0.1, 0.5) == 0


def test_box_response_peaks_at_one_when_the_stimulus_ends():
    t = np.linspace(-1, 6, 70001)
    response = box_response(t, 2.0, 0.1, 0.5)
    assert response.max() == pytest.approx(1, abs=1e-4)
    assert 2.0 < t[response.argmax()] < 2.1
    assert (response[t < 0] == 0).all()


@pytest.mark.parametrize("rise", [0.0, 0.05])
def test_one_spike_gives_a_transient_with_the_asked_decay_and_peak(rise):
    spikes = np.zeros((400, 2))
    spikes[10] = [1, 3]
    c = calcium(spikes, 30.0, rise, 0.4)
    assert c[:, 0].max() == pytest.approx(1)
    np.testing.assert_allclose(c[:, 1], 3 * c[:, 0], atol=1e-12)
    assert c[200, 0] / c[170, 0] == pytest.approx(np.exp(-1 / 0.4), rel=1e-3)
    assert (c[:10] == 0).all()


@pytest.mark.parametrize("exponent", [1.0, 3.0])
def test_pink_noise_has_the_asked_slope_and_turns_one_way(exponent):
    signal = pink(2**15, 4, np.random.default_rng(0), exponent)
    np.testing.assert_allclose(signal.real.var(axis=0), 1, rtol=0.3)
    frequency, power = welch(signal.real, nperseg=4096, axis=0)
    use = (frequency > 0.005) & (frequency < 0.2)
    slope = np.polyfit(np.log(frequency[use]), np.log(power[use].mean(axis=1)), 1)[0]
    assert slope == pytest.approx(-exponent, abs=0.25)
    assert np.abs(np.fft.fft(signal, axis=0)[2**14 + 1 :]).max() < 1e-6


def test_maps_are_smooth_and_standardised():
    field = smooth_field((40, 60), 0.1, np.random.default_rng(1))
    assert field.shape == (40, 60)
    assert (field.mean(), field.std()) == (pytest.approx(0, abs=1e-9), pytest.approx(1))
    assert np.corrcoef(field[:, 1:].ravel(), field[:, :-1].ravel())[0, 1] > 0.95
    bump = blob((41, 41), (0.5, 0.5), 0.1)
    assert bump[20, 20] == 1
    assert bump[20, 20 + 4] == pytest.approx(np.exp(-0.5 * (4 / 41 / 0.1) ** 2))
