"""Differences on a circle, and what a constant guess is worth."""

import numpy as np
import pytest

from neurodyn.metrics.circular import angular_difference, constant_guess


def test_differences_go_the_short_way():
    found = np.rad2deg(angular_difference(np.deg2rad([350, 10, 90]), np.deg2rad([10, 350, 45])))
    assert found == pytest.approx([-20, 20, 45])


def test_even_directions_leave_a_constant_guess_nothing():
    cosine, error = constant_guess(np.deg2rad(np.tile(np.arange(0, 360, 45), 3)))
    assert (cosine, error) == (pytest.approx(0, abs=1e-12), pytest.approx(np.pi / 2))


def test_uneven_directions_reward_the_best_guess():
    angles = np.deg2rad([0.0, 0.0, 0.0, 90.0])
    cosine, error = constant_guess(angles)
    assert cosine == pytest.approx(np.hypot(3, 1) / 4)
    assert error == pytest.approx(np.deg2rad(90 / 4))
