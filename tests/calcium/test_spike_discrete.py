"""Whole spikes from expected ones: as many, where they were, the same each time."""

import numpy as np
import pytest

from neurodyn.calcium.spike_discrete import WIDTH, whole_spikes


@pytest.mark.parametrize("rate", [7.5, 30.0, 100.0])
def test_smeared_spikes_are_put_back_where_they_were(rate):
    spikes = np.zeros(int(60 * rate))
    spikes[np.random.default_rng(0).choice(spikes.size, 12, replace=False)] = [1] * 10 + [3] * 2
    frames = np.arange(-int(rate), int(rate) + 1)
    kernel = np.exp(-0.5 * (frames / (WIDTH * rate)) ** 2)
    found = whole_spikes(np.convolve(spikes, kernel / kernel.sum(), "same"), rate)
    assert np.array_equal(found, spikes)


def test_they_are_whole_the_same_each_time_and_nan_stays():
    expected = np.random.default_rng(1).gamma(0.05, 1.0, 3000).astype("f4")
    expected[100:110] = np.nan
    found = whole_spikes(expected, 30.0)
    np.testing.assert_array_equal(found, whole_spikes(expected, 30.0))
    assert np.isnan(found[100:110]).all() and np.isfinite(found[110:]).all()
    assert np.nansum(found) == pytest.approx(np.nansum(expected), rel=0.25)
    assert np.array_equal(found[110:], np.rint(found[110:]))


def test_nothing_comes_of_little():
    assert not whole_spikes(np.full(1000, 0.01), 30.0).any()
    assert np.isnan(whole_spikes(np.full(20, np.nan), 30.0)).all()
