"""Dating by a cell's own kinetics: lags are found between frames, courses moved by them, counts kept."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from neurodyn.calcium.spike_inputs import Scaled
from neurodyn.calcium.spike_timing import EARLIEST, LATEST, LEAST_SHARE, beside_events, expected_delay, lag
from tests.calcium.test_spike_network import cell

RATE = 30.0


def course(seconds: float) -> np.ndarray:
    """Events smeared by 50 ms, so many seconds late, 60 s."""
    time = np.arange(1800) / RATE
    events = np.random.default_rng(0).uniform(2, 58, 50)
    return np.exp(-0.5 * ((time[:, None] - events - seconds) / 0.05) ** 2).sum(axis=1)


@pytest.mark.parametrize("late", [-0.03, 0.0, 0.017, 0.05, 0.1])
def test_a_lag_is_found_between_frames(late):
    assert lag([course(late)], [course(0.0)], RATE) == pytest.approx(late, abs=0.004)


def test_lags_end_where_recordings_do_and_short_stretches_tell_none():
    assert EARLIEST <= lag([course(0.5)], [course(0.0)], RATE) <= LATEST
    assert lag([np.ones(10)], [np.ones(10)], RATE) is None


def test_both_are_dated_by_the_line_and_the_number_of_spikes_stays():
    trace, spikes = cell(RATE, 120.0)
    scaled = Scaled.of([trace], RATE)
    fired = np.histogram(spikes, np.arange(trace.size + 1) / RATE)[0].astype(float)
    network = [gaussian_filter1d(fired, 2.0).astype("f4") * RATE]
    early, late = (beside_events(scaled, network, 0.3, (0.0, delay))[0] for delay in (0.0, 0.1))
    assert early.sum() == pytest.approx(network[0].sum(), rel=0.01)
    assert late.sum() == pytest.approx(network[0].sum(), rel=0.01)
    assert lag([early], [late], RATE) == pytest.approx(0.1, abs=0.02)


def test_a_trace_that_falls_off_slowly_has_little_of_its_events():
    network = [np.random.default_rng(1).random(3600).astype("f4")]
    away = []
    for tau in (0.2, 8.0):
        scaled = Scaled.of([cell(RATE, 120.0, tau=tau, noise=0.01)[0]], RATE)
        plain, mixed = (beside_events(scaled, network, share, (0.0, 0.0))[0] for share in (0.0, 0.6))
        away.append(float(np.std(mixed - plain)) / float(np.std(plain)))
    assert away[1] < away[0] * (LEAST_SHARE + 0.5)
    assert expected_delay(scaled, (0.1, -0.01)) == pytest.approx(0.1 * scaled.similar.mean() - 0.01)
