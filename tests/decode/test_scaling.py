"""Trends are told by training samples alone."""

import numpy as np
import pytest

from neurodyn.decode.scaling import without_trend


def test_a_constant_and_a_slow_course_are_taken_away():
    times = np.arange(200.0)
    features = np.stack([np.full(200, 7.0), np.sin(times / 200 * 2), np.tile([1.0, -1.0], 100)], axis=1)
    train = np.setdiff1d(np.arange(200), np.arange(80, 100))
    found = without_trend(features, times, train)
    assert np.abs(found[:, 0]).max() < 1e-12
    assert np.abs(found[40:160, 1]).max() < 0.1
    np.testing.assert_allclose(found[:, 2], features[:, 2], atol=0.1)


def test_test_samples_play_no_part():
    rng = np.random.default_rng(0)
    features, train = rng.normal(size=(50, 4, 3)), np.arange(30)
    other = features.copy()
    other[30:] = rng.normal(size=(20, 4, 3))
    times = np.arange(50.0)
    first, second = without_trend(features, times, train), without_trend(other, times, train)
    np.testing.assert_array_equal(first[train], second[train])
    other[30:49] = features[30:49]
    np.testing.assert_array_equal(first[30:49], without_trend(other, times, train)[30:49])


def test_times_far_from_any_training_sample_have_the_nearest_s_trend():
    found = without_trend(np.ones((3, 1)), np.array([0.0, 1.0, 1e6]), np.array([0, 1]))
    assert found[:, 0] == pytest.approx(0)
