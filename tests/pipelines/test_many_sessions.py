"""Forty sessions, three models: all are listed; thirty kills change nothing, and nothing that was done is done again."""

import csv
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from neurodyn.workflow.states import job_states, seconds_left

from .killing import command, fingerprint, finish, fresh

KILLS = 30
SESSIONS = list(range(40))
MODELS = ["pca", "cst-tiny", "lstm"]
SHORT = {"epochs": 1, "steps_per_epoch": 5, "warmup": 1}
PIPELINE = {
    "description": "forty simulated sessions, three models each, decoded and compared",
    "matrices": {"sessions": [{"session": SESSIONS}], "runs": [{"session": SESSIONS, "model": MODELS}]},
    "jobs": {
        "recording": {
            "matrix": "sessions",
            "command": ["simulate", "widefield"],
            "set": {"trials": 24, "height": 16, "width": 16, "seed": "{session}"},
            "out": "raw/{session}.zarr",
        },
        "clean": {
            "matrix": "sessions",
            "command": ["preprocess", "@recording"],
            "options": {"chain": "widefield"},
            "out": "clean/{session}.zarr",
        },
        "train": {
            "matrix": "runs",
            "command": ["train", "{model}", "@clean"],
            "options": {"gpu": "none"},
            "set": {"training": SHORT},
            "out": "runs/{session}-{model}",
        },
        "inferred": {"matrix": "runs", "command": ["infer", "@train"], "options": {"gpu": "none"}},
        "decode": {
            "matrix": "runs",
            "command": ["decode", "@inferred"],
            "set": {"target": "contrast", "decoder": "ridge", "shuffles": 20},
        },
        "comparison": {"command": ["compare", "@decode*"], "options": {"units": "sessions"}, "out": "comparison"},
    },
}
JOBS = 2 * len(SESSIONS) + 3 * len(SESSIONS) * len(MODELS) + 1


def done_at(folder: Path) -> dict[str, int]:
    """Return when every job that is done was done."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / "jobs").glob("*/*.done")}


def kill(process: subprocess.Popen[bytes], rng: random.Random) -> None:
    """Kill everything at once, or only the command itself, which must not leave jobs to run on beside the next one's."""
    if rng.random() < 0.7:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


@pytest.mark.slow
@pytest.mark.timeout(10800)
def test_thirty_kills_change_nothing_and_redo_nothing(tmp_path: Path) -> None:
    folder = fresh(tmp_path / "work")
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(PIPELINE, sort_keys=False))
    line = command("run", tmp_path / "p.yaml", "-o", "out", "-j", 2)
    seconds = finish(line, folder)
    expected = fingerprint(folder / "out")
    states = job_states(folder / "out")
    assert [state.state for state in states] == ["done"] * JOBS and seconds_left(states) == 0
    page = (folder / "out" / "index.html").read_text()
    assert all(f">{state.name}</td>" in page for state in states)
    with (folder / "out" / "comparison" / "comparison.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["units"] for row in rows} == {str(len(SESSIONS))}
    print(f"\n{JOBS} jobs in {seconds:.0f} s, two at a time: {2 * seconds / JOBS:.2f} s of a core per job")

    fresh(folder)
    rng, killed, done = random.Random(0), 0, {}
    for _ in range(KILLS):
        process = subprocess.Popen(
            line, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(rng.uniform(2, 2 * (seconds / KILLS + 10)))
        killed += process.poll() is None
        kill(process, rng)
        now = done_at(folder / "out")
        assert {name: now.get(name) for name in done} == done, "a finished job was done again"
        done = now
    finish(line, folder)
    assert fingerprint(folder / "out") == expected
    now = done_at(folder / "out")
    assert {name: now[name] for name in done} == done and len(now) == JOBS
    print(
        f"{killed} of {KILLS} kills hit a running pipeline; {len(done)} of {JOBS} jobs were done before the last start"
    )
    assert killed >= KILLS // 2
