"""Logistic regressions of many label sets at once: each is the one that scikit-learn fits alone."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from neurodyn.decode.logistic import Logistic
from neurodyn.decode.softmax import SoftmaxFits

STRENGTHS = (1e-3, 0.1, 10.0)


def drawn(seed, count=60, width=12, classes=4, columns=4):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    rows = rng.normal(size=(count, width)) + rng.normal(size=(classes, width))[labels] + 3.0
    return rows, np.stack([labels, *(rng.permutation(labels) for _ in range(columns - 1))], axis=1)


def logits(fits, rows):
    scores = np.column_stack([(rows - fits._centre) @ fits._axes.T, np.ones(len(rows))])
    return np.tensordot(scores, fits._weights, 1)


@pytest.mark.parametrize(("width", "classes"), [(12, 4), (12, 2), (200, 3)])
def test_equals_scikit_learn_for_every_label_set(width, classes):
    for seed in range(20 if width < 100 else 5):
        rows, labels = drawn(seed, width=width, classes=classes)
        fits = SoftmaxFits(rows, labels)
        for strength in STRENGTHS:
            fits.fit(strength)
            mine = logits(fits, rows)
            peer = LogisticRegression(C=strength, tol=1e-9, max_iter=100_000).fit(rows, labels[:, seed % 4])
            theirs = peer.decision_function(rows)
            ours = mine[:, seed % 4]
            if classes == 2:
                np.testing.assert_allclose(ours[:, 1] - ours[:, 0], theirs, atol=5e-3)
            else:
                np.testing.assert_allclose(ours - ours.mean(axis=1, keepdims=True), theirs, atol=5e-3)


def test_a_class_without_samples_is_never_predicted():
    rows, labels = drawn(0, columns=2)
    labels[labels[:, 1] == 3, 1] = 0
    fits = SoftmaxFits(rows, labels)
    fits.fit(1.0)
    found = fits.predict(rows)
    assert 3 in found[:, 0]
    assert 3 not in found[:, 1]


def test_one_class_alone_is_the_answer():
    rows, _ = drawn(0)
    found = Logistic(Logistic.Params(), "classify").fit(rows, np.full(len(rows), "left")).predict(rows[:3])
    assert found.tolist() == ["left"] * 3


def test_separable_classes_and_constant_features_are_fitted():
    rows = np.zeros((30, 3))
    rows[:, 0] = np.repeat([-5.0, 5.0], 15)
    labels = np.repeat([0, 1], 15)[:, None]
    fits = SoftmaxFits(rows, labels)
    for strength in STRENGTHS:
        fits.fit(strength)
        np.testing.assert_array_equal(fits.predict(rows), labels)
    model = LogisticRegression(C=10.0, tol=1e-10, max_iter=100_000).fit(rows, labels.ravel())
    difference = np.diff(logits(fits, rows), axis=-1)[:, 0, 0]
    np.testing.assert_allclose(difference, model.decision_function(rows), atol=1e-3)
