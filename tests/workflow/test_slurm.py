"""The same pipeline on SLURM: arrays with the resources asked for; a failure leaves the rest done and is named."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

from .slurm import FakeSlurm

PIPELINE = {
    "description": "two recordings that can be made, one that cannot",
    "matrices": {"names": [{"name": ["one", "none", "two"]}]},
    "jobs": {
        "recording": {
            "matrix": "names",
            "command": ["convert", "../{name}.npy", "{name}.zarr"],
            "options": {"fs": 10},
            "out": "{name}.zarr",
            "resources": {"cpus": 2, "memory_gb": 3.5, "minutes": 7, "gpus": 1},
        },
        "copies": {
            "matrix": "names",
            "command": ["convert", "@recording", "copies/{name}.zarr"],
            "out": "copies/{name}.zarr",
            "resources": {"group": 2},
        },
    },
}


def neurodyn(folder: Path, slurm: FakeSlurm, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "neurodyn", *map(str, args)]
    return subprocess.run(command, cwd=folder, env=slurm.environment, capture_output=True, text=True, check=False)


def test_arrays_get_their_resources_and_one_failure_leaves_the_rest_done(tmp_path: Path) -> None:
    slurm = FakeSlurm(tmp_path / "slurm")
    for name in ("one", "two"):
        np.save(tmp_path / f"{name}.npy", np.ones((20, 3), np.float32))
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(PIPELINE, sort_keys=False))
    asked = ("run", "p.yaml", "-o", "out", "-j", "20", "--slurm", "--keep-going", "--profile", slurm.profile)
    run = neurodyn(tmp_path, slurm, *asked)
    assert run.returncode == 1, run.stderr
    assert "FAILED recording_none (exit code 3)" in run.stderr and "none.npy does not exist" in run.stderr

    array = slurm.calls[0]
    asked_for = {"--array=0-2", "--time=7", "--mem=3500M", "--cpus-per-task=2", "--gres=gpu:1"}
    assert asked_for | {"--account=lab", "--partition=short"} <= set(array)

    states = json.loads(neurodyn(tmp_path, slurm, "status", "out", "--json").stdout)["jobs"]
    found = {row["job"]: row["state"] for row in states}
    assert found == {
        "recording_one": "done",
        "recording_two": "done",
        "recording_none": "failed",
        "copies_one": "done",
        "copies_two": "done",
        "copies_none": "held back",
    }
    assert states[-1]["job"] == "recording_none" and "neurodyn convert ../none.npy" in states[-1]["repeat"]
    assert len(slurm.calls) == 2 and "--array=0-0" in slurm.calls[1], "two copies, one task"
    assert "--cpus-per-task=1" in slurm.calls[1]
    assert not any(word.startswith(("--gres", "--mem", "--time")) for word in slurm.calls[1])
