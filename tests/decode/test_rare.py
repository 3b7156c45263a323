"""Classes that are too rare are refused, or told."""

import numpy as np
import pytest

from neurodyn.core.errors import DataError
from neurodyn.decode.labels import Labels
from neurodyn.decode.protocol import evaluate
from neurodyn.decode.settings import Protocol

PROTOCOL = Protocol(folds=4, gap=0, shuffles=0, bootstraps=100)


def scored(target):
    target = np.array(target)
    labels = Labels(target, np.arange(target.size), np.arange(target.size) * 1.0, "classify", name="image")
    features = np.random.default_rng(0).normal(size=(target.size, 2))
    return evaluate(features, labels, decoder="lda", protocol=PROTOCOL)[0]


def test_classes_of_one_trial_each_are_refused():
    with pytest.raises(DataError, match="too few trials") as caught:
        scored(np.r_[0, 0, np.arange(1, 11)])
    found = caught.value.found
    assert "0 (2 trials), 1 (1 trial), 2 (1 trial), 3 (1 trial), 4 (1 trial) and 6 more" in found


def test_rare_classes_and_sure_misses_are_told(caplog):
    score = scored([0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 7, 7])
    assert "classes with fewer trials than the 4 folds: 7 (2 trials)" in score.note
    assert "2 of 12 tests are sure misses: no trial of their class is in training" in score.note
    assert "image: classes with fewer trials" in caplog.text


def test_enough_trials_are_no_news():
    assert "fewer" not in scored([0, 1] * 6).note
