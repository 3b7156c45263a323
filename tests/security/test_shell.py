"""Names reach commands as they are: no shell reads them, and Snakemake fills in no braces."""

from pathlib import Path

import numpy as np
import pytest
import yaml

HOSTILE = (
    "a; touch MARK",
    "$(touch MARK)",
    "`touch MARK`",
    "a' && touch MARK '",
    "{x} {params.line}",
    "a\nb",
    "ä & 実 *?[0]",
)


def pipeline(folder: Path, **jobs: object) -> Path:
    """Write a pipeline."""
    (folder / "p.yaml").write_text(
        yaml.safe_dump({"description": "d", "jobs": jobs}, sort_keys=False), encoding="utf-8"
    )
    return folder / "p.yaml"


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_files_and_folders_in_pipelines(name, neurodyn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / f"in {name}"
    folder.mkdir()
    np.save(folder / f"{name}.npy", np.random.default_rng(0).normal(size=(60, 4)))
    steps = {"made": {"command": ["convert", "@input", f"{name}.zarr"], "options": {"fs": 10}, "out": f"{name}.zarr"}}
    steps["again"] = {"command": ["convert", "@made", "b.zarr"], "out": "b.zarr"}
    path = pipeline(tmp_path, **steps)
    out = tmp_path / f"out {name}"
    outcome = neurodyn("run", path, folder / f"{name}.npy", "-o", out)
    assert not list(tmp_path.rglob("MARK"))
    assert outcome.code == 0, outcome.err
    assert (out / f"{name}.zarr" / "zarr.json").exists() and (out / "b.zarr" / "zarr.json").exists()


@pytest.mark.parametrize("name", ["a; touch MARK", "$(touch MARK)", "../x", "a b", "{x}", "A", "-rf", ""])
def test_names_of_jobs(name, neurodyn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = pipeline(tmp_path, **{name: {"command": ["simulate", "lorenz"], "out": "a.zarr"}})
    outcome = neurodyn("run", path, "-o", tmp_path / "out")
    assert outcome.code == 2 and "not a job name" in outcome.err
    assert not (tmp_path / "MARK").exists()


@pytest.mark.parametrize("name", [*HOSTILE, "--help", "-o"])
def test_names_of_files_on_the_command_line(name, neurodyn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).normal(size=(60, 4)))
    outcome = neurodyn("convert", "--fs", 10, "--", f"{name}.npy", f"{name}.zarr")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / f"{name}.zarr" / "zarr.json").exists() and not (tmp_path / "MARK").exists()
