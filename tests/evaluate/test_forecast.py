"""Scores of forecasts against known ones, on repeated responses that the mean of the training trials predicts best."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording
from neurodyn.data.scores import read_scores
from neurodyn.data.store import as_text
from neurodyn.data.window_config import WindowConfig
from neurodyn.data.windows import Windows
from neurodyn.evaluate.forecast import CEILING, ENSEMBLE, Forecast, ForecastConfig
from neurodyn.evaluate.held import LAST_VALUE, PSTH
from neurodyn.evaluate.run import evaluate
from neurodyn.metrics.intervals import bootstrap_interval
from neurodyn.report.compare import compare
from neurodyn.report.page import report
from neurodyn.training.config import load_run_config
from neurodyn.training.fit import fit
from neurodyn.training.infer import infer
from tests.decode.runs import FORECAST_WINDOWS, NOISE, make_forecast, repeated_responses

HORIZON, RATE, CELLS, TRIALS = 10, 5.0, 6, 64
QUICK = ForecastConfig(bootstraps=100)
OF_NEURONS = {"correlation", "absolute_correlation", "mse", "mae", "smape", "mase", "ssim", "psnr", "skill"}
CURVES = {"mse_by_horizon", "correlation_by_horizon"}


def trained(name: str, sources: list[Path], out: Path, *more: str, **settings) -> Path:
    """Train and infer a preset."""
    values = FORECAST_WINDOWS | settings
    sets = [f"windows.{key}={json.dumps(value)}" for key, value in values.items() if value is not None]
    run = fit(load_run_config(name, None, [*sets, *more])[0], None, sources, out, gpu="none")
    infer(run, gpu="none")
    return run


def scored(paths, out):
    return read_scores(evaluate(Forecast(QUICK), paths, out))


def table(scores):
    return {(s.model, s.metric, s.fold): s for s in scores}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return repeated_responses(tmp_path_factory.mktemp("recording"))


@pytest.fixture(scope="module")
def runs(source, tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    more = {"nlinear": ["training.epochs=2", "training.warmup=0"]}
    names = ("psth", "source-mean", "persistence", "ridge-ar", "nlinear")
    return [trained(name, [source], folder / name, *more.get(name, [])) for name in names]


@pytest.fixture(scope="module")
def folder(runs, tmp_path_factory) -> Path:
    return evaluate(Forecast(QUICK), runs, tmp_path_factory.mktemp("scores")).parent


@pytest.fixture(scope="module")
def found(folder):
    return table(read_scores(folder / "scores.csv"))


@pytest.fixture(scope="module")
def prediction(runs):
    return xr.open_zarr(runs[0] / "prediction.zarr", consolidated=False).load()


def test_the_psth_is_the_mean_of_the_runs_own_training_trials(found, source, prediction):
    """Computed here trial by trial, from the recording and the column of directions alone."""
    made = Recording.open(source)
    split = Windows.cut([made], WindowConfig.model_validate(FORECAST_WINDOWS)).split()
    direction = made.stimulus["direction"].values
    courses = {key: made["dff"].values[windows.first[:, None] + np.arange(15)] for key, windows in split.items()}
    means = {
        angle: courses["train"][direction[split["train"].trial] == angle].mean(0, dtype=float)[-HORIZON:]
        for angle in np.unique(direction)
    }
    psth = np.stack([means[angle] for angle in direction[split["test"].trial]])
    expected = ((courses["test"][:, -HORIZON:] - psth) ** 2).mean((0, 1))
    for k in range(CELLS):
        assert found[PSTH, "mse", f"roi {k}"].value == pytest.approx(expected[k], rel=1e-6)
        assert found["psth", "mse", f"roi {k}"].value == pytest.approx(expected[k], rel=1e-4)
    assert expected.mean() == pytest.approx(NOISE**2, rel=0.15)


def test_the_psths_skill_against_itself_is_exactly_zero(found):
    values = [score.value for (model, metric, _), score in found.items() if (model, metric) == (PSTH, "skill")]
    assert values == [0.0] * (CELLS + 1)
    assert found["psth", "skill", "all"].value == pytest.approx(0, abs=1e-6)


def test_nothing_beats_the_psth_where_trials_differ_by_noise_alone(found):
    for model in ("source-mean", "persistence", "nlinear", "ridge-ar", LAST_VALUE):
        assert found[model, "skill", "all"].ci_high < 0
    assert found["psth", "correlation", "all"].value == pytest.approx(
        found[CEILING, "noise_ceiling", "all"].value, abs=0.03
    )


def test_the_last_value_is_the_persistence_model(found):
    for metric in OF_NEURONS - {"correlation", "absolute_correlation"}:
        given, reference = (found[model, metric, "all"].value for model in ("persistence", LAST_VALUE))
        assert given == pytest.approx(reference, rel=1e-5)
    assert found[LAST_VALUE, "mase", "all"].value == 1.0


def test_every_window_and_every_neuron_is_counted(found, prediction):
    windows = int((as_text(prediction["part"].values) == "test").sum())
    assert windows > 16
    for model in ("psth", "nlinear", PSTH, LAST_VALUE):
        for metric in ("mse", "skill"):
            assert {(found[model, metric, f"roi {k}"].n) for k in range(CELLS)} == {windows}
            assert found[model, metric, "all"].n == CELLS
            assert found[model, metric, "all"].unit == "neurons"
    assert found[CEILING, "noise_ceiling", "roi 0"].n == TRIALS


def test_the_number_of_rows(found, runs):
    held = {"source-mean", "persistence", LAST_VALUE}
    models = {model for model, _, _ in found} - {CEILING}
    assert models == {run.name for run in runs} | {PSTH, LAST_VALUE}
    for model in models:
        of = {
            metric: [fold for m, name, fold in found if (m, name) == (model, metric)] for metric in OF_NEURONS | CURVES
        }
        for metric in OF_NEURONS:
            constant = model in held and metric.endswith("correlation")
            assert len(of[metric]) == (1 if constant else 1 + CELLS), (model, metric)
        assert [len(of[metric]) for metric in CURVES] == [HORIZON, HORIZON]
        assert of["mse_by_horizon"] == [f"{(k + 1) / RATE:.3f} s" for k in range(HORIZON)]
    assert sum(model == CEILING for model, _, _ in found) == 1 + CELLS


def test_constant_forecasts_have_no_correlation_and_say_how_many(found, prediction):
    row = found["persistence", "correlation", "all"]
    traces = prediction.sizes["window"] * CELLS
    assert np.isnan(row.value)
    assert (row.n, row.note) == (0, f"{traces} of {traces} traces left out: constant")
    assert found["psth", "correlation", "all"].note == ""


def test_intervals_are_the_bootstrap_over_neurons(found):
    values = np.array([found["ridge-ar", "mse", f"roi {k}"].value for k in range(CELLS)])
    row = found["ridge-ar", "mse", "all"]
    assert row.value == pytest.approx(values.mean())
    low, high = bootstrap_interval(lambda index: float(values[index].mean()), CELLS, resamples=100, seed=0)
    assert (row.ci_low, row.ci_high) == (pytest.approx(low), pytest.approx(high))


def test_blocks_of_neurons_and_chunks_of_windows_change_nothing(runs, found, tmp_path, monkeypatch):
    monkeypatch.setattr("neurodyn.evaluate.forecast.BLOCK_ENTRIES", 1)
    monkeypatch.setattr("neurodyn.evaluate.held.CHUNK_WINDOWS", 7)
    for key, score in table(scored(runs[3:4], tmp_path)).items():
        assert score.value == pytest.approx(found[key].value, nan_ok=True), key


def test_curves_average_to_the_error(found):
    curve = [
        score.value for (model, metric, _), score in found.items() if (model, metric) == ("nlinear", "mse_by_horizon")
    ]
    assert np.mean(curve) == pytest.approx(found["nlinear", "mse", "all"].value)


def test_tables_can_be_compared_and_reported(folder, tmp_path):
    compare([folder], tmp_path / "out", against=PSTH)
    with (tmp_path / "out" / "comparison.csv").open(newline="") as handle:
        rows = {(row["metric"], row["model"]): row for row in csv.DictReader(handle)}
    assert {metric for metric, _ in rows} == OF_NEURONS
    for metric in ("mse", "mae", "smape", "mase", "ssim", "psnr", "skill"):
        row = rows[metric, "nlinear"]
        assert (row["units"], row["share_better"]) == (str(CELLS), "0.0"), metric
    assert ("correlation", LAST_VALUE) not in rows
    page = report([folder], tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Forecasts of mouse, test, against time ahead" in page
    assert "noise ceiling" in page
    assert "traces left out: constant" in page


def test_seeds_share_one_line_and_references_are_scored_once(source, tmp_path):
    forecasts = [
        make_forecast(tmp_path / f"{k}", [source], lambda y, k=k: (0.5 + 0.2 * k) * y, seed=k) for k in range(2)
    ]
    scores = scored(forecasts, tmp_path / "scores")
    found = [s for s in scores if (s.metric, s.fold) == ("mse", "all")]
    assert [(s.model, s.seed) for s in found] == [("oracle", 0), (LAST_VALUE, 0), (PSTH, 0), ("oracle", 1)]
    page = report([tmp_path / "scores"], tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"{np.mean([found[0].value, found[3].value]):.3f}"[:4] in page


def test_entries_without_data_do_not_count(source, tmp_path):
    made = Recording.open(source)
    values = made["dff"].values.copy()
    values[200:230, 2] = np.nan
    gappy = Recording.from_arrays(
        {"dff": values}, rate_hz=RATE, session="mouse",
        stimulus={name: made.stimulus[name].values for name in ("start", "stop", "direction")},
    ).save(tmp_path / "gappy.zarr")  # fmt: skip
    settings = {"split": "random", "fractions": (0.1, 0.0, 0.9)}
    found = table(scored([make_forecast(tmp_path / "run", [gappy], np.nan_to_num, **settings)], tmp_path / "scores"))
    assert found["oracle", "mse", "roi 2"].value == 0
    assert found["oracle", "mse", "roi 2"].n < found["oracle", "mse", "roi 1"].n
    assert np.isfinite(found[PSTH, "mse", "all"].value)


def test_one_cell_and_perfect_forecasts(tmp_path):
    lone = repeated_responses(tmp_path, cells=1)
    found = table(scored([make_forecast(tmp_path / "run", [lone], lambda y: y)], tmp_path / "scores"))
    assert found["oracle", "skill", "all"].value == 1
    assert np.isnan(found["oracle", "skill", "all"].ci_low)
    assert np.isnan(found["oracle", "psnr", "all"].value)
    assert ("oracle", "psnr", "roi 0") not in found


def test_without_stimuli_the_psth_is_the_mean_of_all_and_there_is_no_ceiling(source, tmp_path):
    run = trained("psth", [source], tmp_path / "run", stimuli=None)
    found = table(scored([run], tmp_path / "scores"))
    assert found["psth", "skill", "all"].value == pytest.approx(0, abs=1e-6)
    assert np.isnan(found[PSTH, "correlation_by_horizon", "0.200 s"].value), "the same in every window"
    assert CEILING not in {model for model, _, _ in found}


def test_sessions_with_cells_of_their_own_have_psths_of_their_own(tmp_path):
    days = [
        repeated_responses(tmp_path, name, cells, seed)
        for seed, (name, cells) in enumerate({"monday": 6, "friday": 3}.items())
    ]
    both = make_forecast(tmp_path / "both", days, lambda y: 0.9 * y, split="random")
    scores = scored([both], tmp_path / "scores")
    count = {
        session: sum(s.session == session and s.metric == "mse" and s.model == PSTH for s in scores)
        for session in ("monday", "friday")
    }
    assert count == {"monday": 7, "friday": 4}
    values = [s.value for s in scores if (s.model, s.metric) == (PSTH, "mse")]
    np.testing.assert_allclose(values, NOISE**2, rtol=0.4)


def test_a_horizon_given_to_infer_is_scored(source, tmp_path):
    run = trained("persistence", [source], tmp_path / "run", horizon=None)
    with pytest.raises(DataError, match="has no forecasts"):
        evaluate(Forecast(QUICK), [run], tmp_path / "scores")
    infer(run, gpu="none", horizon=2.0)
    found = table(scored([run], tmp_path / "scores"))
    assert found["persistence", "mse", "all"].value == pytest.approx(found[LAST_VALUE, "mse", "all"].value)
    assert found[PSTH, "mse", "all"].value == pytest.approx(NOISE**2, rel=0.15)


def test_other_recordings_have_no_psth(runs, tmp_path):
    other = repeated_responses(tmp_path, "another", seed=5)
    run = trained("psth", [other], tmp_path / "run")
    infer(run, [repeated_responses(tmp_path, "third", seed=6)], gpu="none")
    scores = scored([run], tmp_path / "scores")
    assert {s.split for s in scores} == {"trial:all"}
    assert {s.model for s in scores} == {"psth", LAST_VALUE, CEILING}
    assert "skill" not in {s.metric for s in scores}
    assert next(s for s in scores if s.metric == "mse" and s.fold == "roi 0").n == TRIALS


def test_what_cannot_be_scored_is_named(source, tmp_path):
    with pytest.raises(DataError, match="has no forecasts"):
        evaluate(Forecast(QUICK), [source], tmp_path / "scores")  # a recording
    long, short = (make_forecast(tmp_path / f"{s}", [source], lambda y: y, horizon=s) for s in (2.0, 1.0))
    with pytest.raises(ConfigError, match="Found 1, 2 s"):
        evaluate(Forecast(QUICK), [long, short], tmp_path / "scores")
    broken = make_forecast(tmp_path / "broken", [source], lambda y: np.where(y > 0, np.inf, y))
    with pytest.raises(DataError, match="no number"):
        evaluate(Forecast(QUICK), [broken], tmp_path / "scores")
    assert not (tmp_path / "scores").exists()


def test_an_ensemble_is_the_best_mean_of_validation_windows(runs, source, tmp_path):
    some = [run for run in runs if run.name in ("psth", "nlinear")]
    with pytest.raises(DataError, match="no forecasts of the part valid"):
        evaluate(Forecast(QUICK.model_copy(update={"ensemble": True})), some, tmp_path / "none")
    for run in some:
        shutil.copytree(run, tmp_path / run.name)
    both = [tmp_path / run.name for run in some]
    for run in both:
        infer(run, parts=("valid", "test"), gpu="none")
    given = [xr.open_zarr(run / "prediction.zarr", consolidated=False).load() for run in both]
    rows = as_text(given[0]["part"].values) == "valid"
    came, *said = (x.values[..., -HORIZON:, :] for x in (given[0]["observed"], *(one["mean"] for one in given)))
    spread = came[rows].std((0, 1))
    left = [((one - came) / spread)[rows] for one in said]
    gap = left[0] - left[1]
    best = float(np.clip(-(gap * left[1]).sum() / (gap**2).sum(), 0, 1))
    found = read_scores(evaluate(Forecast(QUICK.model_copy(update={"ensemble": True})), both, tmp_path / "scores"))
    mine = next(s for s in found if s.model == ENSEMBLE and s.metric == "mse" and s.fold == "all")
    assert f"{best:.2f} {both[0].name} 0" in mine.note
    test = as_text(given[0]["part"].values) == "test"
    expected = ((best * said[0] + (1 - best) * said[1] - came)[test] ** 2).mean((0, 1)).mean()
    assert mine.value == pytest.approx(expected, rel=1e-4)
    fewer = trained("source-mean", [source], tmp_path / "fewer", fractions=[0.5, 0.25, 0.25])
    infer(fewer, parts=("valid", "test"), gpu="none")
    with pytest.raises(DataError, match="do not forecast the same windows"):
        evaluate(Forecast(QUICK.model_copy(update={"ensemble": True})), [both[0], fewer], tmp_path / "other")
