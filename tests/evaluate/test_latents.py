"""Scores of inferred latents and courses against independent computations on the same windows."""

import json

import numpy as np
import pytest
import xarray as xr
from scipy.stats import poisson
from sklearn.linear_model import LinearRegression

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording
from neurodyn.data.scores import read_scores
from neurodyn.data.store import as_text
from neurodyn.evaluate.latents import Latents, LatentsConfig
from neurodyn.evaluate.run import evaluate
from tests.decode.runs import join_runs, make_run, simulated

QUICK = {"bootstraps": 100}
PLAIN = Latents(LatentsConfig(**QUICK))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="module")
def run(source, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "calfads", source, seed=3)


@pytest.fixture(scope="module")
def scores(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("scores")
    table = evaluate(PLAIN, [run], out)
    return {(s.split, s.metric): s for s in read_scores(table)}, json.loads((out / "evaluate.json").read_text())


def of(run, source, name, part):
    """Return prediction and truth of a part, each shape (window * time, feature)."""
    prediction = xr.open_zarr(run / "prediction.zarr", consolidated=False)
    rows = as_text(prediction["part"].values) == part
    truth = Recording.open(source).table("truth")
    index = prediction["first"].values[rows][:, None] + np.arange(100)
    return tuple(
        values.reshape(-1, values.shape[-1]).astype(float)
        for values in (prediction[name].values[rows], truth[name].values[index])
    )


@pytest.mark.parametrize("part", ["valid", "test"])
def test_latents_are_scored_after_a_map_fitted_on_train_alone(run, source, scores, part):
    model = LinearRegression().fit(*of(run, source, "latents", "train"))
    inferred, known = of(run, source, "latents", part)
    aligned = model.predict(inferred)
    expected = np.corrcoef(aligned.ravel(), known.ravel())[0, 1] ** 2
    found = scores[0][f"column:{part}", "latents_r2"]
    assert found.value == pytest.approx(expected, abs=1e-5)
    assert found.ci_low < found.value < found.ci_high
    for k in range(3):
        error = np.sum((aligned - known)[:, k] ** 2) / np.sum((known[:, k] - known[:, k].mean()) ** 2)
        assert scores[0][f"column:{part}", f"latents_r2_dim{k + 1}"].value == pytest.approx(1 - error, abs=1e-5)


@pytest.mark.parametrize("part", ["valid", "test"])
def test_rates_and_spikes_are_squared_correlations_of_everything_pooled(run, source, scores, part):
    for name in ("rates", "spikes"):
        given, known = of(run, source, name, part)
        expected = np.corrcoef(given.ravel(), known.ravel())[0, 1] ** 2
        assert scores[0][f"column:{part}", f"{name}_r2"].value == pytest.approx(expected, abs=1e-5)


def test_fluorescence_is_compared_with_the_noisy_trace(scores):
    found = scores[0]["column:valid", "fluorescence_r2"]
    assert found.value == pytest.approx(0.93, abs=0.03), "the ceiling that noise sets, not 1"


def test_rows_say_model_seed_part_and_trials(scores):
    rows, made = scores
    assert {split for split, _ in rows} == {"column:valid", "column:test"}
    assert {(s.model, s.seed, s.session, s.unit) for s in rows.values()} == {
        ("calfads", 3, "lorenz-linear-0", "trials")
    }
    assert rows["column:valid", "rates_r2"].n == 12
    assert rows["column:test", "rates_r2"].n == 8
    assert made["metric"] == "latents"
    assert made["sources"][0]["dataset"] == "lorenz, linear calcium"
    assert not any(metric == "bits_per_spike" for _, metric in rows), "dff holds no counts"


def test_what_a_model_does_not_give_is_left_out(source, tmp_path):
    run = make_run(tmp_path / "gaussian", source, leave_out=("spikes",))
    rows = read_scores(evaluate(PLAIN, [run], tmp_path / "out"))
    assert {s.metric for s in rows} == {"fluorescence_r2", "latents_r2", "rates_r2"} | {
        f"latents_r2_dim{k}" for k in (1, 2, 3)
    }


def test_counts_give_bits_per_spike_and_no_fluorescence(source, tmp_path):
    run = make_run(tmp_path / "lfads", source, variable="counts", leave_out=("spikes",), noise=0.3)
    rows = {(s.split, s.metric): s for s in read_scores(evaluate(PLAIN, [run], tmp_path))}
    assert ("column:valid", "fluorescence_r2") not in rows
    rates, _ = of(run, source, "rates", "valid")
    counts = counts_of(run, source, "valid")
    null = poisson.logpmf(counts, counts.mean(axis=0)).sum()
    expected = (poisson.logpmf(counts, rates / 10).sum() - null) / counts.sum() / np.log(2)
    assert rows["column:valid", "bits_per_spike"].value == pytest.approx(expected, rel=1e-4)


def counts_of(run, source, part):
    prediction = xr.open_zarr(run / "prediction.zarr", consolidated=False)
    rows = as_text(prediction["part"].values) == part
    index = prediction["first"].values[rows][:, None] + np.arange(100)
    return Recording.open(source)["counts"].values[index].reshape(-1, 30).astype(float)


def test_variables_of_the_recording_stand_in_for_what_the_model_gives(source, tmp_path):
    run = make_run(tmp_path / "oasis-lfads", source, variable="counts", noise=0.5)
    config = LatentsConfig(features=("counts", "fluorescence=dff"), **QUICK)
    rows = {(s.split, s.metric): s for s in read_scores(evaluate(Latents(config), [run], tmp_path))}
    assert rows["column:valid", "spikes_r2"].value == pytest.approx(1)
    assert rows["column:valid", "spikes_r2"].features == "counts"
    assert rows["column:valid", "fluorescence_r2"].value == pytest.approx(1)
    assert rows["column:valid", "latents_r2"].value < 0.99


def test_a_bare_recording_is_scored_by_its_named_variables(source, tmp_path):
    config = LatentsConfig(features=("spikes=dff",), **QUICK)
    rows = {s.split: s for s in read_scores(evaluate(Latents(config), [source], tmp_path))}
    assert set(rows) == {"recorded:valid", "recorded:test"}
    assert 0.2 < rows["recorded:valid"].value < 0.9
    assert (rows["recorded:valid"].n, rows["recorded:valid"].model) == (12, "none")


def test_latents_without_training_windows_cannot_be_aligned(source, tmp_path):
    run = make_run(tmp_path / "run", source, parts=("valid", "test"))
    with pytest.raises(DataError, match="no latents of the training windows"):
        evaluate(PLAIN, [run], tmp_path)
    only = make_run(tmp_path / "train", source, parts=("train",))
    with pytest.raises(DataError, match="no prediction for held-out windows"):
        evaluate(PLAIN, [only], tmp_path)


def test_nothing_to_score_and_no_truth_are_errors(source, tmp_path):
    with pytest.raises(DataError, match="holds nothing to score"):
        evaluate(PLAIN, [source], tmp_path)
    bare = Recording.from_arrays(
        {"dff": np.zeros((40, 2), np.float32)},
        rate_hz=10,
        stimulus={"start": [0.0, 2.0], "stop": [1.0, 3.0], "part": np.array(["train", "valid"], object)},
    )
    with pytest.raises(DataError, match="no ground truth"):
        evaluate(PLAIN, [bare.save(tmp_path / "bare.zarr")], tmp_path)


def test_a_feature_needs_one_known_target():
    for features in (("latents=dff",), ("spikes", "counts")):
        with pytest.raises(ConfigError, match="cannot be scored"):
            LatentsConfig(features=features).recorded()


def test_scoring_twice_gives_the_same_bytes(run, tmp_path):
    first, second = (evaluate(PLAIN, [run], tmp_path / name).read_bytes() for name in ("a", "b"))
    assert first == second


def test_sessions_with_cells_of_their_own_are_scored_apart(source, tmp_path):
    other = simulated(tmp_path, seed=1, cells=12)
    runs = [make_run(tmp_path / f"run-{k}", path, seed=k) for k, path in enumerate((source, other))]
    joined = join_runs(runs, tmp_path / "joined")
    alone = read_scores(evaluate(PLAIN, runs, tmp_path / "alone"))
    together = read_scores(evaluate(PLAIN, [joined], tmp_path / "together"))
    assert {s.session for s in together} == {"lorenz-linear-0", "lorenz-linear-1"}
    expected = {(s.session, s.split, s.metric): (s.value, s.n) for s in alone}
    assert {(s.session, s.split, s.metric): (s.value, s.n) for s in together} == expected
