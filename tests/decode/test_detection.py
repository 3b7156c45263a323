"""How well log-odds tell cases from the rest, against scikit-learn."""

import numpy as np
from sklearn.metrics import accuracy_score, average_precision_score, balanced_accuracy_score, f1_score

from neurodyn.decode.detection import measures


def test_measures_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    odds, answers = rng.normal(size=300), (rng.random(300) < 0.3).astype(float)
    said = odds > 0
    expected = [
        accuracy_score(answers, said),
        balanced_accuracy_score(answers, said),
        f1_score(answers, said),
        average_precision_score(answers, odds),
    ]
    np.testing.assert_allclose(measures(odds, answers), expected)
