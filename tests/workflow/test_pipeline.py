"""Pipelines become jobs, jobs become commands; a failure says what to type."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from neurodyn.core.config import build, list_presets, load_yaml
from neurodyn.core.errors import ConfigError, TerminatedError, UnknownNameError, WorkError
from neurodyn.workflow import run as workflow_run
from neurodyn.workflow.made import Job
from neurodyn.workflow.pipeline import PipelineSpec, Plan, load_pipeline, plan
from neurodyn.workflow.run import How, run
from neurodyn.workflow.states import files_of, job_states


def spec(**jobs: object) -> PipelineSpec:
    return build(PipelineSpec, {"description": "test", "jobs": jobs}, "test")


def test_products_flow_along_references() -> None:
    found = plan(
        spec(
            movie={"command": ["simulate", "widefield"], "set": {"trials": 3, "deep": {"key": 1}}, "out": "a b.zarr"},
            scores={
                "command": ["decode", "@movie"],
                "options": {"folds": 3, "json": True},
                "config": {"target": "contrast"},
            },
        )
    )
    jobs, configs = found.jobs, found.configs
    assert jobs[0] == Job(
        "movie",
        "movie",
        (
            "simulate",
            "widefield",
            "-o",
            "a b.zarr",
            "--set",
            "trials=3",
            "--set",
            "deep.key=1",
            "--existing",
            "overwrite",
        ),
        (),
        "a b.zarr",
    )
    assert jobs[1].argv == ("decode", "a b.zarr", "-c", "configs/scores.yaml", "--folds", "3", "--json")
    assert jobs[1].needs == ("movie",) and jobs[1].product == "a b.zarr"
    assert configs == {"scores": {"target": "contrast"}}


def test_an_input_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    jobs = plan(spec(a={"command": ["convert", "@input"], "out": "a.zarr"}), [Path("movie.tif")]).jobs
    assert jobs[0].argv[1] == str(tmp_path / "movie.tif")


@pytest.mark.parametrize("out", ["/etc/x", "../x", None])
def test_products_stay_in_the_folder(out: str | None) -> None:
    with pytest.raises(ConfigError, match=r"jobs\.a\.out"):
        plan(spec(a={"command": ["simulate", "widefield"], "out": out}))


def test_a_job_cannot_need_a_later_one() -> None:
    with pytest.raises(UnknownNameError, match="earlier job"):
        plan(spec(a={"command": ["decode", "@b"]}, b={"command": ["decode", "@a"]}))


@pytest.mark.parametrize("name", list_presets("pipeline"))
def test_every_packaged_pipeline_plans_at_every_scale(name: str, tmp_path: Path) -> None:
    first, _ = load_pipeline(name)
    for scale in first.scales or {None: {}}:
        loaded, _ = load_pipeline(name, [f"scale={scale}"] if scale else [])
        jobs = plan(loaded, [tmp_path / "one", tmp_path / "two"]).jobs
        assert len(jobs) >= len(loaded.jobs) and loaded.description
        assert {job.argv[0] for job in jobs} <= VERBS


VERBS = {
    "simulate",
    "preprocess",
    "extract",
    "train",
    "infer",
    "decode",
    "evaluate",
    "report",
    "convert",
    "fetch",
    "compare",
}


def test_line_of_a_bad_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("description: x\njobs:\n  a:\n    comand: [simulate]\n")
    with pytest.raises(ConfigError, match=r"p\.yaml:4: unknown key 'jobs\.a\.comand'"):
        load_pipeline(str(path))


SMALL = {"conditions": 2, "repeats": 2, "train_repeats": 1, "held_out": 1, "bins": 8, "cells": 3}
TWO = {
    "matrix": "all", "command": ["simulate", "lorenz"], "set": {"calcium": "{calcium}"} | SMALL,
    "out": "two recordings/{calcium}.zarr",
}  # fmt: skip


def two(**settings: int) -> Plan:
    jobs = {"recording": TWO | {"set": TWO["set"] | settings}}
    matrices = {"all": [{"calcium": ["linear", "hill"]}]}
    return plan(build(PipelineSpec, {"description": "test", "matrices": matrices, "jobs": jobs}, "test"))


def quiet(text: str) -> None:
    """Say nothing."""


def states(folder: Path) -> dict[str, str]:
    return {state.name: state.state for state in job_states(folder)}


def test_jobs_run_once_and_a_changed_plan_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "out put"
    planned = two()
    run(folder, planned, How(parallel=2), say=quiet)
    done = files_of(folder, planned.jobs[0]).done
    made = done.stat().st_mtime_ns
    assert states(folder) == {"recording_linear": "done", "recording_hill": "done"}
    assert {path.name for path in (folder / "two recordings").glob("*.zarr")} == {"linear.zarr", "hill.zarr"}

    said: list[str] = []
    run(folder, planned, How(parallel=2), say=said.append)
    assert "up to date" in said[0] and done.stat().st_mtime_ns == made

    others = two(bins=0)  # which the simulator refuses
    with pytest.raises(ConfigError, match="another pipeline"):
        run(folder, others, say=quiet)
    assert done.stat().st_mtime_ns == made
    with pytest.raises(WorkError, match="1 of 2 jobs failed"):
        run(folder, others, How(keep_going=False), existing="overwrite", say=quiet)
    assert sorted(states(folder).values()) == ["failed", "waiting"] and not done.exists()


def test_a_cause_is_told_once_with_log_and_command_and_holds_back_only_what_needs_it(tmp_path: Path) -> None:
    small = {"matrix": "all", "command": ["simulate", "{kind}"], "set": SMALL, "out": "data/{kind}.zarr"}
    jobs = {
        "data": small,
        "sight": {"matrix": "all", "command": ["inspect", "@data"]},
        "both": {"command": ["match", "@data*"], "out": "both"},
        "after": {"command": ["inspect", "@both"]},
        "twin": {"command": ["simulate", "nonsense"], "out": "twin"},
    }
    matrices = {"all": [{"kind": ["nonsense", "lorenz"]}]}
    folder, said = tmp_path / "out", []
    planned = plan(build(PipelineSpec, {"description": "test", "matrices": matrices, "jobs": jobs}, "test"))
    with pytest.raises(WorkError) as caught:
        run(folder, planned, say=said.append)
    assert states(folder) == {
        "data_nonsense": "failed", "data_lorenz": "done", "sight_nonsense": "held back", "sight_lorenz": "done",
        "both": "held back", "after": "held back", "twin": "failed",
    }  # fmt: skip
    assert {s.name: s.held_by for s in job_states(folder) if s.held_by} == dict.fromkeys(
        ("sight_nonsense", "both", "after"), ("data_nonsense",)
    )
    assert caught.value.what == "2 of 7 jobs failed: data_nonsense, twin."
    assert caught.value.found.startswith("Held back: sight_nonsense by data_nonsense, both by data_nonsense")
    everything = "\n".join([*said, *map(str, caught.value.args)])
    assert everything.count("no simulator named 'nonsense'") == 1
    told, alike = (text for text in said if "FAILED" in text)
    assert "as data_nonsense did" in alike or "as twin did" in alike
    log, repeat = (line.partition(": ")[2] for line in told.splitlines()[-2:])
    assert "no simulator named 'nonsense'" in Path(log).read_text()
    repeat = repeat.replace("neurodyn simulate", f"{sys.executable} -m neurodyn simulate")
    assert subprocess.run(repeat, shell=True, capture_output=True, check=False).returncode == 2
    page = (folder / "index.html").read_text()
    row = next(line for line in page.splitlines() if '<th scope="row">nonsense' in line)
    assert "<b>F</b> data: failed" in row and "<b>H</b> sight: held back" in row
    assert 'href="logs/data/data_nonsense.log"' in row and 'href="#data_nonsense"' in row
    assert 'id="data_nonsense"' in page and "neurodyn simulate nonsense" in page
    row = next(line for line in page.splitlines() if '<th scope="row">lorenz' in line)
    assert '<b>D</b> <a href="data/lorenz.zarr">data</a>' in row and "failed" not in row


def test_a_scale_is_laid_over_the_pipeline_and_under_the_sets(tmp_path: Path) -> None:
    path = tmp_path / "scaled.yaml"
    path.write_text(
        "description: two sizes\nscale: small\n"
        "scales: {small: {}, paper: {jobs: {data: {set: {trials: 500, seed: 1}}}}}\n"
        "jobs: {data: {command: [simulate, spirals], set: {trials: 50}, out: a.zarr}}\n"
    )
    settings = [load_pipeline(str(path), sets)[0].jobs["data"].set for sets in ([], ["scale=paper"])]
    assert settings == [{"trials": 50}, {"trials": 500, "seed": 1}]
    both = load_pipeline(str(path), ["scale=paper", "jobs.data.set.seed=2"])[0]
    assert both.jobs["data"].set == {"trials": 500, "seed": 2}
    with pytest.raises(ConfigError, match="papr"):
        load_pipeline(str(path), ["scale=papr"])


def test_sets_reach_into_a_pipeline(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        yaml.safe_dump(
            {"description": "x", "jobs": {"a": {"command": ["simulate", "two_photon"], "set": {"repeats": 1}}}}
        )
    )
    loaded, resolved = load_pipeline(str(path), ["jobs.a.set.repeats=7"])
    assert loaded.jobs["a"].set == {"repeats": 7}
    assert resolved.origins[("jobs", "a", "set", "repeats")] == "--set jobs.a.set.repeats=7"
    assert load_yaml(path).values["jobs"]["a"]["set"] == {"repeats": 1}


def test_a_terminated_run_stops_its_jobs_in_order(tmp_path, monkeypatch):
    script = (
        "import sys, time\n"
        "try:\n"
        "    print('neurodyn: at work', flush=True)\n"
        "    time.sleep(60)\n"
        "except KeyboardInterrupt:\n"
        "    open(sys.argv[1], 'w').close()\n"
    )
    start = subprocess.Popen
    stand_in = [sys.executable, "-c", script, str(tmp_path / "told")]
    monkeypatch.setattr(subprocess, "Popen", lambda command, **how: start(stand_in, **how))

    said = []

    def say(line):
        said.append(line)
        if line == "at work":
            raise TerminatedError

    workflow_run.prepare(tmp_path, two(), "error")
    with pytest.raises(TerminatedError):
        workflow_run._snakemake(tmp_path, How(), ["ALL"], 0, None, workflow_run._Teller(tmp_path, say))
    assert (tmp_path / "told").exists()
    assert said[1] == "Told to end: no job begins any more, those that run save what they have (2 waiting)."
