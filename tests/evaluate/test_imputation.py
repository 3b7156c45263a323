"""Scores of what models put into holes."""

import numpy as np
import pytest
import torch

from neurodyn.core.errors import ConfigError
from neurodyn.data.recording import Recording
from neurodyn.data.scores import read_scores
from neurodyn.evaluate.imputation import Imputation, ImputationConfig
from neurodyn.evaluate.run import evaluate
from neurodyn.training.batches import read_batch
from neurodyn.training.config import load_run_config
from neurodyn.training.filling import hidden_entries, hide_signals
from neurodyn.training.fit import fit
from neurodyn.training.run import load_run

WINDOWS = "windows={duration: 1.0, stride: 0.5}"


def asked(**given) -> ImputationConfig:
    return ImputationConfig.model_validate({"size": (4, 4), "bootstraps": 100} | given)


@pytest.fixture(scope="module")
def runs(movie, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    made = {}
    for name, *sets in (("linear",), ("svd", "model.components=4")):
        config = load_run_config(name, None, (WINDOWS, *sets))[0]
        made[name] = fit(config, None, [movie], folder / name, gpu="none")
    return made


def scores(paths, out, **given):
    rows = read_scores(evaluate(Imputation(asked(**given)), paths, out))
    return {(s.model, s.metric): s for s in rows if s.fold == "all"}, rows


def test_scores_are_those_of_the_hidden_entries(runs, tmp_path):
    found, rows = scores([runs["svd"], runs["linear"]], tmp_path)
    run, config = load_run(runs["svd"]), asked()
    windows = run.windows["test"]
    batch = read_batch(windows, slice(None))
    hidden = torch.from_numpy(hidden_entries(windows, np.arange(len(windows)), tuple(batch.x.shape[1:]), config).copy())
    with torch.inference_mode():
        given = run.backend(hide_signals(batch, 0, hidden, everything=False))
    where = (hidden & batch.valid).numpy()
    assert 0.1 < where.sum() / batch.valid.numpy().sum() < 0.35
    x, mean = batch.x.numpy(), given.mean.numpy()
    np.testing.assert_allclose(found["svd", "imputation_mse"].value, np.mean((x - mean)[where] ** 2), rtol=1e-5)
    known = batch.valid.numpy()
    level = x.sum((0, 1)) / known.sum((0, 1)).clip(1)
    expected = 1 - ((x - mean)[where] ** 2).sum() / ((x - level)[where] ** 2).sum()
    np.testing.assert_allclose(found["svd", "imputation_r2"].value, expected, rtol=1e-4)
    assert found["svd", "imputation_r2"].value > 0.3
    assert 0.85 < found["svd", "coverage_90"].value < 0.95
    assert 0.85 < found["svd", "spread_skill"].value < 1.15
    assert found["svd", "crps"].value < np.sqrt(found["svd", "imputation_mse"].value)
    assert ("linear", "crps") not in found
    own = [s for s in rows if s.metric == "imputation_r2" and s.model == "svd" and s.fold != "all"]
    assert len(own) == where.any((1, 2, 3)).sum()
    assert abs(np.mean([s.value for s in own]) - found["svd", "imputation_r2"].value) < 0.05


def test_all_models_are_asked_the_same_whatever_their_seed_or_order(runs):
    one, other = (load_run(path).windows["test"] for path in runs.values())
    order = np.arange(len(one))
    first = hidden_entries(one, order, (10, 8, 8), asked())
    np.testing.assert_array_equal(first, hidden_entries(other, order, (10, 8, 8), asked()))
    np.testing.assert_array_equal(first[::-1], hidden_entries(one, order[::-1], (10, 8, 8), asked()))
    assert not np.array_equal(first, hidden_entries(one, order, (10, 8, 8), asked(seed=1)))


@pytest.mark.parametrize(
    ("hide", "frames"), [("forecast", [7, 8, 9]), ("hindcast", [0, 1, 2]), ("interpolate", [3, 4, 5])]
)
def test_seconds_name_frames(runs, hide, frames):
    windows = load_run(runs["linear"]).windows["test"]
    hidden = hidden_entries(windows, np.arange(2), (10, 8, 8), asked(hide=hide, seconds=0.3))
    assert np.flatnonzero(hidden[0].all((1, 2))).tolist() == frames
    assert hidden.sum() == 2 * 3 * 64


def test_what_a_model_does_not_give_is_refused(runs, movie, tmp_path):
    with pytest.raises(ConfigError, match="nothing of 'reference'"):
        evaluate(Imputation(asked(signal="reference")), [runs["linear"]], tmp_path)
    config = load_run_config("linear", None, ("windows={duration: 1.0, others: [other]}",))[0]
    with pytest.raises(ConfigError, match="takes one signal"):
        fit(config, None, [movie], tmp_path / "run", gpu="none")


def test_traces_lose_blocks_of_neighbouring_cells(traces, tmp_path):
    run = fit(
        load_run_config("svd", None, (WINDOWS, "model.components=4"))[0], None, [traces], tmp_path / "run", gpu="none"
    )
    found, _ = scores([run], tmp_path / "scores", size=[1, 2])
    assert found["svd", "imputation_r2"].n > 3


def test_behaviour_is_a_signal_on_the_frames_clock(tmp_path):
    import xarray as xr

    from neurodyn.data.window_config import WindowConfig
    from neurodyn.data.windows import Windows

    behavior = xr.Dataset({"speed": ("sample", np.arange(50.0))}).assign_coords(sample=np.arange(50) / 5)
    recording = Recording.from_arrays(
        {"dff": np.zeros((100, 3), np.float32)}, rate_hz=10, time=np.arange(100) / 10 + 0.05, behavior=behavior
    )
    windows = Windows.cut([recording], WindowConfig.model_validate({"others": ["behavior.speed"]}))
    values, mask = windows.others[0].take(np.array([2])).values()
    np.testing.assert_allclose(values[0, :, 0], 5 * (2.05 + np.arange(10) / 10), rtol=1e-5)
    assert mask.all()
    assert not windows.others[0].values()[1][-1, -1].any()  # after the last sample
