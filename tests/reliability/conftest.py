"""Disks that are full, limits that the system sets, and a small piece of work to be done in spite of them."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from neurodyn.data.recording import Recording
from tests.cli.conftest import Outcome, neurodyn

__all__ = ["neurodyn"]
TINY = ["--set", "model.patch=[4,4]", "--set", "training={epochs: 2, steps_per_epoch: 2, batch: 4, warmup: 1}"]


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of noisy traces with stimuli that show in them."""
    rng, start = np.random.default_rng(0), np.arange(2.0, 115.0, 5.0)
    contrast = np.resize([0.1, 0.5, 1.0], start.size)
    values = rng.normal(100, 5, (1200, 6)).astype(np.float32)
    for begin, level in zip(start, contrast, strict=True):
        values[int(begin * 10) : int(begin * 10) + 20] += 40 * level
    made = Recording.from_arrays(
        {"fluorescence": values, "dff": values / 100 - 1},
        rate_hz=10,
        stimulus={"start": start, "stop": start + 2, "contrast": contrast},
    )
    return made.save(tmp_path_factory.mktemp("data") / "recording.zarr")


@pytest.fixture(scope="session")
def run(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of pca on it, with its prediction."""
    from neurodyn.training.config import load_run_config
    from neurodyn.training.fit import fit
    from neurodyn.training.infer import infer

    folder = tmp_path_factory.mktemp("runs") / "pca"
    fit(*load_run_config("pca", None, ["windows.duration=2"]), [recording], folder, gpu="none")
    infer(folder, gpu="none")
    return folder


@pytest.fixture(scope="session")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A movie of waves on which a transformer trains in a second."""
    waves = np.sin(np.arange(400)[:, None, None] / 5 + np.arange(8)[:, None] + np.zeros(8))
    made = Recording.from_arrays({"dff": waves.astype(np.float32)}, rate_hz=10)
    return made.save(tmp_path_factory.mktemp("data") / "movie.zarr")


@contextmanager
def limit(kind: int, most: int) -> Iterator[None]:
    """Set one of the system's limits for this process, and lift it again; meanwhile Python keeps no compiled code.

    It would keep half of it where files may not grow, and read that half ever after.
    """
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (most, hard))
    sys.dont_write_bytecode, os.environ["PYTHONDONTWRITEBYTECODE"] = True, "1"
    try:
        yield
    finally:
        sys.dont_write_bytecode = False
        del os.environ["PYTHONDONTWRITEBYTECODE"]
        resource.setrlimit(kind, (soft, hard))


class Disk:
    """A small file system in memory."""

    def __init__(self, path: Path) -> None:
        self.path, self.ballast = path, path / "ballast"

    def fill(self, free: int) -> None:
        """Leave so many bytes free."""
        found = os.statvfs(self.path)
        self.ballast.write_bytes(bytes(found.f_bavail * found.f_frsize - free))

    def clear(self) -> None:
        """Make room."""
        self.ballast.unlink()

    def writable(self, allowed: bool) -> None:
        """Allow writing, or refuse it, to root as well."""
        subprocess.run(["mount", "-o", f"remount,{'rw' if allowed else 'ro'}", self.path], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A file system of 16 MiB, mounted for the test."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", place], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system may be mounted here ({done.stderr.strip()}); the variant with a limit has run")
    yield Disk(place)
    subprocess.run(["umount", place], check=True)


Run = Callable[..., Outcome]


def refused(outcome: Outcome, what: str, found: str) -> None:
    """Check that a command failed in three lines, with exit code 1."""
    lines = outcome.err.strip().splitlines()[-3:]
    assert outcome.code == 1, outcome.err
    assert "Traceback" not in outcome.err
    assert lines[0].startswith("Error: ") and what in lines[0] and found in lines[1], outcome.err
