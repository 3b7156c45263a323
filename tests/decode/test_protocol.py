"""The protocol tells signal from noise, and shows the leak of a random split."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.decode.labels import Labels
from neurodyn.decode.protocol import RANDOM_NOTE, evaluate
from neurodyn.decode.settings import Protocol

TRIALS, PER_TRIAL = 40, 10


def slow_noise(seed, width=8):
    """Autocorrelated noise that knows nothing of any label, and one random label per trial."""
    rng = np.random.default_rng(seed)
    features = gaussian_filter1d(rng.normal(size=(TRIALS * PER_TRIAL, width)), 4, axis=0)
    groups = np.repeat(np.arange(TRIALS), PER_TRIAL)
    return features, Labels(rng.normal(size=TRIALS)[groups], groups, np.arange(groups.size) * 0.1, "regress")


def r2(features, labels, **settings):
    decoder = settings.pop("decoder", "ridge")
    protocol = Protocol(**({"shuffles": 40, "bootstraps": 300} | settings))
    scores = evaluate(features, labels, decoder=decoder, protocol=protocol)
    return next(score for score in scores if score.metric == "r2" and score.fold == "all")


def test_pure_noise_is_at_chance_in_blocks_and_inflated_at_random():
    blocked = [r2(*slow_noise(seed), split="blocked", decoder="knn") for seed in range(12)]
    leaky = [r2(*slow_noise(seed), split="random", decoder="knn") for seed in range(12)]
    assert np.median([score.value for score in blocked]) < 0
    assert np.median([score.value for score in leaky]) > 0.5
    assert all(score.note.startswith(RANDOM_NOTE) for score in leaky)
    assert not any(RANDOM_NOTE in score.note for score in blocked)


@pytest.mark.parametrize("split", ["trial", "blocked"])
def test_p_is_about_uniform_without_signal(split):
    p = np.array([r2(*slow_noise(seed), split=split).p for seed in range(60)])
    assert 0.35 < p.mean() < 0.65
    assert (p <= 0.1).mean() < 0.22  # 6 expected of 60; 14 or more has probability < 0.2 %


def forms_of(seed, width=8):
    """Return three forms of the features, and labels that only the second knows."""
    features, labels = slow_noise(seed, width)
    told = features.copy()
    told[:, 0] += labels.target
    return {"first": features, "second": told, "third": slow_noise(seed + 1000, width)[0]}, labels


@pytest.mark.parametrize("decoder", ["ridge", "knn"])
def test_training_folds_choose_the_form_that_tells_the_label(decoder):
    forms, labels = forms_of(0)
    chosen = r2({"row": forms}, labels, decoder=decoder)
    alone = r2({"row": forms["second"]}, labels, decoder=decoder)
    assert "chosen inside training folds: second (5 of 5)" in chosen.note
    assert chosen.value == pytest.approx(alone.value, rel=1e-9)
    assert (chosen.ci_low, chosen.ci_high) == pytest.approx((alone.ci_low, alone.ci_high), rel=1e-9)


def test_forms_are_chosen_for_classes_by_decoders_that_go_label_by_label():
    forms, labels = forms_of(3)
    classes = Labels((labels.target > 0).astype(int), labels.groups, labels.times, "classify")
    scores = evaluate({"row": forms}, classes, decoder="lda", protocol=Protocol(shuffles=5))
    assert "second (5 of 5)" in next(s.note for s in scores if s.fold == "all")


def test_without_tuning_the_first_form_is_taken():
    forms, labels = forms_of(0)
    assert r2({"row": forms}, labels, tune=False).value == r2({"row": forms["first"]}, labels, tune=False).value


def test_choosing_among_forms_of_noise_finds_nothing():
    p, values = [], []
    for seed in range(60):
        features, labels = slow_noise(seed)
        forms = {str(k): slow_noise(seed + 500 * k)[0] for k in range(1, 4)}
        score = r2({"row": {"0": features, **forms}}, labels)
        p.append(score.p)
        values.append(score.value)
    assert 0.35 < np.mean(p) < 0.65
    assert np.mean(np.array(p) <= 0.1) < 0.22  # as above
    assert np.median(values) < 0


def test_tuned_noise_interval_covers_zero():
    scores = [r2(*slow_noise(seed), split="blocked") for seed in range(20)]
    assert np.mean([score.ci_low <= 0 for score in scores]) >= 0.9


def test_signal_is_found_with_the_smallest_p():
    features, labels = slow_noise(0)
    features[:, 2] += labels.target
    score = r2(features, labels)
    assert score.value > 0.7
    assert score.ci_low > score.null_mean
    assert score.p == pytest.approx(1 / 41)
    assert score.n == TRIALS


def test_order_of_samples_does_not_matter():
    features, labels = slow_noise(1)
    features[:, 0] += labels.target
    order = np.random.default_rng(0).permutation(len(features))
    moved = Labels(labels.target[order], labels.groups[order], labels.times[order], "regress")
    assert r2(features[order], moved).value == pytest.approx(r2(features, labels).value)


def test_classes_report_their_chance():
    rng = np.random.default_rng(0)
    target = np.repeat(["a", "b", "b", "b"], 20)
    scores = evaluate(
        rng.normal(size=(80, 3)),
        Labels(target, np.arange(80), np.arange(80.0), "classify"),
        decoder="lda",
        protocol=Protocol(split="trial", shuffles=20),
    )
    notes = {score.metric: score.note for score in scores if score.fold == "all"}
    assert "chance 0.750 (most frequent of 2 classes)" in notes["accuracy"]
    assert "chance 0.500" in notes["balanced accuracy"]


def test_same_seed_same_scores():
    features, labels = slow_noise(2)
    assert r2(features, labels, split="trial") == r2(features, labels, split="trial")
    assert r2(features, labels, split="trial").value != r2(features, labels, split="trial", seed=1).value


def test_bad_input_is_named():
    features, labels = slow_noise(0)
    with pytest.raises(DataError, match="constant"):
        Labels(np.ones(5), np.arange(5), np.arange(5.0), "regress")
    with pytest.raises(DataError, match="missing values"):
        Labels(np.array([1.0, np.nan]), np.arange(2), np.arange(2.0), "regress")
    with pytest.raises(DataError, match="not finite"):
        evaluate(np.full_like(features, np.nan), labels)
    with pytest.raises(DataError, match="do not fit the target"):
        evaluate(features[:-1], labels)
    with pytest.raises(ConfigError, match="cannot regress"):
        evaluate(features, labels, decoder="lda")
