"""The same pipeline on SLURM: arrays with the resources asked for; a failure leaves the rest done and is named."""

import json
import subprocess
import sys
from pathlib import Path

import yaml

from .slurm import FakeSlurm

PIPELINE = {
    "description": "two recordings that can be made, one that cannot",
    "matrices": {"kinds": [{"kind": ["two_photon", "nonsense", "spirals"]}]},
    "jobs": {
        "recording": {
            "matrix": "kinds",
            "command": ["simulate", "{kind}"],
            "out": "{kind}.zarr",
            "resources": {"cpus": 2, "memory_gb": 3.5, "minutes": 7, "gpus": 1},
        },
        "copies": {
            "matrix": "kinds",
            "command": ["convert", "@recording", "copies/{kind}.zarr"],
            "out": "copies/{kind}.zarr",
            "resources": {"group": 2},
        },
    },
}


def neurodyn(folder: Path, slurm: FakeSlurm, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "neurodyn", *map(str, args)]
    return subprocess.run(command, cwd=folder, env=slurm.environment, capture_output=True, text=True, check=False)


def test_arrays_get_their_resources_and_one_failure_leaves_the_rest_done(tmp_path: Path) -> None:
    slurm = FakeSlurm(tmp_path / "slurm")
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(PIPELINE, sort_keys=False))
    asked = ("run", "p.yaml", "-o", "out", "-j", "20", "--slurm", "--keep-going", "--profile", slurm.profile)
    run = neurodyn(tmp_path, slurm, *asked)
    assert run.returncode == 1, run.stderr
    assert "FAILED recording_nonsense (exit code 2)" in run.stderr and "no simulator named 'nonsense'" in run.stderr

    array = slurm.calls[0]
    asked_for = {"--array=0-2", "--time=7", "--mem=3500M", "--cpus-per-task=2", "--gres=gpu:1"}
    assert asked_for | {"--account=lab", "--partition=short"} <= set(array)

    states = json.loads(neurodyn(tmp_path, slurm, "status", "out", "--json").stdout)["jobs"]
    found = {row["job"]: row["state"] for row in states}
    assert found == {
        "recording_two_photon": "done",
        "recording_spirals": "done",
        "recording_nonsense": "failed",
        "copies_two_photon": "done",
        "copies_spirals": "done",
        "copies_nonsense": "waiting",
    }
    assert states[-1]["job"] == "recording_nonsense" and "neurodyn simulate nonsense" in states[-1]["repeat"]
    assert len(slurm.calls) == 2 and "--array=0-0" in slurm.calls[1], "two copies, one task"
    assert "--cpus-per-task=1" in slurm.calls[1]
    assert not any(word.startswith(("--gres", "--mem", "--time")) for word in slurm.calls[1])
