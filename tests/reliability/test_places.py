"""Where and when: folders with any name, any locale, any time zone, and a clock that jumps back."""

import datetime
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from neurodyn.core import files, provenance
from neurodyn.data.recording import Recording

PLACE = "Mäuse & 実験 <b> 'n' $HOME"


def test_the_whole_chain_in_a_folder_with_a_difficult_name(neurodyn, tmp_path, monkeypatch):
    place = tmp_path / PLACE
    place.mkdir()
    monkeypatch.chdir(place)
    movie, clean, run = "zwei Photonen.zarr", "rein & klar.zarr", "läufe/pca 1"
    chain = [
        ["simulate", "two_photon", "-o", movie, "--set", "repeats=3", "--set", "cells=6"],
        ["preprocess", movie, "-o", clean, "--chain", "traces", "--set", "dff.window=5"],
        ["train", "pca", clean, "-o", run, "--gpu", "none", "--set", "windows.duration=1"],
        ["infer", run, "--gpu", "none"],
        ["decode", run, "--target", "direction", "--shuffles", "2"],
        ["report", run, "-o", "bericht ü.html"],
        ["validate", clean],
    ]
    for command in chain:
        outcome = neurodyn(*command)
        assert outcome.code == 0, (command, outcome.err)
    assert "<b>" not in (place / "bericht ü.html").read_text(encoding="utf-8").split("<body")[1]
    assert neurodyn(*chain[2]).err.split()[-4:] == ["is", "up", "to", "date."]


CODE = """
import sys
from neurodyn.cli.app import main
main()
"""


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "TZ": "Asia/Kathmandu", "PYTHONIOENCODING": "ascii"},
        pytest.param({"LC_ALL": "de_DE.UTF-8", "TZ": "Pacific/Chatham"}, marks=pytest.mark.slow),
        pytest.param(
            {"LC_ALL": "tr_TR.UTF-8", "TZ": "Nowhere/Atall", "PYTHONIOENCODING": "ascii"}, marks=pytest.mark.slow
        ),
    ],
    ids=["C", "de", "tr"],
)
def test_numbers_and_names_do_not_depend_on_locale_or_time_zone(environment, tmp_path):
    table = tmp_path / "größe.csv"
    table.write_text("start,contrast\n1.5,0.25\n2.5,0.5\n", encoding="utf-8")
    np.save(tmp_path / "größe.npy", np.arange(240.0).reshape(60, 4))
    sets = ["--set", "source.stimulus.duration=0.5", "--set", "source.units.fluorescence=µm"]
    command = ["convert", "größe.npy", "größe.zarr", "--fs", "12.5", "--stimulus", "größe.csv", *sets]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *command], cwd=tmp_path, env=os.environ | environment, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    made = Recording.open(tmp_path / "größe.zarr")
    assert made.rate_hz == 12.5 and made["fluorescence"].attrs["units"] == "µm"
    assert made.stimulus["start"].values.tolist() == [1.5, 2.5]
    assert made.stimulus["contrast"].values.tolist() == [0.25, 0.5]


def test_a_locale_with_decimal_commas_set_by_another_library(neurodyn, tmp_path):
    import locale

    np.save(tmp_path / "a.npy", np.arange(240.0).reshape(60, 4))
    original = locale.setlocale(locale.LC_ALL)
    for name in ("de_DE.UTF-8", "fr_FR.UTF-8", "C.UTF-8"):
        try:
            before = locale.setlocale(locale.LC_ALL, name)
        except locale.Error:
            continue
        break
    try:
        outcome = neurodyn(
            "convert", tmp_path / "a.npy", tmp_path / "a.csv", "--fs", 12.5, "--variable", "fluorescence"
        )
    finally:
        locale.setlocale(locale.LC_ALL, original)
    assert before and outcome.code == 0, outcome.err
    rows = (tmp_path / "a.csv").read_text().splitlines()
    assert [float(cell) for cell in rows[2].split(",")][:2] == [0.08, 4.0]


class PastClock(datetime.datetime):
    """A clock that was put back by 30 years."""

    @classmethod
    def now(cls, tz=None):
        return super().now(tz) - datetime.timedelta(days=30 * 365)


def test_a_clock_that_jumps_back_changes_nothing(neurodyn, recording, tmp_path, monkeypatch):
    train = ["train", "pca", recording, "-o", tmp_path / "run", "--gpu", "none", "--set", "windows.duration=2"]
    assert neurodyn(*train).code == 0
    weights = files.sha256(tmp_path / "run" / "model.safetensors")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 9e8)
    monkeypatch.setattr(files, "datetime", PastClock)
    monkeypatch.setattr(provenance, "datetime", PastClock)
    assert neurodyn(*train).err.split()[-4:] == ["is", "up", "to", "date."]
    assert neurodyn("infer", tmp_path / "run", "--gpu", "none").code == 0
    (tmp_path / "run" / "status.json").unlink()
    assert neurodyn(*train).code == 0
    assert files.sha256(tmp_path / "run" / "model.safetensors") == weights


def test_files_from_the_future_and_the_past_are_as_good_as_others(neurodyn, recording, tmp_path):
    command = ["preprocess", recording, "-o", tmp_path / "a.zarr", "--chain", "traces", "--set", "dff.window=5"]
    command += ["--set", "dff.output=clean"]
    assert neurodyn(*command).code == 0
    for stamp in (0, 4e9):
        for path in (tmp_path / "a.zarr").rglob("*"):
            os.utime(path, (stamp, stamp))
        outcome = neurodyn(*command)
        assert outcome.code == 0 and "is up to date" in outcome.err


def test_inputs_are_recorded_with_their_checksums(neurodyn, recording, tmp_path):
    import json

    train = ["train", "pca", recording, "-o", tmp_path / "run", "--gpu", "none", "--set", "windows.duration=2"]
    assert neurodyn(*train).code == 0
    told = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert told["inputs"] == {str(recording.resolve()): files.sha256(recording)}
    np.save(tmp_path / "a.npy", np.arange(240.0).reshape(60, 4))
    assert neurodyn("convert", tmp_path / "a.npy", tmp_path / "a.zarr", "--fs", 10).code == 0
    assert Recording.open(tmp_path / "a.zarr").tree.attrs["source_sha256"] == files.sha256(Path(tmp_path / "a.npy"))
