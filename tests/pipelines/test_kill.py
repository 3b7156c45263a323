"""Kill -9 at random moments; the same command then finishes with the artefacts of an undisturbed run."""

import random
from pathlib import Path

import pytest

from .killing import command, fingerprint, finish, fresh, kill_after

MOMENTS = 20

PIPELINE = """
description: tiny chain to be killed
jobs:
  recording: {command: [simulate, widefield], set: {trials: 24, height: 16, width: 16}, out: recording.zarr}
  preprocessed: {command: [preprocess, "@recording"], options: {chain: widefield}, out: preprocessed.zarr}
  cst: {command: [train, cst-tiny, "@preprocessed"], options: {gpu: none, epochs: 3}, out: runs/cst}
  prediction: {command: [infer, "@cst"], options: {gpu: none}}
  contrast: {command: [decode, "@prediction"], options: {target: contrast, shuffles: 20}}
"""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    finish(
        command("simulate", "widefield", "-o", "raw.zarr", "-s", "trials=60", "-s", "height=64", "-s", "width=64"),
        folder,
    )
    finish(
        command("simulate", "widefield", "-o", "small.zarr", "-s", "trials=24", "-s", "height=16", "-s", "width=16"),
        folder,
    )
    finish(command("preprocess", "small.zarr", "--chain", "widefield", "-o", "clean.zarr"), folder)
    (folder / "tiny.yaml").write_text(PIPELINE)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("verb", ["preprocess", "train", "run"])
def test_killed_work_is_finished_by_the_same_command(verb: str, recordings: Path, tmp_path: Path) -> None:
    arguments = {
        "preprocess": command("preprocess", recordings / "raw.zarr", "--chain", "widefield", "-o", "out/clean.zarr"),
        "train": command("train", "cst-tiny", recordings / "clean.zarr", "-o", "out", "--gpu", "none", "--epochs", 6),
        "run": command("run", recordings / "tiny.yaml", "-o", "out"),
    }[verb]
    folder = fresh(tmp_path / "work")  # always one path: run folders record where their recordings lie
    seconds = finish(arguments, folder)
    expected = fingerprint(folder / "out")
    assert expected
    rng, killed = random.Random(0), 0
    for moment in range(MOMENTS):
        fresh(folder)
        killed += kill_after(arguments, folder, rng.uniform(0.05, 0.98) * seconds)
        finish(arguments, folder)
        assert fingerprint(folder / "out") == expected, f"moment {moment}"
        leftovers = [p for p in folder.rglob(".*") if ".partial-" in p.name or p.name.endswith(".lock")]
        assert not leftovers, leftovers
    assert killed >= MOMENTS // 2
