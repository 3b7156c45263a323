"""Decoders against scikit-learn and closed forms."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from neurodyn.decode.knn import KNN
from neurodyn.decode.lda import LDA
from neurodyn.decode.ridge import Ridge
from neurodyn.decode.scaling import Standardiser


@pytest.fixture
def data():
    rng = np.random.default_rng(3)
    features = rng.normal(size=(80, 6)) * [1, 5, 0.1, 2, 1, 30] + 7
    return features, features @ rng.normal(size=6) + rng.normal(size=80)


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "correlation"])
def test_knn_regression_is_the_mean_of_the_neighbours(data, metric):
    features, target = data
    mine = KNN(KNN.Params(k=4, metric=metric), "regress").fit(features[:50], target[:50]).predict(features[50:])
    # Centring moves the origin, which cosine sees: give scikit-learn the same origin.
    mean = features[:50].mean(axis=0)
    theirs = KNeighborsRegressor(4, metric=metric, algorithm="brute").fit(features[:50] - mean, target[:50])
    np.testing.assert_allclose(mine, theirs.predict(features[50:] - mean))


def test_knn_classification_is_the_vote_of_the_neighbours(data):
    features, target = data
    classes = np.digitize(target, np.quantile(target, [0.3, 0.6]))
    mine = KNN(KNN.Params(k=3), "classify").fit(features[:50], classes[:50]).predict(features[50:])
    theirs = KNeighborsClassifier(3).fit(features[:50], classes[:50]).predict(features[50:])
    np.testing.assert_array_equal(mine, theirs)


def test_knn_with_more_neighbours_than_samples_is_the_mean(data):
    features, target = data
    mine = KNN(KNN.Params(k=500), "regress").fit(features[:50], target[:50]).predict(features[50:])
    np.testing.assert_allclose(mine, target[:50].mean())


@pytest.mark.parametrize("penalty", [1e-3, 1.0, 1e4])
def test_ridge_solves_the_normal_equations(data, penalty):
    features, target = data
    mine = Ridge(Ridge.Params(penalty=penalty), "regress").fit(features[:50], target[:50]).predict(features[50:])
    mean, spread = features[:50].mean(axis=0), features[:50].std(axis=0)
    theirs = SklearnRidge(alpha=penalty).fit((features[:50] - mean) / spread, target[:50])
    np.testing.assert_allclose(mine, theirs.predict((features[50:] - mean) / spread))


def test_ridge_with_more_features_than_samples():
    rng = np.random.default_rng(0)
    features, target = rng.normal(size=(20, 100)), rng.normal(size=20)
    mine = Ridge(Ridge.Params(penalty=5.0, standardise=False), "regress").fit(features, target).predict(features)
    centred = features - features.mean(axis=0)
    kernel = centred @ centred.T
    expected = target.mean() + kernel @ np.linalg.solve(kernel + 5 * np.eye(20), target - target.mean())
    np.testing.assert_allclose(mine, expected)


def test_standardiser_leaves_out_what_does_not_vary_in_training():
    train = np.array([[1.0, 5.0], [3.0, 5.0]])
    scaled = Standardiser.fit(train)(np.array([[5.0, 1e9]]))
    np.testing.assert_allclose(scaled, [[3.0, 0.0]])


@pytest.mark.parametrize(("count", "width", "classes"), [(12, 3, 2), (60, 7, 4), (51, 56, 8), (40, 1, 3), (20, 80, 5)])
def test_lda_is_that_of_scikit_learn_for_every_column_of_labels(count, width, classes):
    rng = np.random.default_rng(count)
    features = rng.normal(size=(count, width)) * rng.lognormal(size=width) + 3
    features[:, 0] = 1.0 if width > 1 else features[:, 0]  # a feature that never changes
    columns = np.stack([rng.permutation(np.arange(count) % classes) for _ in range(5)], axis=1)
    features[:, -1] += columns[:, 0]
    test = rng.normal(size=(300, width)) * features.std(axis=0) + features.mean(axis=0)
    path = LDA.predict_path([LDA.Params()], "classify", features, columns, test)
    for k in range(5):
        theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(features, columns[:, k])
        mine = LDA(LDA.Params(), "classify").fit(features, columns[:, k])
        scores = (test - mine._centre) @ mine._weights + mine._offset
        scores -= scores[:, :1]
        expected = theirs.decision_function(test)
        expected = np.c_[np.zeros(300), expected] if expected.ndim == 1 else expected - expected[:, :1]
        np.testing.assert_allclose(scores, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())
        np.testing.assert_array_equal(path[0, :, k], theirs.predict(test))


def test_ridge_on_a_circle_is_ridge_on_cosine_and_sine():
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 60)
    features = np.cos(angle[:, None] - np.arange(5)) + 0.3 * rng.normal(size=(60, 5))
    scaled = (features - features[:40].mean(axis=0)) / features[:40].std(axis=0)
    reference = SklearnRidge(alpha=10.0).fit(scaled[:40], np.stack([np.cos(angle), np.sin(angle)], axis=1)[:40])
    cosine, sine = reference.predict(scaled[40:]).T
    ridge = Ridge(Ridge.Params(penalty=10.0), "circular").fit(features[:40], angle[:40])
    np.testing.assert_allclose(ridge.predict(features[40:]), np.arctan2(sine, cosine), atol=1e-9)


def test_neighbours_across_zero_degrees_average_to_zero():
    knn = KNN(KNN.Params(k=2), "circular").fit(np.zeros((2, 1)), np.deg2rad([350.0, 10.0]))
    assert knn.predict(np.zeros((1, 1))) == pytest.approx([0.0], abs=1e-12)
