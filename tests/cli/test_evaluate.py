"""`neurodyn evaluate`: simulated recordings through spikes to a table."""

import json

from neurodyn.data.scores import read_scores


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
