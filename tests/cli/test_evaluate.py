"""`neurodyn evaluate`: simulated recordings through spikes to a table."""

import json

from neurodyn.data.scores import read_scores
from tests.decode.runs import make_forecast, make_run, repeated_responses, simulated


def test_simulated_spikes_are_inferred_and_scored(neurodyn, tmp_path):
    small = ["--set", "cells=3", "--set", "repeats=2", "--set", "directions=2", "--set", "on=4", "--set", "off=8"]
    assert neurodyn("simulate", "two_photon", "-o", tmp_path / "cells.zarr", *small).code == 0
    made = neurodyn(
        "preprocess",
        tmp_path / "cells.zarr",
        "--chain",
        "two-photon",
        "--set",
        "dff.window=30",
        "-o",
        tmp_path / "made",
    )
    assert made.code == 0, made.err
    outcome = neurodyn("evaluate", tmp_path / "made", "-o", tmp_path / "scores", "--json")
    assert outcome.code == 0, outcome.err
    assert "r at 25 Hz" in outcome.err
    assert json.loads(outcome.out)
    rows = {(s.features, s.metric): s for s in read_scores(tmp_path / "scores" / "scores.csv") if s.fold == "all"}
    assert rows["spikes", "r at 7.5 Hz, 200 ms"].value > 0.5
    assert rows["spikes", "r at 25 Hz"].value > rows["dff", "r at 25 Hz"].value


def test_nothing_to_score_is_bad_input(neurodyn, tmp_path):
    outcome = neurodyn("evaluate", tmp_path)
    assert outcome.code == 3
    assert "holds no recording" in outcome.err


def test_an_unknown_metric_is_a_usage_error(neurodyn, tmp_path):
    assert neurodyn("evaluate", tmp_path, "--metric", "spices").code == 2


def test_evaluations_are_listed_and_shown(neurodyn):
    listed = neurodyn("list", "evaluations")
    assert listed.code == 0 and "rois " in listed.out
    shown = neurodyn("show", "evaluation", "rois")
    assert shown.code == 0 and "regions" in shown.out
    assert neurodyn("show", "evaluation", "roi").code == 2


def test_regions_are_asked_for_and_refused_where_they_say_nothing(neurodyn, tmp_path):
    source = simulated(tmp_path)
    missing = neurodyn("evaluate", source, "--metric", "rois", "--dry-run")
    assert (missing.code, "--regions" in missing.err) == (2, True)
    planned = neurodyn("evaluate", source, "--metric", "rois", "--set", f"regions={source}", "--dry-run")
    assert planned.code == 0 and "roi-scores" in planned.out
    other = neurodyn("evaluate", source, "--metric", "latents", "--regions", source, "--dry-run")
    assert (other.code, "regions" in other.err) == (2, True)


def test_runs_are_scored_against_latent_truth(neurodyn, tmp_path):
    source = simulated(tmp_path)
    for seed in (0, 1):
        make_run(tmp_path / "runs" / f"seed-{seed}", source, seed=seed)
    options = ["--metric", "latents", "--set", "bootstraps=100", "-o", tmp_path / "scores"]
    outcome = neurodyn("evaluate", tmp_path / "runs", *options)
    assert outcome.code == 0, outcome.err
    assert outcome.out.strip().endswith("scores.csv")
    assert "latents_r2_dim3" in outcome.err
    rows = read_scores(tmp_path / "scores" / "scores.csv")
    assert {row.seed for row in rows} == {0, 1}
    page = neurodyn("report", tmp_path / "scores", "--published", "calfads-table1", "-o", tmp_path / "report.html")
    assert page.code == 0, page.err
    assert "0.965 ± 0.001" in (tmp_path / "report.html").read_text(encoding="utf-8")
    unknown = neurodyn("report", tmp_path / "scores", "--published", "calfads-tabel1")
    assert unknown.code == 2
    assert "calfads-table1" in unknown.err
    plan = neurodyn("evaluate", tmp_path / "runs", *options, "--dry-run")
    assert (plan.code, "seed-1" in plan.out + plan.err) == (0, True)


def test_rotations_of_a_bare_recording(neurodyn, tmp_path):
    source = simulated(tmp_path, "rotations", cells=10)
    options = ["--features", "dff", "-o", tmp_path / "scores"]
    outcome = neurodyn("evaluate", source, "--metric", "rotations", *options)
    assert outcome.code == 0, outcome.err
    assert "true rates" in outcome.err
    assert neurodyn("evaluate", tmp_path / "absent", "--metric", "rotations").code == 3


def test_forecasts_are_scored_beside_their_references(neurodyn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_forecast(tmp_path / "runs" / "half", [repeated_responses(tmp_path)], lambda came: 0.5 * came)
    outcome = neurodyn("evaluate", tmp_path / "runs", "--metric", "forecast", "--set", "bootstraps=100")
    assert outcome.code == 0, outcome.err
    assert "PSTH (reference)" in outcome.err
    assert "noise_ceiling" in outcome.err
    assert "nan" not in outcome.err
    rows = read_scores(tmp_path / "forecast-scores" / "scores.csv")
    assert next(row for row in rows if row.metric == "correlation").value > 0.999
    unknown = neurodyn("evaluate", tmp_path / "runs", "--metric", "forecast", "--set", "bootstrap=100")
    assert (unknown.code, "bootstraps" in unknown.err) == (2, True)
