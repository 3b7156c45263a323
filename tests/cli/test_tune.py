"""`neurodyn tune`: the product on stdout, what was gained on stderr, refusals with their codes."""

import json
from pathlib import Path

import numpy as np
import pytest

from neurodyn.backends import BACKENDS
from neurodyn.data.recording import Recording

PRESET = """
description: A toy to tune
backend: tunable
windows: {duration: 0.8}
training: {epochs: 2, steps_per_epoch: 1, batch: 4, warmup: 0, schedule: constant, weight_decay: 0.0, ema: null}
"""


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.setitem(BACKENDS._table, "tunable", "tests.training.toy:Tunable")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.yaml").write_text(PRESET)
    data = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    Recording.from_arrays({"dff": data}, rate_hz=10, session="noise").save(tmp_path / "noise.zarr")
    return tmp_path


def test_tuning_prints_the_preset_it_found_and_says_what_was_gained(neurodyn, place):
    args = ("tune", "toy.yaml", "noise.zarr", "--gpu", "none", "--trials", 4)
    done = neurodyn(*args)
    assert (done.code, done.out) == (0, "tuning/toy-noise/best.yaml\n")
    assert "trial 3: " in done.err
    assert "(100%)" in done.err
    assert "below trial 0, the configuration given." in done.err
    (facts,) = [json.loads(line) for line in neurodyn(*args, "--json", "-q").out.splitlines()]
    assert facts["path"] == "tuning/toy-noise/best.yaml"
    assert facts["trials"] == 4
    assert facts["value"] < facts["start_value"]
    assert set(facts["parameters"]) == {"model.level", "model.shape", "training.lr"}
    other = neurodyn(*args, "--epochs", 1)
    assert other.code == 2
    assert "config.training.epochs" in other.err
    assert "--existing overwrite" in other.err
    kept = neurodyn(*args, "--epochs", 1, "--existing", "skip")
    assert (kept.code, kept.out) == (0, "tuning/toy-noise/best.yaml\n")
    trained = neurodyn("train", done.out.strip(), "noise.zarr", "--gpu", "none", "-o", "run")
    assert (trained.code, trained.out) == (0, "run\n")


def test_a_dry_run_shows_the_space_and_makes_nothing(neurodyn, place):
    done = neurodyn(
        "tune", "toy.yaml", "noise.zarr", "-n", "-s", "training.lr=0.1", "-s", "tune.space.model.size=[null, 3]"
    )
    assert done.code == 0
    assert "noise.zarr -> tuning/toy-noise" in done.out
    assert "model.level  0 to 1  (from 0.9)" in done.out
    assert "model.size   None | 3  (from None)" in done.out
    assert "training.lr" not in done.out
    assert not (place / "tuning").exists()
    told = json.loads(neurodyn("tune", "toy.yaml", "noise.zarr", "-n", "--json").out)
    assert told["space"]["model.level"] == {"low": 0.0, "high": 1.0, "log": False}
    assert told["space"]["model.shape"] == [[1, 1], [2, 2]]


def test_what_cannot_be_tuned_is_refused(neurodyn, place):
    naive = neurodyn("tune", "persistence", "noise.zarr")
    assert naive.code == 2
    assert "persistence has nothing to tune" in naive.err
    assert neurodyn("tune", "toy.yaml", "nothing.zarr").code == 3
    assert neurodyn("tune", "toy.yaml", "noise.zarr", "--trials", 0).code == 2


def test_show_prints_where_a_parameter_is_searched(neurodyn):
    lines = neurodyn("show", "model", "lfads").out.splitlines()
    (rate,) = [line for line in lines if line.startswith("training.lr ")]
    assert rate.endswith("[tuned: 0.0001 to 0.02, logarithmic]")
    assert not any("tuned" in line for line in lines if line.startswith("windows."))
