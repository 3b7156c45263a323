"""What a pipeline's jobs are refused for before any of them runs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from neurodyn.cli.jobs import check_jobs
from neurodyn.core.config import list_presets
from neurodyn.data.recording import Recording
from neurodyn.workflow.pipeline import load_pipeline, plan

WRONG = {
    "a model": (["train", "cts", "a.zarr"], {}, "Did you mean 'cst'?"),
    "a command": (["trian", "cst", "a.zarr"], {}, "Did you mean 'train'?"),
    "an option": (["decode", "a.zarr"], {"options": {"fold": 3}}, "No such option: --fold"),
    "a simulator": (["simulate", "lorentz"], {}, "Did you mean 'lorenz'?"),
    "a decoder": (["decode", "a.zarr"], {"set": {"decoder": "rigde"}}, "Did you mean 'ridge'?"),
    "a chain": (["preprocess", "a.zarr"], {"options": {"chain": "trases"}}, "Did you mean 'traces'?"),
    "a metric": (["evaluate", "a.zarr"], {"options": {"metric": "latent"}}, "Did you mean 'latents'?"),
    "a section": (["convert", "a.zarr", "product"], {"set": {"sourc": {"fs": 3}}}, "Did you mean 'source'?"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_typo_is_refused_before_snakemake_starts(case, tmp_path, neurodyn, monkeypatch):
    command, more, said = WRONG[case]
    pipeline = {"description": "x", "jobs": {"ok": {"command": ["simulate", "lorenz"], "out": "x.zarr"}}}
    pipeline["jobs"]["job"] = {"command": command, "out": "product"} | more
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "torch", None)  # nothing heavy is needed to see it
    outcome = neurodyn("run", "p.yaml", "-o", "out")
    assert outcome.code == 2, outcome.err
    assert "Job 'job'" in outcome.err and said in outcome.err, outcome.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", list_presets("pipeline"))
def test_packaged_pipelines_pass(name: str, tmp_path: Path) -> None:
    first, _ = load_pipeline(name)
    for scale in first.scales or {None: {}}:
        loaded, _ = load_pipeline(name, [f"scale={scale}"] if scale else [])
        check_jobs(plan(loaded, [tmp_path / "one", tmp_path / "two"]))


def session(folder: Path, name: str, trials: int) -> Path:
    """Write a movie with so many trials."""
    start = 2.0 + 5.0 * np.arange(trials)
    stimulus = {"start": start, "stop": start + 2, "contrast": np.resize([0.1, 0.5, 1.0], trials)}
    movie = np.random.default_rng(0).normal(0, 1, (50 * trials + 40, 4, 4)).astype(np.float32)
    return Recording.from_arrays({"dff": movie}, rate_hz=10, stimulus=stimulus).save(folder / f"{name}.zarr")


def test_too_few_trials_for_the_folds_are_seen_before_training(tmp_path, neurodyn):
    short, long = session(tmp_path, "short", 12), session(tmp_path, "long", 40)
    asked = (
        "-o",
        tmp_path / "out",
        "--dry-run",
        "-s",
        "matrices.runs=[{session: ['@inputs'], model: [pca], seed: [0]}]",
    )
    outcome = neurodyn("run", "many-sessions", short, long, *asked)
    assert outcome.code == 3, outcome
    assert "Would fail after the training: decode_short_pca_0." in outcome.err
    assert "too few trials for 5 folds" in outcome.err and "jobs.decode.set.folds=N" in outcome.err
    assert neurodyn("run", "many-sessions", long, *asked).code == 0
