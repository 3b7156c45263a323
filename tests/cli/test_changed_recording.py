"""A recording that was overwritten since a run was trained on it: every command refuses, in the same words."""

import shutil

import numpy as np

from neurodyn.data.recording import Recording
from tests.report.fake_run import traces

BRIEFLY = ("--gpu", "none", "--epochs", 1, "--set", "training={steps_per_epoch: 2, warmup: 1}")


def test_no_command_pairs_a_run_with_what_its_recording_became(neurodyn, tmp_path):
    recording = traces(trials=20)
    path = recording.save(tmp_path / "mouse.zarr")
    run = tmp_path / "run"
    assert neurodyn("train", "pca", path, *BRIEFLY, "-o", run).code == 0
    assert neurodyn("infer", run, "--gpu", "none").code == 0
    moved = shutil.move(path, tmp_path / "kept.zarr")
    table = {str(name): column.values for name, column in recording.stimulus.data_vars.items()}
    table["contrast"] = np.roll(table["contrast"], 1)
    Recording.from_arrays(
        {"dff": recording["dff"].values}, rate_hz=10.0, session=recording.session, stimulus=table
    ).save(path)
    for command in (
        ("infer", run, "--gpu", "none"),
        ("decode", run, "--target", "contrast", "--shuffles", 0),
        ("evaluate", run, "--metric", "latents"),
        ("report", run, "-o", tmp_path / "report.html"),
    ):
        done = neurodyn(*command)
        assert done.code == 3, done.err
        assert "has changed since run was trained on it." in " ".join(done.err.split())
    assert not (run / "scores.csv").exists()
    assert not (tmp_path / "report.html").exists()
    shutil.rmtree(path)
    shutil.move(moved, path)
    done = neurodyn("decode", run, "--target", "contrast", "--shuffles", 0)
    assert done.code == 0, done.err


def test_nor_what_became_of_another_recording_that_was_predicted(neurodyn, tmp_path):
    path, other = traces(trials=20).save(tmp_path / "mouse.zarr"), traces(trials=20, seed=1)
    there = other.save(tmp_path / "other.zarr")
    run = tmp_path / "run"
    assert neurodyn("train", "pca", path, *BRIEFLY, "-o", run).code == 0
    assert neurodyn("infer", run, there, "--gpu", "none").code == 0
    shutil.rmtree(there)
    traces(trials=20, seed=2).save(there)
    for command in (("decode", run, "--target", "contrast"), ("report", run, "-o", tmp_path / "report.html")):
        done = neurodyn(*command)
        assert done.code == 3, done.err
        assert "has changed since run predicted it." in " ".join(done.err.split())
