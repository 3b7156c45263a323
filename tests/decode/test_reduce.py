"""Rows of a fold: right, blind to test samples, and of one content at any width."""

import time

import numpy as np
import pytest
from sklearn.decomposition import PCA

from neurodyn.decode.knn import KNN
from neurodyn.decode.labels import Labels
from neurodyn.decode.protocol import evaluate
from neurodyn.decode.reduce import FoldPCA, Rotation
from neurodyn.decode.ridge import Ridge
from neurodyn.decode.settings import Protocol

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


def scaled(count=60, width=500, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, width)) * rng.lognormal(size=width) + rng.normal(size=width)


def test_ridge_on_rotated_rows_is_ridge_on_the_standardised_features():
    features, target = scaled(), np.random.default_rng(1).normal(size=(60, 3))
    rows = Rotation(features, standardise=True, stands_for=125).divide(TRAIN, TEST, [])
    plain = Ridge.Params(standardise=False)
    rotated = Ridge.predict_path(
        [plain.model_copy(update={"penalty": x}) for x in (10.0, 1e3)], "regress", rows.train, target[TRAIN], rows.test
    )
    direct = Ridge.predict_path(
        [Ridge.Params(penalty=4 * x) for x in (10.0, 1e3)], "regress", features[TRAIN], target[TRAIN], features[TEST]
    )  # rows are scaled by the square root of 125 / 500
    np.testing.assert_allclose(rotated, direct, atol=1e-6)


def test_neighbours_of_rotated_rows_are_those_of_the_features():
    features, target = scaled(), np.random.default_rng(1).normal(size=(60, 1))
    rows = Rotation(features, standardise=False, stands_for=100).divide(TRAIN, TEST, [])
    found = KNN.predict_path([KNN.Params()], "regress", rows.train, target[TRAIN], rows.test)
    expected = KNN.predict_path([KNN.Params()], "regress", features[TRAIN], target[TRAIN], features[TEST])
    np.testing.assert_allclose(found, expected)


def test_rotation_never_sees_the_test_samples():
    features = scaled()
    disturbed = features.copy()
    disturbed[TEST[1:]] *= -20
    one, other = (Rotation(some, True, 256).divide(TRAIN, TEST, []) for some in (features, disturbed))
    np.testing.assert_array_equal(one.train, other.train)
    np.testing.assert_array_equal(one.test[0], other.test[0])
    assert np.abs(one.test[1:] - other.test[1:]).max() > 1


def test_inner_folds_have_components_of_their_own_rows():
    features = scaled(width=20)
    inner = [(np.arange(10, 30), np.arange(10))]
    disturbed = features.copy()
    disturbed[TRAIN[:9]] += 50.0  # held out inside
    one, other = (FoldPCA(some, 4, unit_variance=True).divide(TRAIN, TEST, inner) for some in (features, disturbed))
    (fitted, held), (fitted_too, held_too) = next(one.inner), next(other.inner)
    np.testing.assert_allclose(np.abs(fitted), np.abs(fitted_too), atol=1e-6)
    np.testing.assert_allclose(np.abs(held[9]), np.abs(held_too[9]), atol=1e-6)
    assert fitted.var(axis=0).mean() == pytest.approx(1)
    assert fitted.var(axis=0)[0] > 1.5 * fitted.var(axis=0)[3]


def content(width, seed=0, trials=40, sources=12):
    """Make the same content in any number of features: twelve sources, of which the target is a sum, mixed and noisy.

    Beyond 200 features the same ones come again, so that the number alone differs.
    """
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(trials, sources)) * np.geomspace(3, 0.5, sources)
    base = hidden @ rng.normal(size=(sources, 200)) + 2 * rng.normal(size=(trials, 200))
    target = hidden @ np.array([1.0] + [0.5] * (sources - 1))
    return base[:, np.arange(width) % 200], target / target.std()


def decoded(width, decoder="ridge", seed=0, **settings):
    features, target = content(width, seed)
    if decoder in ("lda", "logistic"):
        target = np.digitize(target, np.quantile(target, [1 / 3, 2 / 3]))
    task = "classify" if target.dtype.kind == "i" else "regress"
    labels = Labels(target, np.arange(target.size), np.arange(float(target.size)), task)
    protocol = Protocol(**({"split": "trial", "shuffles": 0, "bootstraps": 100} | settings))
    return next(s.value for s in evaluate(features, labels, decoder=decoder, protocol=protocol) if s.fold == "all")


@pytest.mark.parametrize("seed", range(3))
def test_the_number_of_features_alone_changes_nothing(seed):
    values = [decoded(width, seed=seed) for width in (255, 256, 257, 1000)]
    assert max(values) - min(values) < 0.02
    assert min(values) > 0.9
    repeated = [decoded(width, "knn", seed) for width in (200, 400, 1000)]  # to the letter the same content
    np.testing.assert_allclose(repeated, repeated[0])


def test_as_many_components_as_there_are_samples_do_no_harm():
    assert decoded(200, pca=50) > 0.9
