"""Curves find what is there, where it is, and nothing where nothing is."""

from dataclasses import replace

import numpy as np
import pytest

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.curves import curves_in, write_curves
from neurodyn.data.recording import Recording
from neurodyn.data.scores import read_scores
from neurodyn.data.window_config import WindowConfig
from neurodyn.decode.check import check, opened_for
from neurodyn.decode.curve_words import curve_sentence
from neurodyn.decode.curves import _tested_everywhere, make_curves
from neurodyn.decode.design import make_design
from neurodyn.decode.gaps import labelled
from neurodyn.decode.run import decode
from neurodyn.decode.settings import DecodeConfig, Protocol
from neurodyn.metrics.nulls import largest_p
from tests.decode.sliding_trials import WINDOWS, axes_of, trials, while_on
from tests.decode.test_run import gratings

STEPS = {"curve_window": 0.2, "curve_step": 0.1}


def made(recording, folder, kind, **settings):
    """Save a recording and return one curve of it."""
    path = recording.save(folder / "trials.zarr")
    config = DecodeConfig(target="image", windows=WINDOWS, curves=(kind,), **({"shuffles": 60} | STEPS | settings))
    opened, config = opened_for(path, config)
    (session,) = opened.sessions()
    (curve,) = make_curves(*labelled(session, config), config)
    return curve


def nothing(time, _):
    return np.zeros((time.size, 1))


def test_a_code_is_found_when_it_is_there_and_at_no_other_time(tmp_path):
    curve = made(trials(while_on(axes_of(1), 0.5, 1.0)), tmp_path, "time")
    start, end = curve.axes["start_s"], curve.axes["end_s"]
    inside, outside = (start > 0.5 - 1e-9) & (end < 1.0 - 1e-9), (end < 0.5 - 1e-9) | (start > 1.0 - 1e-9)
    assert inside.sum() >= 3 and outside.sum() >= 10
    assert curve.told[inside].all()
    assert not curve.told[outside].any()
    assert (curve.value[inside] > curve.threshold).all()
    assert curve.value[outside].mean() == pytest.approx(1 / 3, abs=0.08)
    assert (curve.ci_low <= curve.value).all() and (curve.value <= curve.ci_high).all()
    np.testing.assert_allclose(end - start, 0.15)  # four frames of 50 ms
    np.testing.assert_allclose(np.diff(end), 0.1)
    said = curve_sentence(curve)
    first, last = end[curve.told][[0, -1]]
    assert f"from {first:.2f} to {last:.2f} s from onset" in said
    assert "Before the onset it could not be told." in said


def test_what_is_corrected_for_is_the_largest_score_of_each_shuffle():
    columns = np.array([[3.0, 1.0, 2.0, 4.0], [2.0, 3.0, 0.0, 1.0]])
    np.testing.assert_allclose(largest_p(columns), [3 / 4, 1.0])
    assert np.isnan(largest_p(columns[:, :1])).all()


def falsely_found(folder, seeds, kind="time"):
    """Return in how many of so many recordings of noise anything is found."""
    config = {"shuffles": 40, "curve_window": 0.25, "curve_step": 0.25, "splits": ("trial",)}
    curves = [made(trials(nothing, seed=seed, count=24, cells=5), folder / str(seed), kind, **config) for seed in seeds]
    return sum(bool(curve.told.any()) for curve in curves), sum(bool((curve.p <= 0.05).any()) for curve in curves)


def test_noise_is_told_at_no_time(tmp_path):
    found, _ = falsely_found(tmp_path, range(5))
    assert found <= 1  # of 5 at .05, two or more have probability .02


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["time", "generalise"])
def test_of_recordings_of_noise_one_in_twenty_has_a_time_that_is_told(tmp_path, kind):
    found, uncorrected = falsely_found(tmp_path, range(40), kind)
    assert found <= 5  # 2 expected of 40; more than 5 have probability .014
    assert uncorrected > 8  # without the correction


def test_codes_that_change_do_not_carry_over_and_codes_that_last_do(tmp_path):
    early, late = while_on(axes_of(1), 0.0, 0.7), while_on(axes_of(2), 0.8, 1.5)
    lasting = while_on(axes_of(1), 0.0, 1.5)
    found = {}
    for name, code in (("changes", lambda time, k: early(time, k) + late(time, k)), ("lasts", lasting)):
        curve = made(trials(code), tmp_path / name, "generalise")
        size = round(np.sqrt(curve.value.size))
        start, end = (curve.axes[f"test_{one}_s"][:size] for one in ("start", "end"))
        first, second = (start > -1e-9) & (end < 0.7), start > 0.8 - 1e-9
        told, value = curve.told.reshape(size, size), curve.value.reshape(size, size)
        assert told[np.ix_(first, first)].all() and told[np.ix_(second, second)].all()
        assert not told[end < -1e-9].any() and not told[:, end < -1e-9].any()
        found[name] = [(told[block], value[block]) for block in (np.ix_(first, second), np.ix_(second, first))]
    for told, value in found["changes"]:
        assert told.mean() < 0.05
        assert value.mean() < 0.5
    for told, value in found["lasts"]:
        assert told.all()
        assert value.mean() > 0.8


@pytest.mark.parametrize("decoder", ["lda", "ridge", "knn"])
def test_the_diagonal_of_generalisation_is_the_curve_over_time(tmp_path, decoder):
    recording = trials(while_on(axes_of(1), 0.2, 0.8), count=30)
    settings = {"decoder": decoder, "shuffles": 5, "curve_step": 0.3}
    over_time = made(recording, tmp_path / "a", "time", **settings)
    across = made(recording, tmp_path / "b", "generalise", **settings)
    size = over_time.value.size
    np.testing.assert_allclose(np.diag(across.value.reshape(size, size)), over_time.value, atol=1e-9)
    np.testing.assert_array_equal(across.axes["train_end_s"].reshape(size, size)[:, 0], over_time.axes["end_s"])


@pytest.mark.parametrize("split", ["trial", "blocked"])
def test_no_trial_is_tested_by_a_decoder_that_was_trained_on_it_at_another_time(tmp_path, split):
    path = trials(nothing).save(tmp_path / "a.zarr")
    opened, config = opened_for(path, DecodeConfig(target="image", windows=WINDOWS))
    (session,) = opened.sessions()
    _, labels = labelled(session, config)
    design = make_design(labels, Protocol(split=split, shuffles=3))
    tall = _tested_everywhere(design, 4, 7)
    samples = len(labels.target)
    for fold, before in zip(tall.folds, design.folds, strict=True):
        assert not set(fold.train % samples) & set(fold.test % samples)
        assert set(fold.train // samples) == {4} and set(fold.test // samples) == set(range(7))
        assert fold.test.size == 7 * before.test.size
    np.testing.assert_array_equal(tall.columns.reshape(7, samples, -1)[3], design.columns)


@pytest.mark.parametrize(("task", "metric"), [("classify", "accuracy"), ("regress", "r2")])
def test_more_cells_tell_more_and_all_of_them_as_much_as_in_the_table(tmp_path, task, metric):
    recording = trials(while_on(0.5 * axes_of(3, cells=9), 0.0, 1.0), cells=9)
    path = recording.save(tmp_path / "trials.zarr")
    config = DecodeConfig(target="image", task=task, windows=WINDOWS, curves=("cells",), shuffles=70, curve_draws=8)
    table = decode(path, config=config)
    (curve,) = curves_in(table.parent)
    score = next(
        s for s in read_scores(table) if s.features == "dff:response" and s.metric == metric and s.fold == "all"
    )
    assert curve.features == score.features
    for mine, theirs in (("value", "value"), ("ci_low", "ci_low"), ("ci_high", "ci_high"), ("p", "p")):
        assert getattr(curve, mine)[-1] == pytest.approx(getattr(score, theirs), abs=2e-9)
    np.testing.assert_array_equal(curve.axes["cells"], [1, 2, 4, 8, 9])
    np.testing.assert_array_equal(curve.axes["draws"], [8, 8, 8, 8, 1])
    assert curve.value[0] < curve.value[2] < curve.value[4]
    assert (curve.ci_low < curve.value).all() and (curve.value < curve.ci_high).all()
    assert f"from all {9} (chance" in curve_sentence(curve)


def test_all_draws_are_taken_where_they_are_few(tmp_path):
    curve = made(trials(while_on(axes_of(3, cells=3), 0.0, 1.0), cells=3), tmp_path, "cells", shuffles=0)
    np.testing.assert_array_equal(curve.axes["cells"], [1, 2, 3])
    np.testing.assert_array_equal(curve.axes["draws"], [3, 3, 1])
    one = made(trials(while_on(axes_of(3, cells=1), 0.0, 1.0), cells=1), tmp_path / "one", "cells", shuffles=0)
    np.testing.assert_array_equal(one.axes["cells"], [1])


def test_curves_repeat_and_depend_on_the_seed(tmp_path):
    recording = trials(while_on(0.4 * axes_of(3), 0.0, 1.0), count=30)
    first, again, other = (
        made(recording, tmp_path / str(k), "cells", seed=seed, shuffles=0, curve_draws=3)
        for k, seed in enumerate((0, 0, 1))
    )
    np.testing.assert_array_equal(first.value, again.value)
    assert (first.value[:-1] != other.value[:-1]).any()


def test_a_constant_cell_and_a_slow_drift_are_borne(tmp_path):
    recording = trials(while_on(axes_of(1), 0.5, 1.0), count=30)
    dff = recording["dff"].values
    dff[:, 0] = 2.0
    dff += np.linspace(0, 3, len(dff))[:, None]
    stimulus = {name: recording.stimulus[name].values for name in ("start", "stop", "image")}
    drifting = Recording.from_arrays({"dff": dff}, rate_hz=20.0, stimulus=stimulus)
    curve = made(drifting, tmp_path, "time", detrend=True)
    assert np.isfinite(curve.value).all()
    assert curve.told.any() and not curve.told[curve.axes["end_s"] < 0.5 - 1e-9].any()


def test_without_shuffles_and_with_too_few_nothing_is_called_found(tmp_path):
    recording = trials(while_on(axes_of(1), 0.0, 1.0), count=24)
    none = made(recording, tmp_path / "none", "time", shuffles=0)
    assert np.isnan(none.p).all() and np.isnan(none.threshold)
    assert "without a null" in curve_sentence(none)
    few = made(recording, tmp_path / "few", "time", shuffles=10)
    assert np.isnan(few.threshold) and not few.told.any()
    assert "too few shuffles" in curve_sentence(few)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"windows": WindowConfig(duration=1.0, align="stream"), "curves": ("time",)}, "windows around events"),
        ({"curve_window": 1.95}, "No two windows of 1.95 s"),
        ({"decoder": "gru"}, "takes the course of a trial"),
    ],
)
def test_curves_that_cannot_be_made_are_refused_before_anything_is_fitted(tmp_path, settings, message):
    path = trials(nothing).save(tmp_path / "trials.zarr")
    config = DecodeConfig(**({"target": "image", "windows": WINDOWS, "curves": ("time",)} | settings))
    for ask in (lambda: check(path, config), lambda: decode(path, config=config)):
        with pytest.raises(ConfigError, match=message):
            ask()
    assert not (tmp_path / "trials.decode").exists()


def test_a_movie_has_times_but_no_cells(tmp_path):
    rng = np.random.default_rng(0)
    onset = np.arange(20) * 3.0 + 1
    side = rng.permutation(np.arange(20) % 2)
    movie = rng.standard_normal((650, 8, 8)).astype(np.float32)
    for at, where in zip(onset, side, strict=True):
        movie[round(at * 10) : round(at * 10) + 10, :, 4 * where : 4 * where + 4] += 1.0
    stimulus = {"start": onset, "stop": onset + 1, "image": side}
    path = Recording.from_arrays({"dff": movie}, rate_hz=10.0, stimulus=stimulus).save(tmp_path / "movie.zarr")
    config = DecodeConfig(target="image", windows=WINDOWS, curves=("time",), shuffles=40, grid=(2, 2))
    (curve,) = curves_in(decode(path, config=config).parent)
    assert curve.features == "dff:patches"
    np.testing.assert_array_equal(curve.told, (curve.axes["end_s"] > -1e-9) & (curve.axes["start_s"] < 1.0 - 1e-9))
    with pytest.raises(ConfigError, match="A movie has no cells to draw from"):
        check(path, config.model_copy(update={"curves": ("cells",)}))


def test_tables_of_curves_are_read_back_and_do_not_outlive_their_decoding(tmp_path):
    path = trials(while_on(axes_of(1), 0.5, 1.0), count=24).save(tmp_path / "trials.zarr")
    config = DecodeConfig(target="image", windows=WINDOWS, curves=("time", "cells"), shuffles=20, curve_draws=2)
    folder = decode(path, config=config).parent
    assert [curve.kind for curve in curves_in(folder)] == ["time", "cells"]
    header = (folder / "curve_time.csv").read_text().splitlines()[0]
    assert "start_s,end_s,value,ci_low,ci_high" in header
    curve = curves_in(folder)[0]
    (again,) = curves_in(write_curves(tmp_path / "copy" / "curve_time.csv", [curve]).parent)
    assert replace(again, axes={}, **dict.fromkeys(ARRAYS)) == replace(curve, axes={}, **dict.fromkeys(ARRAYS))
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(again, name), getattr(curve, name))
    decode(path, config=config.model_copy(update={"curves": ()}))
    assert not curves_in(folder)
    (folder / "curve_time.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="is not a table of a curve"):
        curves_in(folder)


ARRAYS = ("value", "ci_low", "ci_high", "shuffled_low", "shuffled_high", "p", "p_corrected")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "found"), [("230809_mrcuts28_fov4", True), ("230804_mrcuts27_fov3", False)])
def test_gratings_are_told_after_their_onset_where_cells_are_tuned(shared_data, tmp_path, name, found):
    path = gratings(shared_data / "park_v1_gratings" / f"{name}.npz").save(tmp_path / "park.zarr")
    windows = WindowConfig(duration=49 * 0.0625, align="events", offset=-1.0)
    config = DecodeConfig(target="direction", decoder="lda", windows=windows, curves=("time",))
    (curve,) = curves_in(decode(path, config=config).parent)
    end = curve.axes["end_s"]
    assert not curve.told[end < 0.1].any()
    assert curve.told[end > 0.4].all() == found
    assert curve.told.any() == found
