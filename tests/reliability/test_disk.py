"""A disk that is full or may not be written to: exit 1, three lines, nothing half-written; the same command then goes on."""

import os
import resource
import shutil
from pathlib import Path

import pytest

from tests.reliability.conftest import TINY, limit, refused

PCA = ["pca", "--gpu", "none", "--set", "windows.duration=2"]
Work = tuple[list[object], Path]


def work(name: str, recording: Path, run: Path, folder: Path) -> Work:
    """Return a command that writes into a folder, and what it makes there."""
    if name in ("infer", "report", "decode"):
        mine = folder / "pca"
        shutil.copytree(run, mine)
        if name == "infer":
            shutil.rmtree(mine / "prediction.zarr")
            return ["infer", mine, "--gpu", "none"], mine / "prediction.zarr"
        if name == "report":
            return ["report", mine], mine / "report.html"
        return ["decode", mine, "--target", "contrast", "--shuffles", "2"], mine / "scores.csv"
    target = folder / {"nwb": "a.nwb", "csv": "a.csv", "train": "run"}.get(name, "a.zarr")
    commands: dict[str, list[object]] = {
        "zarr": ["convert", recording, target],
        "nwb": ["convert", recording, target],
        "csv": ["convert", recording, target, "--variable", "dff"],
        "simulate": ["simulate", "two_photon", "-o", target, "--set", "repeats=1", "--set", "cells=6"],
        "preprocess": [
            "preprocess",
            recording,
            "-o",
            target,
            "--chain",
            "traces",
            "--set",
            "dff.window=5",
            "--set",
            "dff.output=clean",
        ],
        "train": ["train", *PCA, recording, "-o", target],
    }
    return commands[name], target


NAMES = ("zarr", "nwb", "csv", "simulate", "preprocess", "train", "infer", "report", "decode")
MOUNTED = [pytest.param(name, marks=() if name in ("zarr", "nwb", "train") else pytest.mark.slow) for name in NAMES]


def strays(folder: Path) -> list[str]:
    """Return what a writer left behind."""
    return [path.name for path in folder.rglob(".*") if path.name.endswith(".lock") or ".partial" in path.name]


def nothing_half_written(product, folder) -> None:
    assert not product.is_file() and not (product / "zarr.json").exists() and not (product / "status.json").exists()
    assert strays(folder) == []


def completes(neurodyn, command, product) -> None:
    """Type the same command again."""
    again = neurodyn(*command)
    assert again.code == 0, again.err
    assert product.exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_file_may_not_grow_as_under_a_quota_and_the_same_command_completes(name, neurodyn, recording, run, tmp_path):
    command, product = work(name, recording, run, tmp_path)
    neurodyn("list", "models")
    with limit(resource.RLIMIT_FSIZE, 600):
        outcome = neurodyn(*command)
    refused(outcome, "Cannot write", "File too large")
    nothing_half_written(product, tmp_path)
    completes(neurodyn, command, product)


@pytest.mark.parametrize("name", MOUNTED)
def test_the_disk_is_full_and_the_same_command_completes_once_there_is_room(name, neurodyn, recording, run, disk):
    command, product = work(name, recording, run, disk.path)
    disk.fill(free=8192)
    outcome = neurodyn(*command)
    refused(outcome, "Cannot write", "No space left on device")
    nothing_half_written(product, disk.path)
    disk.clear()
    completes(neurodyn, command, product)


@pytest.mark.parametrize("name", MOUNTED)
def test_the_disk_may_not_be_written_to(name, neurodyn, recording, run, disk):
    command, product = work(name, recording, run, disk.path)
    disk.writable(False)
    outcome = neurodyn(*command)
    disk.writable(True)
    refused(outcome, "Cannot write", "Read-only file system")
    completes(neurodyn, command, product)


@pytest.mark.parametrize("name", ["zarr", "nwb", "csv", "simulate", "preprocess", "train"])
def test_a_folder_that_nobody_may_write_to(name, neurodyn, recording, run):
    command, product = work(name, recording, run, Path("/sys/neurodyn"))
    outcome = neurodyn(*command)
    refused(outcome, "Cannot write /sys/neurodyn", "The system says")
    assert not product.exists()


def test_a_folder_without_permission(neurodyn, recording, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere; the variants with a read-only disk and with /sys have run")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    refused(neurodyn("convert", recording, closed / "a.zarr"), "Cannot write", "Permission denied")
    closed.chmod(0o755)
    assert neurodyn("convert", recording, closed / "a.zarr").code == 0


def test_a_log_that_cannot_be_written(neurodyn, recording, tmp_path):
    refused(neurodyn("convert", recording, tmp_path / "a.zarr", "--log-file", tmp_path), "Cannot write", "directory")


def test_a_training_that_fills_the_disk_goes_on_where_it_was(neurodyn, movie, tmp_path):
    command = ["train", "cst-tiny", movie, "-o", tmp_path / "run", "--gpu", "none", *TINY]
    with limit(resource.RLIMIT_FSIZE, 20_000):
        outcome = neurodyn(*command)
    refused(outcome, "Cannot write", "File too large")
    assert "checkpoints/last.ckpt" in outcome.err
    assert (tmp_path / "run" / "config.yaml").exists() and not (tmp_path / "run" / "status.json").exists()
    again = neurodyn(*command)
    assert again.code == 0, again.err
    assert (tmp_path / "run" / "status.json").exists()
