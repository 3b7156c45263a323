"""jPCA finds planted rotations, and agrees with an independent fit."""

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.optimize import least_squares

from neurodyn.metrics.jpca import condition_averages, jpca, plane_overlap

RATE = 100.0


def rotating(frequency=1.5, conditions=24, frames=60, units=30, noise=0.0, second=None, seed=0):
    """Return courses, shape (condition, time, unit), and the planted plane, shape (unit, 2)."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.standard_normal((units, 6)))[0]
    angle = 2 * np.pi * np.arange(frames) / RATE
    phase = rng.uniform(0, 2 * np.pi, (conditions, 1))
    courses = np.zeros((conditions, frames, units))
    for plane, hz, size in ((axes[:, :2], frequency, 20.0), (axes[:, 2:4], second, 10.0)):
        if hz is not None:
            turn = phase * (1 if hz == frequency else 3) + hz * angle
            courses += size * (np.cos(turn)[..., None] * plane[:, 0] + np.sin(turn)[..., None] * plane[:, 1])
    shared = 30 * np.sin(np.pi * np.arange(frames) / frames)[:, None] * axes[:, 4]
    return courses + shared + noise * rng.standard_normal(courses.shape), axes[:, :2]


@pytest.mark.parametrize("frequency", [0.5, 1.5, 8.0, 20.0])
def test_planted_frequency_and_plane_come_back(frequency):
    courses, plane = rotating(frequency)
    found = jpca(courses, RATE, soften=None)
    assert found.frequency_hz == pytest.approx(frequency, rel=0.01)
    assert plane_overlap(found.plane, plane) > 0.9999
    assert found.r2_skew > 0.95 - 0.5 * (frequency / 25) ** 2
    assert found.plane_variance == pytest.approx(1, abs=1e-6)


def test_the_faster_of_two_planes_comes_first():
    courses, plane = rotating(3.0, second=1.0)
    found = jpca(courses, RATE, soften=None)
    assert found.frequency_hz == pytest.approx(3.0, rel=0.02)
    assert plane_overlap(found.plane, plane) > 0.99
    assert found.plane_variance == pytest.approx(0.8, abs=0.03)


def test_noise_lowers_the_fit_but_keeps_the_frequency():
    courses, plane = rotating(2.0, noise=0.3)
    found = jpca(courses, RATE, soften=None)
    assert found.frequency_hz == pytest.approx(2.0, rel=0.05)
    assert plane_overlap(found.plane, plane) > 0.97
    assert 0.3 < found.r2_skew < jpca(rotating(2.0)[0], RATE, soften=None).r2_skew


def test_the_matrix_is_that_of_a_general_optimiser():
    rng = np.random.default_rng(1)
    courses = rng.standard_normal((12, 30, 9)).cumsum(axis=1)
    found = jpca(courses, RATE, components=4, soften=None)
    centred = courses - courses.mean(axis=0)
    axes = np.linalg.svd(centred.reshape(-1, 9) - centred.mean(axis=(0, 1)), full_matrices=False)[2][:4].T
    states = centred @ axes
    before, change = states[:, :-1].reshape(-1, 4), np.diff(states, axis=1).reshape(-1, 4)

    def matrix(entries):
        upper = np.zeros((4, 4))
        upper[np.triu_indices(4, 1)] = entries
        return upper - upper.T

    fit = least_squares(lambda entries: (change - before @ matrix(entries).T).ravel(), np.zeros(6))
    np.testing.assert_allclose(found.matrix, matrix(fit.x), atol=1e-7)
    np.testing.assert_allclose(found.r2_skew, 1 - 2 * fit.cost / np.sum(change**2), atol=1e-9)
    assert found.r2_unconstrained >= found.r2_skew
    # closed form of the same minimum: M C + C M = Sᵀ - S with C = XᵀX, S = Xᵀ dX
    c, s = before.T @ before, before.T @ change
    np.testing.assert_allclose(found.matrix @ c + c @ found.matrix, s.T - s, atol=1e-6 * np.abs(c).max())


def test_the_projection_turns_one_way_with_orthonormal_axes():
    found = jpca(rotating(1.5)[0], RATE, soften=None)
    np.testing.assert_allclose(found.plane.T @ found.plane, np.eye(2), atol=1e-9)
    angle = np.unwrap(np.arctan2(found.projections[..., 1], found.projections[..., 0]), axis=1)
    np.testing.assert_allclose(np.diff(angle, axis=1).mean(), 2 * np.pi * 1.5 / RATE, rtol=0.02)
    start = found.projections[:, 0] - found.projections[:, 0].mean(axis=0)
    covariance = start.T @ start
    assert covariance[0, 0] > covariance[1, 1]
    assert abs(covariance[0, 1]) < 1e-6 * covariance[0, 0]


def test_growth_without_rotation_is_told_apart():
    rng = np.random.default_rng(2)
    grow = expm(np.diag([0.02, 0.01, -0.02]))
    state, courses = rng.standard_normal((20, 3)), []
    for _ in range(40):
        courses.append(state)
        state = state @ grow
    found = jpca(np.stack(courses, axis=1), RATE, components=3, soften=None)
    assert found.r2_unconstrained > 0.999
    assert found.r2_skew < 0.1
    assert found.ratio < 0.1


def test_softening_lets_no_unit_dominate():
    courses, _ = rotating(1.5)
    loud = courses.copy()
    loud[..., 0] *= 1e4
    scaled = np.abs(jpca(loud, RATE).plane[0])
    assert (np.abs(jpca(loud, RATE, soften=None).plane[0]) ** 2).sum() > 0.9
    assert (scaled**2).sum() < 0.5


def test_conditions_are_averaged_in_order():
    values = np.arange(24.0).reshape(4, 3, 2)
    averages = condition_averages(values, np.array([7, 2, 7, 2]))
    np.testing.assert_array_equal(averages, [values[[1, 3]].mean(axis=0), values[[0, 2]].mean(axis=0)])


def test_overlap_of_planes():
    eye = np.eye(4)
    assert plane_overlap(eye[:, :2], eye[:, :2] @ [[2.0, 1.0], [0.0, 3.0]]) == pytest.approx(1)
    assert plane_overlap(eye[:, :2], eye[:, 2:]) == pytest.approx(0)
    assert plane_overlap(eye[:, :2], eye[:, 1:3]) == pytest.approx(0.5)


def test_round_off_in_single_precision_does_not_turn():
    courses, plane = rotating(1.5)
    found = jpca(courses.astype(np.float32), RATE)
    assert found.matrix.shape == (2, 2)
    assert found.frequency_hz == pytest.approx(jpca(courses, RATE).frequency_hz, rel=1e-4)
