"""How far work is: a bar with the time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neurodyn.cli import console
from neurodyn.cli.console import Common, progress_bar
from neurodyn.data.recording import Recording

TIME_LEFT = re.compile(r"\d:\d\d:\d\d|-:--:--")


def on_terminal(command: list[str], folder: Path) -> str:
    """Run a command in a pseudo-terminal of 120 columns and return what it shows there."""
    here, there = pty.openpty()
    environment = os.environ | {"COLUMNS": "120", "TERM": "xterm-256color"}
    process = subprocess.Popen(command, stderr=there, stdout=subprocess.DEVNULL, cwd=folder, env=environment)
    os.close(there)
    shown = b""
    while True:
        if select.select([here], [], [], 0.1)[0]:
            try:
                part = os.read(here, 65536)
            except OSError:  # Linux: the other side is closed
                break
            if not part:
                break
            shown += part
        elif process.poll() is not None:
            break
    os.close(here)
    assert process.wait(timeout=60) == 0, shown.decode(errors="replace")
    return shown.decode(errors="replace")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("progress")
    rng = np.random.default_rng(0)
    start = np.arange(2.0, 55.0, 5.0)
    stimulus = {"start": start, "stop": start + 2, "contrast": np.resize([0.1, 0.5, 1.0], start.size)}
    signals = {"fluorescence": rng.normal(100, 5, (600, 4)).astype(np.float32)}
    Recording.from_arrays(signals, rate_hz=10, stimulus=stimulus).save(folder / "a.zarr")
    return folder


def test_a_terminal_shows_a_bar_with_the_time_left(folder):
    decode = ["decode", "a.zarr", "--features", "fluorescence", "--target", "contrast", "-o", "scores"]
    shown = on_terminal([sys.executable, "-m", "neurodyn", *decode], folder)
    bars = [line for line in re.split(r"[\r\n]", shown) if "contrast from" in line and "━" in line]
    assert bars, shown
    assert all(TIME_LEFT.search(line) and "%" in line for line in bars), bars


def test_a_line_is_said_when_the_stage_changes_and_every_ten_seconds(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with progress_bar(Common()) as report:
        for label, share, at in (
            ("copy", 0.0, 0.0), ("copy", 0.5, 9.9), ("copy", 0.6, 10.0), ("copy", 0.9, 19.9),
            ("dff", 0.0, 20.0), ("dff", 0.5, 29.0), ("dff", 1.0, 31.0),
        ):  # fmt: skip
            now[0] = at
            report(label, share)
    said = capsys.readouterr().err.splitlines()
    assert said == ["copy (0%)", "copy (60%)", "dff (0%)", "dff (100%)"]


def test_extraction_and_the_rest_tell_how_far_they_are(folder, neurodyn, monkeypatch):
    monkeypatch.chdir(folder)
    said = neurodyn("decode", "a.zarr", "--features", "fluorescence", "--target", "contrast", "-o", "again").err
    assert "contrast from fluorescence" in said and "%)" in said


def test_recordings_side_by_side_are_named_as_they_are_typed_and_told_apart(folder, monkeypatch, neurodyn):
    monkeypatch.chdir(folder)
    Recording.open("a.zarr").save("b.zarr")
    chain = ("--chain", "zscore", "--set", "dff.window=5")
    outcome = neurodyn("preprocess", "-j", 2, "./a.zarr", "./b.zarr", *chain, "-o", "both")
    assert outcome.code == 0, outcome.err
    assert "a.zarr: zscore" in outcome.err and "b.zarr: zscore" in outcome.err
    alone = neurodyn("preprocess", "a.zarr", *chain, "-o", "alone.zarr")
    assert alone.code == 0
    for name in ("a", "b"):
        made = Recording.open(folder / "both" / f"{name}.zarr")
        np.testing.assert_array_equal(made["zscore"].values, Recording.open("alone.zarr")["zscore"].values)
