"""What surrounds deconvolution: stretches, noise, timing, smoothing, the size of one spike."""

import numpy as np
import pytest

from neurodyn.calcium.indicators import KINETICS, kinetics, known, onset_constant, rise_delay
from neurodyn.preprocess import events

WHOLE = [slice(0, 1000)]


def test_noise_level_of_white_noise_is_the_same_at_every_rate():
    rng = np.random.default_rng(0)
    for rate in (10.0, 60.0):
        white = 0.05 * np.sqrt(rate) * rng.normal(size=(2, 50_000))
        level = events.noise_levels(white, np.array([0]), rate)
        np.testing.assert_allclose(level, 100 * 0.05 * np.sqrt(2) * 0.6745, rtol=0.02)


def test_noise_level_leaves_out_gaps_and_missing_frames():
    trace = np.tile([0.0, 1.0, 0.0, 1.0, 100.0, 101.0], (1, 1))
    assert events.noise_levels(trace, np.array([0, 4]), 1.0).tolist() == [100.0]
    assert events.noise_levels(np.full((1, 5), np.nan), np.array([0]), 1.0).tolist() == [0.0]
    assert events.noise_levels(np.array([[0, np.nan, 1, 3, 5.0]]), np.array([0]), 1.0).tolist() == [200.0]


def test_events_move_earlier_by_the_delay_and_none_is_lost():
    spikes = np.zeros((1, 1000))
    spikes[0, [1, 500]] = 2, 3
    moved = events.earlier(spikes, 0.35, 10.0, WHOLE)
    np.testing.assert_allclose(moved[0, [496, 497]], [1.5, 1.5])
    assert moved[0, 0] == pytest.approx(2)
    assert moved.sum() == pytest.approx(5)
    halves = events.earlier(spikes, 0.35, 10.0, [slice(0, 500), slice(500, 1000)])
    assert halves[0, 500] == pytest.approx(3)


def test_smoothing_keeps_the_sum_and_has_the_width_asked_for():
    spikes = np.zeros((1, 1000))
    spikes[0, 500] = 1
    soft = events.smoothed(spikes, 0.5, 10.0, WHOLE)[0]
    frames = np.arange(1000)
    assert soft.sum() == pytest.approx(1)
    assert np.sqrt(soft @ (frames - 500) ** 2) == pytest.approx(5, rel=0.01)
    assert events.smoothed(spikes, 0.5, 10.0, [slice(0, 500), slice(500, 1000)])[0, :500].sum() == 0


def test_missing_frames_stay_missing():
    spikes = np.ones((1, 1000))
    spikes[0, 10] = np.nan
    for out in (events.earlier(spikes, 0.1, 10.0, WHOLE), events.smoothed(spikes, 0.1, 10.0, WHOLE)):
        assert np.isnan(out).sum() == 1
        assert np.isnan(out[0, 10])


def test_baselines_are_taken_off_stretch_by_stretch():
    trace = np.r_[np.full(300, 2.0), np.full(300, 7.0)][None]
    trace[0, 100] += 3
    trace[0, 50] = np.nan
    flat = events.subtract_maximin(trace, [slice(0, 300), slice(300, 600)], 10.0, 0.1, 10.0)[0]
    assert flat[100] == pytest.approx(3, abs=0.01)
    assert np.isnan(flat[50])
    assert np.abs(np.delete(flat, [50, 100])).max() < 0.01


@pytest.mark.parametrize("name", sorted(KINETICS))
def test_kinetics_agree_with_their_own_definitions(name):
    k = kinetics(name)
    low, high = k.tau_range
    assert 0 < low <= k.tau <= high
    assert k.source
    onset = onset_constant(k.peak, k.tau_single)
    t = np.linspace(0, 5 * k.tau_single, 400_001)
    response = (1 - np.exp(-t / onset)) * np.exp(-t / k.tau_single)
    assert t[response.argmax()] == pytest.approx(k.peak, rel=0.01)
    half = k.tau_single * np.log(2)
    assert half == pytest.approx(k.half_decay)


def test_the_delay_is_the_mean_of_what_drives_the_decay():
    peak, tau, rate = 0.1, 0.5, 5000.0
    onset = onset_constant(peak, tau)
    t = np.arange(0, 10, 1 / rate)
    response = (1 - np.exp(-t / onset)) * np.exp(-t / tau)
    drive = np.diff(response) + response[:-1] / (tau * rate)
    assert (drive @ t[1:]) / drive.sum() == pytest.approx(rise_delay(peak, tau), rel=0.01)
    assert rise_delay(0.0, tau) == 0


@pytest.mark.parametrize(
    ("name", "key"),
    [("GCaMP6f (simulated)", "gcamp6f"), ("OGB-1 AM", "ogb1"), ("jGECO1a", "jrgeco1a"), ("Fura-2", None)],
)
def test_names_are_known_as_people_write_them(name, key):
    assert known(name) == key
