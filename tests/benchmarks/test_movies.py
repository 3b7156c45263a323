"""Long movies: time, and memory that does not grow with the length."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow
GIB = 2**30


def run(*arguments: str | Path) -> tuple[float, float]:
    """Run the command in a process of its own; return seconds and its peak memory in GiB, as /usr/bin/time -v has it."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "neurodyn", *map(str, arguments)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return time.perf_counter() - start, usage.ru_maxrss * 1024 / GIB


def chain(folder: Path, *steps: str) -> Path:
    path = folder / "chain.yaml"
    path.write_text("description: benchmark\nsteps:\n" + "".join(f"  - step: {step}\n" for step in steps))
    return path


def apart(work: Callable[..., None], *arguments: object) -> None:
    """Call a function in a process of its own: the memory a process has held counts for its children as well."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0


def write_holes(path: Path, size: int) -> None:
    """Write a movie of `size` GB in which every 999th frame has noise; the rest is a hole in the file."""
    frames = size * 10**9 // (256 * 256 * 2) // 2 * 2
    movie = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint16, shape=(frames, 256, 256))
    movie[::999] = np.random.default_rng(0).integers(1000, 5000, (256, 256))


def write_movie(path: Path, frames: int, side: int) -> None:
    """Write two interleaved channels with shared hemodynamics and noise, uint16."""
    rng = np.random.default_rng(0)
    movie = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint16, shape=(2 * frames, side, side))
    base, noise = rng.uniform(2000, 6000, (side, side)), rng.normal(0, 40, (64, side, side))
    blood = 0.02 * np.sin(np.arange(frames) / 4)
    for frame in range(frames):
        movie[2 * frame] = base * (1 + blood[frame]) + noise[frame % 64]
        movie[2 * frame + 1] = 0.7 * base * (1 + 0.8 * blood[frame]) + noise[(7 * frame + 3) % 64]


@pytest.mark.timeout(1800)
def test_a_session_of_20_minutes_at_15_hz(tmp_path):
    apart(write_movie, tmp_path / "movie.npy", 18_000, 256)
    seconds, peak = run(
        *("preprocess", tmp_path / "movie.npy", "--fs", "15", "--channels", "fluorescence,reference"),
        *("--chain", chain(tmp_path, "hemodynamics"), "-o", tmp_path / "out.zarr"),
    )
    print(f"\nraw to corrected, 256 x 256 x 18,000 x 2: {seconds:.0f} s (goal 240), peak {peak:.2f} GiB (goal 1.4)")
    assert seconds < 240
    assert peak < 1.5e9 / GIB


@pytest.mark.timeout(3600)
def test_20_gb_take_no_more_memory_than_1(tmp_path):
    peaks = {}
    for size in (1, 20):
        apart(write_holes, tmp_path / f"{size}.npy", size)
        seconds, peaks[size] = run(
            *("preprocess", tmp_path / f"{size}.npy", "--fs", "15", "--channels", "fluorescence,reference"),
            *("--chain", chain(tmp_path, "hemodynamics"), "-o", tmp_path / f"{size}.zarr"),
        )
        print(f"\n{size} GB: {seconds:.0f} s, peak {peaks[size]:.2f} GiB")
    assert peaks[20] < 1.1 * peaks[1]
