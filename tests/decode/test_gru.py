"""The recurrent decoder: it reads order in time, knows nothing of noise, and is not fooled by unbalanced classes."""

import numpy as np
import pytest

from neurodyn.core.errors import ConfigError
from neurodyn.data.window_config import WindowConfig
from neurodyn.data.windows import Windows
from neurodyn.decode.features import build_features, feature_names
from neurodyn.decode.gru import GRU, stopping_samples
from neurodyn.decode.labels import Labels
from neurodyn.decode.protocol import evaluate
from neurodyn.decode.reduce import FoldPCA
from neurodyn.decode.scoring import metric_values, trial_sums
from neurodyn.decode.settings import DecodeConfig, Protocol
from neurodyn.decode.source import Source
from tests.report.fake_run import traces

FRAMES, CELLS = 20, 5
QUICK = {"epochs": 40, "patience": 10}


def ordered(trials=90, seed=0):
    """Two cells fire once each, A before B or B before A, so that their means over time say nothing."""
    rng = np.random.default_rng(seed)
    target = np.arange(trials) % 2
    values = 0.2 * rng.standard_normal((trials, FRAMES, CELLS))
    early, late = rng.integers(1, 8, trials), rng.integers(11, 18, trials)
    rows = np.arange(trials)
    values[rows, early, target] += 1.0
    values[rows, late, 1 - target] += 1.0
    return values, target


def noise(trials, classes, seed=0):
    return np.random.default_rng(seed).standard_normal((trials, FRAMES, CELLS)), np.arange(trials) % classes


def scored(features, target, decoder="gru", **more):
    labels = Labels(target, np.arange(target.size), np.arange(float(target.size)), "classify")
    protocol = Protocol(split="trial", folds=3, bootstraps=200, **({"shuffles": 0} | more))
    params = QUICK if decoder == "gru" else {}
    rows = evaluate(features, labels, decoder=decoder, params=params, protocol=protocol)
    return {(row.features, row.metric): row for row in rows if row.fold == "all"}


def test_decodes_the_order_of_events_that_averages_over_time_cannot_see():
    values, target = ordered()
    found = scored({"sequence": values, "mean": values.mean(axis=1)}, target)
    assert found["sequence", "balanced accuracy"].value > 0.9
    assert found["sequence", "balanced accuracy"].ci_low > 0.8
    assert found["mean", "balanced accuracy"].ci_low < 0.5
    assert scored(values.mean(axis=1), target, "lda")["features", "balanced accuracy"].ci_low < 0.5


def test_is_at_chance_on_noise_and_within_its_shuffles():
    values, target = noise(90, 3, seed=1)
    row = scored(values, target, shuffles=9)["features", "balanced accuracy"]
    assert row.ci_low < 1 / 3 < row.ci_high
    assert row.null_mean == pytest.approx(1 / 3, abs=0.06)
    assert row.p > 0.1


def test_a_rare_class_weighs_as_much_as_a_common_one():
    constant = trial_sums(
        "classify", np.repeat([0, 1], [90, 10])[:, None], np.zeros((100, 1)), np.zeros((100, 1)), np.arange(100), (100, 2)
    )  # fmt: skip
    assert metric_values("classify", constant.sum(axis=(0, 1)))["balanced accuracy"] == 0.5
    values, target = ordered(120)
    kept = np.flatnonzero((target == 0) | (np.arange(120) % 12 == 1))  # 60 and 10
    decoder = GRU(GRU.Params(**QUICK), "classify").fit(values[kept], target[kept])
    fresh, truth = ordered(200, seed=1)
    assert (decoder.predict(fresh)[truth == 1] == 1).mean() > 0.7
    hidden, _ = noise(100, 2)
    rare = np.repeat([0, 1], [80, 20])
    guesses = GRU(GRU.Params(**QUICK), "classify").fit(hidden, rare).predict(noise(400, 2, seed=1)[0])
    assert 0.15 < guesses.mean() < 0.85  # the common class is not simply always said


def test_seeds_repeat_and_differ():
    values, target = noise(40, 2)
    other = noise(60, 2, seed=1)[0]

    def probabilities(seed):
        decoder = GRU(GRU.Params(epochs=3, seed=seed), "classify").fit(values, target)
        return decoder._several._nets.probabilities(decoder._several._scale(other))

    np.testing.assert_array_equal(probabilities(0), probabilities(0))
    assert np.abs(probabilities(0) - probabilities(1)).max() > 1e-3


def test_stopping_samples_are_a_share_of_every_class():
    labels = np.repeat([0, 1, 2, 3], [50, 10, 2, 1])
    chosen = stopping_samples(labels, 0.2, seed=0)
    assert np.bincount(labels[chosen], minlength=4).tolist() == [10, 2, 1, 0]
    assert (chosen != stopping_samples(labels, 0.2, seed=1)).any()


def test_one_sample_of_each_class_is_enough():
    values, target = noise(3, 3)
    assert set(GRU(GRU.Params(epochs=2), "classify").fit(values, target).predict(values)) <= {0, 1, 2}


def test_a_decoder_of_rows_refuses_sequences():
    values, target = noise(20, 2)
    with pytest.raises(ConfigError, match="are sequences"):
        scored({"dff:sequence": values}, target, "lda")


def test_every_row_is_a_sequence_for_the_recurrent_decoder_and_a_window_in_order():
    windows = Windows.cut([traces(trials=8)], WindowConfig(duration=3.0, align="events", offset=-1.0))
    source, config = Source(windows, None), DecodeConfig(target="orientation", decoder="gru", features=("dff:flat",))
    assert feature_names(source, config) == ["dff:sequence", "dff:mean", "dff:flat"]
    np.testing.assert_array_equal(build_features("dff:sequence", source, config), windows.values()[0])
    with pytest.raises(ConfigError, match="stands alone"):
        feature_names(source, config.model_copy(update={"features": ("dff:sequence+mean",)}))


def test_shuffles_are_fewer_where_each_is_a_training():
    assert DecodeConfig(decoder="gru").protocols()[0].shuffles == 20
    assert DecodeConfig(decoder="gru", shuffles=7).protocols()[0].shuffles == 7
    assert DecodeConfig().protocols()[0].shuffles == DecodeConfig(decoder="lda").protocols()[0].shuffles == 200


@pytest.mark.parametrize("width", [6, 400])
def test_wide_sequences_are_reduced_frame_by_frame_with_training_frames_only(width):
    values = np.random.default_rng(0).standard_normal((12, 7, width)) * np.linspace(3, 1, width)
    train, test = np.arange(8), np.arange(8, 12)
    fitted, tested = FoldPCA(values, 4)(train, test)
    assert fitted.shape == (8, 7, 4)
    assert tested.shape == (4, 7, 4)
    frames = FoldPCA(values.reshape(-1, width), 4)(np.arange(56), np.arange(56, 84))
    np.testing.assert_allclose(tested.reshape(-1, 4), frames[1], atol=1e-6)
