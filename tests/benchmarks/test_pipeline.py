"""What a job of a pipeline costs beside its own work, and what a dry run over ten thousand of them does."""

import subprocess
import sys
import time

import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
MOST_PER_JOB = 6.0
MOST_FOR_A_DRY_RUN = 60.0
SMALL = {"trials": 24, "height": 16, "width": 16}


def neurodyn(folder, *args):
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "neurodyn", *args], cwd=folder, check=True, capture_output=True, text=True
    )
    return time.perf_counter() - start, done.stdout


def pipeline(folder, seeds):
    train = {
        "matrix": "m", "command": ["train", "pca", str(folder / "clean.zarr")], "options": {"gpu": "none"},
        "set": {"training": {"seed": "{seed}"}}, "out": "runs/{seed}",
    }  # fmt: skip
    text = {
        "description": "many short trainings",
        "matrices": {"m": [{"seed": list(range(seeds))}]},
        "jobs": {"train": train},
    }
    (folder / f"{seeds}.yaml").write_text(yaml.safe_dump(text, sort_keys=False))
    return f"{seeds}.yaml"


def test_a_job_starts_its_work_within_six_seconds(tmp_path):
    neurodyn(
        tmp_path, "simulate", "widefield", "-o", "raw.zarr", *(f"--set={key}={value}" for key, value in SMALL.items())
    )
    neurodyn(tmp_path, "preprocess", "raw.zarr", "--chain", "widefield", "-o", "clean.zarr")
    few, _ = neurodyn(tmp_path, "run", pipeline(tmp_path, 3), "-o", "few")
    many, _ = neurodyn(tmp_path, "run", pipeline(tmp_path, 43), "-o", "many")
    alone, _ = neurodyn(tmp_path, "train", "pca", "clean.zarr", "--gpu", "none", "-o", "alone")
    each = (many - few) / 40
    print(f"\n{each:.2f} s per job, its work included; {few - 3 * each:.1f} s once; {alone:.1f} s by hand")
    assert each < MOST_PER_JOB


def test_a_dry_run_over_ten_thousand_jobs(tmp_path):
    seconds, said = neurodyn(tmp_path, "run", pipeline(tmp_path, 10_000), "-o", "out", "--dry-run")
    print(f"\n{seconds:.1f} s for a dry run over 10,000 jobs")
    assert "10000 waiting." in said and seconds < MOST_FOR_A_DRY_RUN
