"""Two workers tune LFADS on a Lorenz recording, killed in the middle and gone on with, within ten minutes of two cores."""

import csv
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

BUDGET = 2 * 600  # seconds of processor time of both workers, but for what was killed
TRIALS, EPOCHS = 24, 40
LORENZ = ("bins=50", "cells=20", "conditions=20", "repeats=6", "train_repeats=4", "held_out=4", "held_out_repeats=3")
SETS = ("windows.duration=5.0", "training.batch=20", "model.warmup=80", "training.warmup=8")


def command(*args: object, sets: tuple[str, ...] = ()) -> list[str]:
    return [sys.executable, "-m", "neurodyn", *map(str, args), *(word for item in sets for word in ("-s", item))]


def rows_of(out: Path) -> list[dict[str, str]]:
    table = out / "trials.csv"
    return list(csv.DictReader(table.read_text().splitlines())) if table.exists() else []


def ended(out: Path) -> int:
    return sum(row["state"] != "running" for row in rows_of(out))


def kill_once(args: list[str], folder: Path, trials: int) -> None:
    """Start a command in its own process group; kill it all when so many trials have ended."""
    process = subprocess.Popen(args, cwd=folder, stdout=subprocess.DEVNULL, start_new_session=True)
    while ended(folder / "out") < trials:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_workers_find_a_better_lfads_though_killed_twice(tmp_path: Path) -> None:
    subprocess.run(command("simulate", "lorenz", "-o", "lorenz.zarr", sets=LORENZ), cwd=tmp_path, check=True)
    args = command("tune", "lfads-gaussian", "lorenz.zarr", "-o", "out", "--gpu", "none", "-j", 2, sets=SETS)
    args += ["--trials", str(TRIALS), "--epochs", str(EPOCHS)]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    for trials in (3, 9):
        kill_once(args, tmp_path, trials)
    done = subprocess.run(args, cwd=tmp_path, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert (done.returncode, done.stdout) == (0, "out/best.yaml\n"), done.stderr
    rows = rows_of(tmp_path / "out")
    assert [row["number"] for row in rows] == list(map(str, range(TRIALS)))
    assert {row["state"] for row in rows} == {"complete", "pruned"}
    complete = {row["number"]: float(row["value"]) for row in rows if row["state"] == "complete"}
    best = min(complete.values())
    said = f"default {complete['0']:.1f}, best {best:.1f}, {len(complete)} of {TRIALS} not stopped early; "
    sys.stdout.write(f"{said}{time.perf_counter() - start:.0f} s, {used:.0f} s of processors\n")
    assert best < complete["0"]
    assert used < BUDGET
    assert yaml.safe_load((tmp_path / "out" / "best.yaml").read_text())["backend"] == "lfads"
    journal = (tmp_path / "out" / "journal.jsonl").read_text()
    assert '"deaths"' in journal, "what a killed worker left was taken up"
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {"study.yaml", "journal.jsonl", "trials.csv", "best.yaml"}
