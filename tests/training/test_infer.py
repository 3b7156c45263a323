"""Inference: what is in prediction.zarr, and whether the scores are right."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.core.files import sha256
from neurodyn.data.recording import Recording
from neurodyn.data.scores import read_scores
from neurodyn.training.config import load_run_config
from neurodyn.training.fit import fit
from neurodyn.training.infer import infer
from neurodyn.training.run import load_run


@pytest.fixture(scope="module")
def finished(config, movie, tmp_path_factory) -> Path:
    return fit(config, None, [movie], tmp_path_factory.mktemp("runs") / "run", gpu="none")


@pytest.fixture(scope="module")
def prediction(finished) -> xr.Dataset:
    path = infer(finished, gpu="none", batch=5, at=[0.05, 0.31])
    return xr.open_zarr(path, consolidated=False).load()


def test_predictions_are_labelled_and_belong_to_the_test_windows(prediction, finished):
    run = load_run(finished)
    test = run.windows["test"]
    np.testing.assert_allclose(prediction["start"], test.start)
    assert set(prediction["part"].values.tolist()) == {"test"}
    values, mask = test.values()
    np.testing.assert_array_equal(np.nan_to_num(prediction["observed"]), values)
    assert prediction["mean"].dims == ("window", "time", "y", "x")
    assert prediction["latents"].shape == (len(test), 8, 16)
    assert prediction["attention"].shape == (len(test), 8, 4)
    np.testing.assert_allclose(prediction["attention"].sum(("time", "key")), 1, atol=2e-2)
    assert prediction["at"].shape == (len(test), 2, 8, 8)
    np.testing.assert_allclose(prediction["query"], [0.05, 0.31])
    assert prediction.attrs["attention_grid"] == [2, 2]


def test_hidden_frames_are_inner_and_linear_interpolation_fills_them(prediction):
    hidden = prediction["hidden"].values.astype(bool)
    assert hidden.any(1).all()
    assert not hidden[:, [0, -1]].any()
    t, observed = prediction["time"].values, prediction["observed"].values
    for window in range(0, len(hidden), 4):
        keep = ~hidden[window]
        expected = np.interp(t, t[keep], observed[window, keep, 7, 7])
        np.testing.assert_allclose(prediction["linear"].values[window, :, 7, 7], expected, atol=1e-5)


def test_scores_are_r2_on_hidden_valid_entries(prediction, finished):
    scores = {(s.split, s.model, s.metric): s for s in read_scores(finished / "reconstruction.csv")}
    observed, hidden = prediction["observed"].values, prediction["hidden"].values.astype(bool)
    mean = np.nanmean(observed.reshape(-1, 64)[:, np.isfinite(observed).any((0, 1)).ravel()], 0)
    brain = np.isfinite(observed).any((0, 1))
    x = observed[hidden][:, brain]
    total = np.nansum((x - mean) ** 2)
    for model, name in (("cst-tiny", "hidden_mean"), ("linear interpolation", "linear")):
        error = np.nansum((x - prediction[name].values[hidden][:, brain]) ** 2)
        score = scores["blocked:test", model, "hidden_frame_r2"]
        assert score.value == pytest.approx(1 - error / total, abs=1e-4)
        assert score.ci_low < score.value < score.ci_high
        assert score.n == len(observed)
    gain = scores["blocked:test", "cst-tiny", "hidden_frame_r2_gain"].value
    both = [scores["blocked:test", m, "hidden_frame_r2"].value for m in ("cst-tiny", "linear interpolation")]
    assert gain == pytest.approx(both[0] - both[1])
    assert {split for split, _, _ in scores} == {"blocked:train", "blocked:valid", "blocked:test"}


def test_inference_is_repeatable_whatever_the_batch_and_up_to_date_afterwards(finished, prediction):
    target = finished / "prediction.zarr"
    again = xr.open_zarr(infer(finished, gpu="none", batch=3), consolidated=False).load()
    np.testing.assert_array_equal(again["hidden"], prediction["hidden"])
    np.testing.assert_allclose(again["hidden_mean"], prediction["hidden_mean"], atol=1e-5)
    stamp, digest = target.stat().st_mtime_ns, sha256(target)
    assert infer(finished, gpu="none", batch=3) == target
    assert target.stat().st_mtime_ns == stamp
    infer(finished, gpu="none", batch=3, parts=("train", "test"))
    assert sha256(target) != digest
    infer(finished, gpu="none", batch=3)
    assert sha256(target) == digest


def test_other_recordings_and_wrong_requests(finished, movie, traces, tmp_path):
    other = xr.open_zarr(infer(finished, [movie], gpu="none", attention=False), consolidated=False)
    assert set(other["part"].values.tolist()) == {"all"}
    assert "attention" not in other
    with pytest.raises(DataError, match="does not fit"):
        infer(finished, [traces], gpu="none")
    with pytest.raises(ConfigError, match="no part"):
        infer(finished, parts=("tset",), gpu="none")
    with pytest.raises(DataError, match="not a finished run"):
        load_run(tmp_path)
    linear = fit(load_run_config("pca")[0], None, [traces], tmp_path / "pca", gpu="none")
    with pytest.raises(ConfigError, match="between frames"):
        infer(linear, gpu="none", at=[0.1])
    assert "attention" not in xr.open_zarr(infer(linear, gpu="none"), consolidated=False)


def test_training_beats_linear_interpolation_on_noisy_waves(movie, tmp_path):
    settings = ["model.patch=[4,4]", "windows.duration=0.8", "windows.stride=0.4", "training.steps_per_epoch=60"]
    config, _ = load_run_config("cst-tiny", None, [*settings, "training.lr=5e-3", "training.epochs=3"])
    out = fit(config, None, [movie], tmp_path / "run", gpu="none")
    infer(out, gpu="none")
    scores = {(s.split, s.model, s.metric): s for s in read_scores(out / "reconstruction.csv")}
    assert scores["blocked:test", "cst-tiny", "hidden_frame_r2_gain"].ci_low > 0.1


SHORT = ("windows={duration: 1.0, stride: 0.5}", "training={epochs: 1, steps_per_epoch: 2, batch: 4, warmup: 1}")


def test_any_model_forecasts_when_asked_and_forecasters_know_one_horizon(traces, tmp_path):
    filling = fit(load_run_config("lstm", None, SHORT)[0], None, [traces], tmp_path / "lstm", gpu="none")
    prediction = xr.open_zarr(infer(filling, gpu="none", horizon=0.4), consolidated=False).load()
    hidden = prediction["hidden"].values.astype(bool)
    assert hidden[:, -4:].all()
    assert not hidden[:, :-4].any()
    np.testing.assert_array_equal(prediction["mean"], prediction["hidden_mean"])
    held = prediction["observed"].values[:, [5]]
    np.testing.assert_allclose(prediction["linear"].values[:, 6:], np.broadcast_to(held, (len(held), 4, 5)))
    assert {s.model for s in read_scores(filling / "reconstruction.csv")} == {"lstm", "last value"}
    only = load_run_config("source-mean", None, (*SHORT[:1], "windows.horizon=0.4"))[0]
    forecaster = fit(only, None, [traces], tmp_path / "mean", gpu="none")
    again = xr.open_zarr(infer(forecaster, gpu="none", horizon=0.4), consolidated=False).load()
    source = again["observed"].values[:, :6].mean(1)
    np.testing.assert_allclose(again["mean"].values[:, -1], source, atol=1e-5)
    for run, wrong in ((forecaster, 0.2), (filling, 1.0)):
        with pytest.raises(ConfigError, match="cannot forecast"):
            infer(run, gpu="none", horizon=wrong)


def test_a_forecaster_without_a_horizon_is_refused(traces, tmp_path):
    with pytest.raises(ConfigError, match="how far to look"):
        fit(
            load_run_config("psth", None, (*SHORT, "windows.horizon=null"))[0],
            None,
            [traces],
            tmp_path / "run",
            gpu="none",
        )


def test_the_stimulus_travels_with_the_model(tmp_path):
    start = np.arange(30) * 2.0 + 1.0
    table = {"start": start, "stop": start + 1, "image": np.array(["a", "b", "c"])[np.arange(30) % 3]}
    data = np.repeat(np.arange(3.0)[np.arange(31) % 3], 20)[:, None] + np.zeros((1, 2))
    path = Recording.from_arrays(
        {"dff": np.roll(data, 10, axis=0).astype(np.float32)}, rate_hz=10, stimulus=table, session="images"
    ).save(tmp_path / "a.zarr")
    windows = "windows={align: events, offset: -0.5, duration: 1.5, horizon: 1.0, split: trial, stimuli: [image]}"
    run = fit(load_run_config("psth", None, (windows,))[0], None, [path], tmp_path / "run", gpu="none")
    known = xr.open_zarr(infer(run, gpu="none"), consolidated=False).load()
    np.testing.assert_allclose(known["mean"].values[:, 5:], known["observed"].values[:, 5:], atol=1e-5)
    table["image"] = np.array(["c"] * 29 + ["strange"])
    other = Recording.from_arrays(
        {"dff": np.roll(data, 10, axis=0).astype(np.float32)}, rate_hz=10, stimulus=table, session="images"
    ).save(tmp_path / "b.zarr")
    told = xr.open_zarr(infer(run, [other], gpu="none"), consolidated=False).load()["mean"].values
    np.testing.assert_allclose(told[:29, 5:], 2.0, atol=1e-5)
    assert not np.allclose(told[29, 5:], 2.0)


def test_a_recording_that_changed_since_training_is_not_taken_for_what_was_held_out(config, movie, tmp_path):
    path = Path(shutil.copytree(movie, tmp_path / "movie.zarr"))
    run = fit(config, None, [path], tmp_path / "run", gpu="none")
    kept, recording = infer(run, gpu="none"), Recording.open(path)
    values, brain = recording["dff"].values.copy(), np.array(recording.brain)
    values[5, 7, 7] += 1
    shutil.rmtree(path)
    Recording.from_arrays({"dff": values}, rate_hz=10, brain=brain, session=recording.session).save(path)
    before = sha256(kept)
    with pytest.raises(DataError, match="changed since run was trained") as caught:
        infer(run, gpu="none")
    assert caught.value.fix.endswith(f"neurodyn infer {run} {path}")
    assert sha256(kept) == before
    infer(run, [path], gpu="none")
