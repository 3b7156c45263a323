"""Selectivity without the bias of noise, curves with a name, and information about a place."""

import numpy as np
import pytest

from neurodyn.metrics.curves import gaussian, half_width, naka_rushton, von_mises
from neurodyn.metrics.tuning import half_rise, peak_selectivity, spatial_information, vector_selectivity

ANGLES = np.deg2rad(np.arange(0, 360, 45.0))
RNG = np.random.default_rng(0)


def halves(curve, noise, splits=20, trials=8):
    for _ in range(splits):
        yield tuple(curve + noise / np.sqrt(trials) * RNG.normal(size=curve.shape) for _ in range(2))


def test_noise_does_not_make_cells_selective():
    curve, trials = np.ones((8, 4000)), 10
    mean = curve + RNG.normal(size=curve.shape) / np.sqrt(trials)
    biased = np.abs((np.exp(2j * ANGLES)[:, None] * mean).sum(axis=0) / mean.sum(axis=0)) ** 2
    found, _ = vector_selectivity(mean, np.full(mean.shape, 1 / trials), ANGLES, 2)
    assert np.mean(found**2) < 0.5 * biased.mean()
    tuned = 1 + 0.6 * np.cos(2 * (ANGLES - 0.3))[:, None] * np.ones(4000)
    length, angle = vector_selectivity(
        tuned + RNG.normal(size=tuned.shape) / np.sqrt(trials), np.full(tuned.shape, 1 / trials), ANGLES, 2
    )
    assert length.mean() == pytest.approx(0.3, abs=0.01) and np.median(angle) == pytest.approx(0.3, abs=0.02)


def test_the_preferred_angle_is_chosen_on_other_trials():
    flat = np.ones((8, 500))
    assert np.mean(peak_selectivity(list(halves(flat, 0.5)), ANGLES, 2)) == pytest.approx(0, abs=0.01)
    curve = (0.2 + np.exp(2 * (np.cos(ANGLES - ANGLES[3]) - 1)))[:, None] * np.ones(500)
    high, low = curve[3, 0], curve[7, 0]
    found = peak_selectivity(list(halves(curve, 0.3)), ANGLES, 1)
    assert np.mean(found) == pytest.approx((high - low) / (high + low), abs=0.03)
    assert np.isnan(peak_selectivity(list(halves(np.ones((3, 2)), 1.0)), ANGLES[:3], 1)).all()


def test_von_mises_curves_are_found_again():
    place, width = RNG.uniform(0, 2 * np.pi, 200), RNG.uniform(1, 4, 200)
    one, two = (np.exp(width * (sign * np.cos(ANGLES[:, None] - place) - 1)) for sign in (1, -1))
    fit = von_mises(0.5 + 2 * one + 0.8 * two, np.ones((8, 200)), ANGLES, 2)
    assert np.abs(np.angle(np.exp(1j * (fit.place - place)))).max() < np.deg2rad(4)
    assert np.median(np.abs(fit.heights[1] - 2)) < 0.1 and np.nanmin(fit.explained) > 0.97
    assert half_width(np.array([np.log(2) / (1 - np.cos(0.5)), 0.1])) == pytest.approx([0.5, np.pi])


def test_contrast_and_gaussian_curves_are_found_again():
    contrast = np.array([0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0])
    half, power = np.array([0.08, 0.2, 0.4]), np.array([1.5, 2.0, 3.0])
    rise = contrast[:, None] ** power / (contrast[:, None] ** power + half**power)
    fit = naka_rushton(0.3 + 2 * rise, np.ones((8, 3)), contrast)
    assert fit.place == pytest.approx(half, rel=0.08) and fit.width == pytest.approx(power, abs=0.2)
    assert fit.heights[1] == pytest.approx(2, rel=0.1)
    places = np.arange(0, 10.0)
    fit = gaussian(np.exp(-0.5 * ((places[:, None] - [3.3, 6.0]) / 1.5) ** 2), np.ones((10, 2)), places)
    assert fit.place == pytest.approx([3.3, 6.0], abs=0.1) and fit.width == pytest.approx([1.5, 1.5], abs=0.25)


def test_a_cell_that_answers_nothing_has_no_curve():
    assert np.isnan(von_mises(np.zeros((8, 1)), np.ones((8, 1)), ANGLES, 2).explained).all()


def test_spatial_information_by_hand():
    occupancy = np.array([0.5, 0.25, 0.25])
    assert spatial_information(np.array([[0.0, 1], [0, 1], [4, 1]]), occupancy) == pytest.approx([2.0, 0.0])


def test_the_rise_is_half_way_to_the_extreme():
    time = np.arange(-10, 30) / 10
    course = np.clip(time, 0, 1)[:, None] * [2.0, -1.0]
    assert half_rise(course, time, 2.0) == pytest.approx([0.5, 0.5])
