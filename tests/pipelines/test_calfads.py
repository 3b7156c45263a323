"""The pipelines of CaLFADS' paper from end to end, on a few trials and epochs: every figure has its place."""

import subprocess
import sys
from pathlib import Path

import pytest

from neurodyn.data.scores import read_scores

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

TRIALS = {
    "conditions": 4,
    "repeats": 4,
    "train_repeats": 3,
    "held_out": 4,
    "held_out_repeats": 1,
    "bins": 30,
    "cells": 6,
}
MODELS = ("calfads", "oasis_lfads", "gaussian_lfads", "lfads")


def run(name: str, out: Path, sets: list[str]) -> Path:
    flags = [word for item in sets for word in ("-s", item)]
    command = [sys.executable, "-m", "neurodyn", "run", name, "-o", str(out), "-j", "2", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=out.parent)
    assert done.returncode == 0, done.stderr
    return out


def small(models: tuple[str, ...], duration: float) -> list[str]:
    sets = [f"jobs.recording.set.{key}={value}" for key, value in TRIALS.items()]
    for model in models:
        sets += [f"jobs.{model}.set.windows.duration={duration}", f"jobs.{model}.set.training.epochs=2"]
        sets += [f"jobs.{model}.set.training.batch=4", f"jobs.{model}.set.model.samples=2"]
    return sets


def test_table_1_stands_beside_the_published_figures(tmp_path: Path) -> None:
    cells = [
        "matrices.all=[{calcium: [linear], dye: [linear], gain: ['null'], seed: [3]}, "
        "{calcium: [hill], dye: [hill], gain: [1.0], seed: [3]}]",
        "matrices.mismatched=[{calcium: [hill], seed: [3]}]",
        "matrices.spikes=[{calcium: [linear], seed: [3]}]",
    ]
    out = run("paper-calfads-table1", tmp_path / "out", [*cells, *small((*MODELS, "mismatched"), 3.0)])
    rows = [*read_scores(out / "scores" / "scores.csv"), *read_scores(out / "oasis-scores" / "scores.csv")]
    assert {row.model for row in rows} == {"calfads", "calfads-linear-dye", "oasis-lfads", "gaussian-lfads", "lfads"}
    assert {row.seed for row in rows} == {3}
    assert {row.session for row in rows} == {"lorenz-linear-3", "lorenz-hill-3"}
    assert {row.split for row in rows} == {"column:valid", "column:test"}
    measured = {(row.model, row.metric) for row in rows}
    for model in ("calfads", "oasis-lfads"):
        assert {(model, f"{what}_r2") for what in ("latents", "spikes", "rates", "fluorescence")} <= measured
    page = (out / "report.html").read_text(encoding="utf-8")
    for published in ("0.965 ± 0.001", "0.902 ± 0.006", "0.960 ± 0.001", "0.975 ± 0.001"):
        assert published in page


def test_rotations_of_models_stand_beside_the_true_ones(tmp_path: Path) -> None:
    sets = [item for item in small((*MODELS, "pca"), 0.3) if "pca.set.model" not in item]
    out = run("paper-calfads-rotation", tmp_path / "out", ["matrices.seeds=[{seed: [1]}]", *sets])
    rows = read_scores(out / "scores" / "scores.csv")
    assert {row.model for row in rows} == {"calfads", "oasis-lfads", "gaussian-lfads", "lfads", "pca"}
    assert {"rates", "latents", "true rates"} <= {row.features for row in rows}
    assert (out / "report.html").is_file()
