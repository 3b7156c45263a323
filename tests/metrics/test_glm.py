"""Regression by blocks: against scikit-learn's estimators, and a score test against refitted models."""

import numpy as np
import pytest
from sklearn.linear_model import PoissonRegressor, Ridge

from neurodyn.metrics.glm import GaussianBlocks, PoissonBlocks, ScoreTest, held_out
from neurodyn.metrics.intervals import jackknife_interval, jackknife_reach

ALL = np.ones(6, dtype=bool)


@pytest.fixture
def made():
    rng = np.random.default_rng(0)
    design = np.column_stack([np.ones(600), rng.normal(size=(600, 5))]).astype(np.float32)
    weights = 0.4 * rng.normal(size=(6, 3))
    return design, design @ weights, np.repeat(np.arange(6), 100), rng


def test_ridge_is_scikit_learns_of_every_cells_own_penalty(made):
    design, told, block, rng = made
    values = (told + rng.normal(size=told.shape)).astype(np.float32)
    penalty = np.array([0.001, 0.1, 1.0])
    train = np.arange(6) != 2
    found = GaussianBlocks.of(design, values, block, 1).fit(train, ALL, penalty)
    rows = block != 2
    for cell, one in enumerate(penalty):
        theirs = Ridge(alpha=one * rows.sum()).fit(design[rows, 1:], values[rows, cell])
        np.testing.assert_allclose(found[:, cell], [theirs.intercept_, *theirs.coef_], atol=2e-5)


def test_poisson_is_scikit_learns_of_every_cells_own_penalty(made):
    design, told, block, rng = made
    counts, penalty = rng.poisson(np.exp(told)), np.array([0.001, 0.1, 1.0])
    found = PoissonBlocks.of(design, counts, block, 1).fit(ALL, ALL, penalty)
    for cell, one in enumerate(penalty):
        theirs = PoissonRegressor(alpha=one * counts[:, cell].mean(), tol=1e-10, max_iter=1000)
        theirs.fit(design[:, 1:], counts[:, cell])
        np.testing.assert_allclose(found[:, cell], [theirs.intercept_, *theirs.coef_], atol=2e-4)


@pytest.mark.parametrize("kind", [GaussianBlocks, PoissonBlocks])
def test_deviance_is_of_frames_left_out_and_gaps_count_for_nothing(kind, made):
    design, told, block, rng = made
    values = rng.poisson(np.exp(told)).astype(np.float32)
    block = np.where(np.arange(600) % 100 >= 90, -1, block)
    held = held_out(kind.of(design, values, block, 1), {"all": ALL}, 3, [0.01, 0.1])
    spoilt = np.where((block == -1)[:, None], 50.0, values).astype(np.float32)
    again = held_out(kind.of(design, spoilt, block, 1), {"all": ALL}, 3, [0.01, 0.1])
    np.testing.assert_array_equal(held.deviance["all"], again.deviance["all"])
    eta = design[block == 4] @ held.weights[4 % 3]
    y = values[block == 4].astype(float)
    by_hand = (y - eta) ** 2 if kind is GaussianBlocks else 2 * (
        np.where(y > 0, y * np.log(np.maximum(y, 1e-9)), 0) - y * eta - y + np.exp(eta)
    )  # fmt: skip
    np.testing.assert_allclose(held.deviance["all"][4], by_hand.sum(axis=0), rtol=1e-4)


def test_the_score_is_the_sum_of_squares_that_a_regressor_adds(made):
    design, told, _, rng = made
    values = (told + rng.normal(size=told.shape)).astype(np.float32)
    others, own = design[:, :4], design[:, 4:] - design[:, 4:].mean(axis=0)
    less = values - others @ np.linalg.lstsq(others, values, rcond=None)[0]
    more = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    added = (less**2).sum(axis=0) - (more**2).sum(axis=0)
    test = ScoreTest.of(others, less)
    np.testing.assert_allclose(test(own[None])[0], added, rtol=0.03)  # but for the small ridge
    np.testing.assert_allclose(test(np.stack([own, others[:, 1:3]]))[1], 0, atol=1e-3)


def test_the_jackknife_of_many_statistics_is_that_of_each():
    left_out = np.random.default_rng(0).normal(size=(5, 4))
    low, high = jackknife_interval(0.0, left_out[:, 2])
    assert (-low, high) == pytest.approx((jackknife_reach(left_out)[2],) * 2)
