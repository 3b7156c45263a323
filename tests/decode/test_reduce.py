"""Principal components inside a fold: right, blind to test samples, and fast at any width."""

import time

import numpy as np
import pytest
from sklearn.decomposition import PCA

from neurodyn.decode.reduce import FoldPCA

TRAIN, TEST = np.arange(0, 60, 2), np.arange(1, 60, 2)


@pytest.mark.parametrize("width", [12, 500])
def test_equals_pca_of_the_training_samples(width):
    features = np.random.default_rng(0).normal(size=(60, width)) * np.linspace(3, 1, width) + 4
    train, test = FoldPCA(features, 5)(TRAIN, TEST)
    reference = PCA(5, svd_solver="full").fit(features[TRAIN])
    for mine, theirs in ((train, reference.transform(features[TRAIN])), (test, reference.transform(features[TEST]))):
        signs = np.sign((mine * theirs).sum(axis=0))
        np.testing.assert_allclose(mine * signs, theirs, atol=2e-3)


@pytest.mark.parametrize("width", [12, 500])
def test_never_sees_the_test_samples(width):
    features = np.random.default_rng(1).normal(size=(60, width))
    disturbed = features.copy()
    disturbed[TEST[1:]] += 20 * np.random.default_rng(2).normal(size=(TEST.size - 1, width))
    train, test = FoldPCA(features, 5)(TRAIN, TEST)
    other_train, other_test = FoldPCA(disturbed, 5)(TRAIN, TEST)
    signs = np.sign((train * other_train).sum(axis=0))
    np.testing.assert_allclose(other_train * signs, train, atol=5e-3)
    np.testing.assert_allclose(other_test[0] * signs, test[0], atol=5e-3)
    assert np.abs(other_test[1:] - test[1:]).max() > 1


def test_full_rank_keeps_every_distance():
    features = np.random.default_rng(0).normal(size=(60, 300))
    train, _ = FoldPCA(features, 100)(TRAIN, TEST)
    assert train.shape == (30, 29)
    inside = np.linalg.norm(train[0] - train[1])
    assert inside == pytest.approx(np.linalg.norm(features[0] - features[2]), rel=1e-4)


def test_wide_features_cost_no_more_per_fold():
    features = np.random.default_rng(0).normal(size=(300, 20_000)).astype(np.float32)
    reduce = FoldPCA(features, 10)
    rng = np.random.default_rng(1)
    start = time.perf_counter()
    for _ in range(20):
        order = rng.permutation(300)
        reduce(order[:210], order[210:])
    assert time.perf_counter() - start < 5  # 0.3 s on an idle core; a decomposition of the features takes minutes
