"""Every registered decoder honours the contract."""

import numpy as np
import pytest

from neurodyn.core.config import build
from neurodyn.decode import DECODERS
from neurodyn.decode.labels import Labels
from neurodyn.decode.protocol import evaluate
from neurodyn.decode.settings import Protocol

CASES = [(name, task) for name in DECODERS.names() for task in sorted(DECODERS.get(name).tasks)]


METRICS = {
    "regress": {"r2", "mse"},
    "classify": {"accuracy", "balanced accuracy"},
    "circular": {"mean cosine", "error, deg"},
}


def samples(task, count=90, seed=0):
    rng = np.random.default_rng(seed)
    if task == "circular":
        angle = rng.uniform(0, 2 * np.pi, count)
        return np.cos(angle[:, None] - np.arange(4)) + 0.2 * rng.normal(size=(count, 4)), angle
    features = rng.normal(size=(count, 4))
    signal = features @ np.array([2.0, -1.0, 0.5, 0.0])
    return features, np.digitize(signal, [-1, 1]) if task == "classify" else signal + 0.1 * rng.normal(size=count)


def make(name, task):
    kind = DECODERS.get(name)
    return kind, kind(build(kind.Params, {}, "test"), task)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_learns_and_generalises(name, task):
    features, target = samples(task)
    _, decoder = make(name, task)
    predicted = decoder.fit(features[:60], target[:60]).predict(features[60:])
    assert predicted.shape == (30,)
    if task == "circular":
        assert np.cos(predicted - target[60:]).mean() > 0.9
        return
    wrong = predicted != target[60:] if task == "classify" else (predicted - target[60:]) ** 2
    chance = target[60:] != np.median(target[:60]) if task == "classify" else (target[60:] - target[:60].mean()) ** 2
    assert wrong.mean() < 0.6 * chance.mean()


@pytest.mark.parametrize(("name", "task"), CASES)
def test_fit_leaves_its_inputs_alone_and_is_repeatable(name, task):
    features, target = samples(task)
    copies = features.copy(), target.copy()
    _, decoder = make(name, task)
    first = decoder.fit(features, target).predict(features)
    second = make(name, task)[1].fit(features, target).predict(features)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(features, copies[0])
    np.testing.assert_array_equal(target, copies[1])


@pytest.mark.parametrize(("name", "task"), CASES)
def test_path_over_settings_and_columns_equals_single_fits(name, task):
    features, target = samples(task)
    kind, decoder = make(name, task)
    shuffled = np.random.default_rng(1).permutation(target)
    candidates = kind.candidates(decoder.params)
    assert candidates
    path = kind.predict_path(candidates, task, features[:60], np.stack([target, shuffled], axis=1)[:60], features[60:])
    assert path.shape == (len(candidates), 30, 2)
    for row, params in enumerate(candidates):
        for column, labels in enumerate((target, shuffled)):
            single = kind(params, task).fit(features[:60], labels[:60]).predict(features[60:])
            np.testing.assert_allclose(path[row, :, column], single, atol=1e-8)


@pytest.mark.parametrize("name", [name for name, task in CASES if task == "classify"])
def test_classes_may_be_names_and_one_class_is_no_failure(name):
    features, target = samples("classify")
    named = np.array(["low", "mid", "top"])[target]
    _, decoder = make(name, "classify")
    assert set(decoder.fit(features, named).predict(features)) <= {"low", "mid", "top"}
    assert set(decoder.fit(features, np.full(90, "mid")).predict(features)) == {"mid"}


@pytest.mark.parametrize(("name", "task"), CASES)
def test_goes_through_the_protocol(name, task):
    features, target = samples(task)
    labels = Labels(target, np.arange(90) // 3, np.arange(90.0), task)
    protocol = Protocol(split="trial", folds=3, shuffles=9, bootstraps=100, inner_folds=2)
    scores = evaluate(features, labels, decoder=name, protocol=protocol)
    pooled = [score for score in scores if score.fold == "all"]
    assert {score.metric for score in pooled} == METRICS[task]
    assert all(score.ci_low <= score.value <= score.ci_high and score.p == 0.1 for score in pooled)
    assert len(scores) == len(pooled) * 4


@pytest.mark.parametrize("name", DECODERS.names())
def test_cites_its_source(name):
    assert DECODERS.get(name).citation
    assert DECODERS.summary(name)
