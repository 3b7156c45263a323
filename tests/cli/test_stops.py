"""What a scheduler or a second user does to a training: an orderly stop, a name, and a run that goes on."""

import json
import signal
import subprocess
import sys
import time

import numpy as np

import neurodyn.training.fit  # noqa: F401 - so that the second writer comes while the first is at work
from neurodyn.data.recording import Recording


def wait_for_epoch(log) -> None:
    for _ in range(1200):
        if log.exists() and '"epoch' in log.read_text(encoding="utf-8"):
            return
        time.sleep(0.05)
    raise TimeoutError(log)


def started(command) -> subprocess.Popen:
    """Start a command that hears Ctrl-C, even where the tests run in the background of a shell."""
    hears = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **hears)


def stopped(process, number) -> tuple[int, str]:
    """Send a signal; return the exit code and the first of the last three lines."""
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert "Traceback" not in said
    return process.returncode, said.strip().splitlines()[-3]


def test_signals_stop_in_order_a_second_writer_is_told_who_is_first_and_the_run_goes_on(neurodyn, tmp_path):
    waves = np.sin(np.arange(400)[:, None, None] / 5 + np.arange(8)[:, None] + np.zeros(8))
    path = Recording.from_arrays({"dff": waves.astype(np.float32)}, rate_hz=10).save(tmp_path / "a movié.zarr")
    sets = ["--set", "model.patch=[4,4]", "--set", "training={epochs: 50, steps_per_epoch: 3, batch: 4, warmup: 2}"]
    asked = ["train", "cst-tiny", str(path), "-o", str(tmp_path / "run"), "--gpu", "none", *sets]
    run, log = [sys.executable, "-m", "neurodyn", *asked], tmp_path / "run" / "log.jsonl"
    first = started(run)
    wait_for_epoch(log)
    second = neurodyn(*asked)
    assert second.code == 2
    assert "is being written by another process" in second.err and f"process {first.pid} on" in second.err
    assert stopped(first, signal.SIGTERM) == (143, "Terminated (SIGTERM).")
    assert not (tmp_path / "run" / "status.json").exists()
    assert not [name for name in tmp_path.iterdir() if name.name.startswith(".run")]
    log.unlink()
    third = started(run)
    wait_for_epoch(log)
    assert stopped(third, signal.SIGINT) == (130, "Interrupted.")
    again = neurodyn(*asked)
    assert again.code == 0, again.err
    assert json.loads((tmp_path / "run" / "status.json").read_text())["epochs"] == 50
