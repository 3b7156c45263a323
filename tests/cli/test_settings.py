"""Configuration layers of every command: file < environment < flag < --set, and nothing that is not read passes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

from neurodyn.cli.app import build
from neurodyn.data.recording import Recording


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return a folder with what commands are given: traces with stimuli, a movie, a table, a model's run."""
    folder = tmp_path_factory.mktemp("given")
    rng = np.random.default_rng(0)
    start = np.arange(2.0, 55.0, 5.0)
    stimulus = {"start": start, "stop": start + 2, "contrast": np.resize([0.1, 0.5, 1.0], start.size)}
    traces = rng.normal(100, 5, (600, 4)).astype(np.float32)
    signals = {"fluorescence": traces, "dff": traces / 100 - 1}
    Recording.from_arrays(signals, rate_hz=10, stimulus=stimulus).save(folder / "traces.zarr")
    np.save(folder / "movie.npy", rng.integers(100, 900, (60, 16, 16)).astype(np.uint16))
    (folder / "chain.yaml").write_text("steps: [{step: zscore}]\n")
    (folder / "pipeline.yaml").write_text(
        "description: x\nscale: a\nscales: {a: {}, b: {jobs: {data: {set: {seed: 5}}}}, c: {jobs: {data: {set: {seed: 6}}}}}\n"
        "jobs: {data: {command: [simulate, lorenz], out: a.zarr}}\n"
    )
    return folder


GIVEN = {
    "demo": [],
    "inspect": ["traces.zarr"],
    "convert": ["traces.zarr", "out.zarr"],
    "sample": [],
    "allen": ["--container", "1"],
    "dandi": ["000728", "--list"],
    "validate": ["traces.zarr"],
    "simulate": ["lorenz", "-o", "out.zarr"],
    "match": ["traces.zarr", "traces.zarr"],
    "preprocess": ["traces.zarr", "-o", "out.zarr", "--chain", "chain.yaml"],
    "extract": ["movie.npy", "--fs", "10", "-o", "out.zarr"],
    "view": ["traces.zarr"],
    "curate": ["traces.zarr", "cells.csv", "-o", "out.zarr"],
    "train": ["pca", "traces.zarr"],
    "train-spikes": ["traces.zarr", "-o", "w.safetensors"],
    "tune": ["pca", "traces.zarr"],
    "infer": ["run"],
    "impute": ["traces.zarr", "--model", "linear"],
    "respond": ["traces.zarr"],
    "denoise": ["traces.zarr", "--run", "run"],
    "decode": ["traces.zarr"],
    "evaluate": ["traces.zarr"],
    "compare": ["traces.zarr"],
    "report": ["traces.zarr"],
    "run": ["pipeline.yaml"],
    "status": ["run"],
    "list": ["models"],
    "show": ["model", "pca"],
    "doctor": [],
    "docs": ["-o", "docs"],
}


def words() -> dict[str, list[str]]:
    """Return what is typed for every command there is, by its last word."""
    app = build()
    found = {str(each.name): [str(each.name)] for each in app.registered_commands}
    for group in app.registered_groups:
        assert isinstance(group.typer_instance, typer.Typer)
        name = str(group.typer_instance.info.name)
        found |= {str(each.name): [name, str(each.name)] for each in group.typer_instance.registered_commands}
    return found


def test_every_command_is_tried_here() -> None:
    assert set(GIVEN) == set(words())


@pytest.mark.parametrize("name", GIVEN)
def test_an_unknown_section_is_refused_by_name(name, folder, neurodyn, monkeypatch):
    monkeypatch.chdir(folder)
    outcome = neurodyn(*words()[name], *GIVEN[name], "--dry-run", "--set", "nonsense.key=3")
    assert outcome.code == 2, outcome
    assert "nonsense" in outcome.err and len(outcome.err.strip().splitlines()) == 3, outcome.err
    assert outcome.out == ""


@pytest.mark.parametrize("name", [name for name in GIVEN if name != "extract"])
def test_an_unknown_section_of_a_file_is_refused_by_name(name, folder, neurodyn, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    (tmp_path / "lab.yaml").write_text("nonsense: {key: 3}\n")
    outcome = neurodyn(*words()[name], *GIVEN[name], "--dry-run", "--config", tmp_path / "lab.yaml")
    assert outcome.code == 2, outcome
    assert "nonsense" in outcome.err or "lab.yaml: " in outcome.err, outcome.err
    assert outcome.out == ""


LAYERS = {
    "respond": ("NEURODYN_RESPOND__SEED", "{}", ["--seed"], "seed", "seed: {}"),
    "decode": ("NEURODYN_DECODE__FOLDS", "{}", ["--folds"], "folds", "folds: {}"),
    "simulate": ("NEURODYN_SIMULATE__SEED", "{}", ["--seed"], "seed", "seed: {}"),
    "evaluate": ("NEURODYN_EVALUATE__FEATURES", "[x{}]", None, "features=[x{}]", '"x{}"'),
    "impute": ("NEURODYN_IMPUTE__LONGEST", "{}", None, "longest", '"longest": {}.0'),
    "preprocess": (
        "NEURODYN_PREPROCESS__ZSCORE__FIT_UNTIL",
        "0.{}",
        None,
        "zscore.fit_until=0.{}",
        '"fit_until": 0.{}',
    ),
    "run": ("NEURODYN_RUN__JOBS__DATA__SET__SEED", "{}", None, "jobs.data.set.seed", "--set seed={}"),
    "train": ("NEURODYN_TRAINING__EPOCHS", "{}", ["--epochs"], "training.epochs", "training.epochs = {} "),
    "inspect": ("NEURODYN_SOURCE__INDICATOR", "GCaMP{}f", None, "source.indicator=GCaMP{}f", "GCaMP{}f"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_environment_lies_over_the_file_and_under_flags_and_sets(name, folder, neurodyn, monkeypatch):
    monkeypatch.chdir(folder)
    variable, value, flag, key, shown = LAYERS[name]
    arguments = [
        name,
        *GIVEN[name],
        *([] if name in ("decode", "respond", "simulate", "train") else ["--json"]),
        "--dry-run",
    ]
    item = key if "=" in key else f"{key}={{}}"
    monkeypatch.setenv(variable, value.format(3))
    monkeypatch.setenv("NEURODYN_NWB__LOCATION", "meant for others")
    assert shown.format(3) in neurodyn(*arguments).out
    if flag:
        assert shown.format(4) in neurodyn(*arguments, *flag, 4).out
        assert shown.format(5) in neurodyn(*arguments, *flag, 4, "--set", item.format(5)).out
    assert shown.format(5) in neurodyn(*arguments, "--set", item.format(5)).out


def test_a_section_of_the_environment_that_no_command_has_is_refused(folder, neurodyn, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NEURODYN_DECODING__FOLDS", "3")
    outcome = neurodyn("decode", "traces.zarr", "--dry-run")
    assert outcome.code == 2
    assert "NEURODYN_DECODING__FOLDS: there is no section 'decoding'" in outcome.err
    assert "Did you mean 'decode'?" in outcome.err


def test_the_environment_reaches_what_is_written(folder, neurodyn, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NEURODYN_SOURCE__FS", "3")
    assert neurodyn("convert", "movie.npy", tmp_path / "a.zarr").code == 0
    assert Recording.open(tmp_path / "a.zarr").rate_hz == pytest.approx(3)
    monkeypatch.setenv("NEURODYN_DECODE__FOLDS", "3")
    monkeypatch.setenv("NEURODYN_DECODE__SHUFFLES", "0")
    made = neurodyn("decode", "traces.zarr", "--target", "contrast", "-o", tmp_path, "--set", "decoder=ridge")
    assert made.code == 0, made.err
    assert json.loads((tmp_path / "decode.json").read_text())["config"]["folds"] == 3


CANNOT = {
    "train latent-ode without torchdiffeq": (["train", "latent-ode", "traces.zarr"], 2, "torchdiffeq"),
    "train on a GPU that is not there": (["train", "pca", "traces.zarr", "--gpu", "7"], 2, "--gpu 7"),
    "train on nothing": (["train", "pca", "none.zarr"], 3, "none.zarr"),
    "tune on a GPU that is not there": (["tune", "cst-tiny", "traces.zarr", "--gpu", "7"], 2, "--gpu 7"),
    "infer by nothing": (["infer", "none"], 3, "none"),
    "impute by a model that needs training": (["impute", "traces.zarr", "--model", "cst-tiny"], 2, "without training"),
    "denoise by nothing": (["denoise", "traces.zarr", "--run", "none"], 3, "not a finished run"),
    "decode another target": (["decode", "traces.zarr", "--target", "contrst"], 3, "contrst"),
    "decode nothing": (["decode", "none.zarr"], 3, "none.zarr"),
    "evaluate nothing": (["evaluate", "none", "--metric", "latents"], 3, "none does not exist"),
    "compare nothing": (["compare", "none.csv"], 3, "none.csv"),
    "report on nothing": (["report", "none"], 3, "none"),
    "convert nothing": (["convert", "none.tif", "a.zarr"], 3, "none.tif"),
    "convert without a rate": (["convert", "movie.npy", "a.zarr"], 3, "--fs"),
    "preprocess what the chain does not fit": (
        ["preprocess", "traces.zarr", "--chain", "widefield", "-o", "a.zarr"], 3, "reference",
    ),
    "view nothing": (["view", "none.zarr"], 3, "none.zarr"),
    "curate by nothing": (["curate", "traces.zarr", "none.csv", "-o", "a.zarr"], 3, "none.csv"),
    "extract from traces": (["extract", "traces.zarr", "-o", "a.zarr"], 3, "not a movie"),
}  # fmt: skip


@pytest.mark.parametrize("case", CANNOT)
def test_a_dry_run_fails_where_the_run_cannot(case, folder, neurodyn, monkeypatch):
    monkeypatch.chdir(folder)
    arguments, code, said = CANNOT[case]
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    before = sorted(folder.rglob("*"))
    outcome = neurodyn(*arguments, "--dry-run")
    assert (outcome.code, outcome.out) == (code, ""), outcome
    assert said in outcome.err and "Traceback" not in outcome.err, outcome.err
    assert sorted(folder.rglob("*")) == before
