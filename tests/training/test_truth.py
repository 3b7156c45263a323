"""What lies between the frames: predictions at true times, their scores, upsampled attention."""

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.interpolate import RegularGridInterpolator

from neurodyn.backends.base import Batch
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording
from neurodyn.data.scores import read_scores
from neurodyn.decode.frame_scores import FrameScoreConfig, score_frames
from neurodyn.decode.interpolation_scores import InterpolationScoreConfig, score_interpolation
from neurodyn.simulate import SIMULATORS
from neurodyn.training.attention_scores import (
    INTERPOLATED,
    AttentionScoreConfig,
    score_attention,
    upsampled,
    with_points,
)
from neurodyn.training.batches import read_batch
from neurodyn.training.config import load_run_config
from neurodyn.training.fit import fit
from neurodyn.training.infer import infer
from neurodyn.training.run import load_run

SETTINGS = (
    "model.width=16",
    "model.layers=2",
    "model.query=joint",
    "windows={variable: position, align: events, duration: 1.12, split: column, condition: part}",
    "training.epochs=2",
    "training.steps_per_epoch=20",
    "training.batch=16",
    "training.warmup=5",
)


@pytest.fixture(scope="module")
def curves(tmp_path_factory):
    simulator = SIMULATORS.get("spirals")
    recording = simulator(simulator.Params(trials=60)).make()
    return recording.save(tmp_path_factory.mktemp("data") / "curves.zarr")


@pytest.fixture(scope="module")
def run(curves, tmp_path_factory):
    config, _ = load_run_config("cst-traces", None, SETTINGS)
    folder = fit(config, None, [curves], tmp_path_factory.mktemp("runs") / "run", gpu="none")
    infer(folder, gpu="none", at="truth", maps=("layer", "head"), few=30)
    return folder


@pytest.fixture(scope="module")
def prediction(run):
    return xr.open_zarr(run / "prediction.zarr", consolidated=False).load()


def test_true_times_are_those_of_the_recording(prediction, curves):
    truth = Recording.open(curves).table("truth")
    np.testing.assert_allclose(prediction["query"], truth["query"])
    assert prediction["at"].dims == ("window", "query", "roi")
    frames = np.searchsorted(prediction["query"], prediction["time"] - 1e-9)
    np.testing.assert_allclose(prediction["query"][frames], prediction["time"], atol=1e-9)


def test_times_asked_for_few_together_are_answered_in_their_order(run, prediction):
    model = load_run(run)
    windows = model.windows["test"].take(np.array([2]))
    batch = read_batch(windows, slice(None))
    times = torch.tensor(prediction["query"].values, dtype=torch.float32)[None]
    with torch.inference_mode():
        for first in range(4):
            alone = model.backend.at(batch, times[:, first::4])[0].numpy()
            np.testing.assert_allclose(prediction["at_few"].values[2, first::4], alone, rtol=1e-4, atol=1e-5)
    assert not np.allclose(prediction["at_few"], prediction["at"], atol=1e-3)  # joint queries see each other


def test_recordings_without_such_truth_are_refused(tmp_path):
    values = np.random.default_rng(0).normal(size=(900, 3)).astype(np.float32)
    plain = Recording.from_arrays({"position": values}, rate_hz=10).save(tmp_path / "plain.zarr")
    config, _ = load_run_config("pca", None, ("windows.variable=position",))
    folder = fit(config, None, [plain], tmp_path / "run", gpu="none")
    with pytest.raises(ConfigError, match="cannot be evaluated between frames"):
        infer(folder, gpu="none", at="truth")
    config, _ = load_run_config("cst-traces", None, ("windows.variable=position", *SETTINGS[:2], *SETTINGS[4:]))
    with pytest.raises(DataError, match="no true times"):
        infer(fit(config, None, [plain], tmp_path / "cst", gpu="none"), gpu="none", at="truth")


def test_errors_are_those_of_the_definition_on_held_out_times(run, prediction, curves, tmp_path):
    table = score_interpolation([run], tmp_path, InterpolationScoreConfig(bootstraps=100))
    scores = read_scores(table)
    truth = Recording.open(curves).table("truth")
    scale, dense = truth["dense"].attrs["scale"], truth["dense"].values
    known = np.isclose(truth["query"].values[:, None], prediction["time"].values[None], atol=1e-6).any(1)
    assert known.sum() == 10
    for model, values in {
        "cst-traces": prediction["at"].values,
        "cst-traces, 30 at a time": prediction["at_few"].values,
        "oracle": truth["oracle"].values[prediction["trial"]],
    }.items():
        expected = np.linalg.norm((values - dense[prediction["trial"]])[:, ~known], axis=2).mean(1) / scale
        found = [s.value for s in scores if (s.model, s.metric) == (model, "l2_error") and s.fold != "all"]
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        (whole,) = [s for s in scores if (s.model, s.metric, s.fold) == (model, "l2_error", "all")]
        assert whole.value == pytest.approx(expected.mean(), rel=1e-5)
        assert whole.ci_low < whole.value < whole.ci_high


def test_frames_are_scored_window_by_window_beside_linear_interpolation(run, prediction, tmp_path):
    scores = read_scores(score_frames([run], tmp_path, FrameScoreConfig(bootstraps=100)))
    hidden, observed = prediction["hidden"].values.astype(bool), prediction["observed"].values
    for model, name in {"cst-traces": "hidden_mean", "linear interpolation": "linear"}.items():
        expected = [
            np.mean((p[h] - o[h]) ** 2) for p, o, h in zip(prediction[name].values, observed, hidden, strict=True)
        ]
        found = [s.value for s in scores if (s.model, s.metric) == (model, "hidden_mse") and s.fold != "all"]
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert {s.model for s in scores if s.metric == "mse"} == {"cst-traces"}


def test_maps_are_written_with_the_axes_asked_for(run, prediction):
    maps = prediction["attention_maps"]
    assert maps.dims == ("window", "layer", "head", "time", "place")
    assert maps.shape[1:] == (2, 4, 10, 1)
    np.testing.assert_allclose(maps.sum(("time", "place")), 1, atol=5e-3)
    np.testing.assert_allclose(maps.mean(("layer", "head")), prediction["attention"], atol=2e-3)
    with pytest.raises(ConfigError, match="kept apart by column"):
        infer(run, gpu="none", maps=("column",))
    with pytest.raises(ConfigError, match="--few without --at"):
        infer(run, gpu="none", few=3)


def test_points_are_inserted_in_order_of_time():
    x = torch.arange(8.0).reshape(2, 4, 1)
    t = torch.tensor([0.0, 1.0, 2.0, 3.0]).expand(2, -1)
    seen = torch.ones(x.shape, dtype=torch.bool)
    batch = Batch(x, t, seen, seen, torch.zeros(2, dtype=torch.long))
    whole, extra = with_points(batch, torch.tensor([0.5, 2.5]), torch.tensor([[[10.0], [20.0]], [[30.0], [40.0]]]))
    np.testing.assert_array_equal(whole.t[0], [0, 0.5, 1, 2, 2.5, 3])
    np.testing.assert_array_equal(whole.x[..., 0], [[0, 10, 1, 2, 20, 3], [4, 30, 5, 6, 40, 7]])
    np.testing.assert_array_equal(extra[1], [False, True, False, False, True, False])


def test_upsampled_maps_are_scipys_and_their_rows_sum_to_one():
    rng = torch.Generator().manual_seed(0)
    t = torch.tensor([0.0, 0.3, 1.0])
    wanted = torch.tensor([0.0, 0.1, 0.3, 0.7, 1.0])
    maps = torch.rand(1, 6, 6, generator=rng).softmax(-1)
    fine = upsampled(maps, t[None], wanted[None], sites=2).unflatten(1, (5, 2)).unflatten(3, (5, 2))[0]
    coarse = maps.unflatten(1, (3, 2)).unflatten(3, (3, 2))[0]
    grid = np.stack(np.meshgrid(wanted, wanted, indexing="ij"), -1)
    expected = np.stack(
        [[RegularGridInterpolator((t, t), coarse[:, i, :, j].numpy())(grid) for j in range(2)] for i in range(2)]
    )  # site, site, time, time
    expected = np.moveaxis(expected, (0, 1, 2, 3), (1, 3, 0, 2))
    expected /= expected.sum((2, 3), keepdims=True)
    np.testing.assert_allclose(fine, expected, rtol=1e-5)


def test_attention_is_scored_against_that_of_the_true_points(run, tmp_path):
    scores = read_scores(score_attention([run], tmp_path, AttentionScoreConfig(bootstraps=100)))
    whole = {s.model: s for s in scores if s.fold == "all"}
    assert set(whole) == {"cst-traces", INTERPOLATED}
    for model, score in whole.items():
        each = [s.value for s in scores if s.model == model and s.fold != "all"]
        assert len(each) == score.n
        assert score.value == pytest.approx(np.mean(each))
    assert whole["cst-traces"].value < whole[INTERPOLATED].value
    with pytest.raises(DataError, match="known at 90 times"):
        score_attention([run], tmp_path / "more", AttentionScoreConfig(extra=91))
