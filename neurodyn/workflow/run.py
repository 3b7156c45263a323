"""Run a pipeline's jobs through Snakemake: one generic Snakefile, every job a command that can be typed by hand."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from neurodyn.core.errors import ConfigError, TerminatedError, WorkError
from neurodyn.core.extras import check
from neurodyn.core.files import atomic, locked, make_folder, read_json, write_json
from neurodyn.workflow.job import FAILED, PLAN
from neurodyn.workflow.pipeline import Plan
from neurodyn.workflow.states import JobState, files_of, job_states, repeat_command, tally, unhealthy
from neurodyn.workflow.warm import WARM, die_with_parent, serving

SNAKEFILE = Path(__file__).with_name("Snakefile")
EXECUTOR = Path(__file__).with_name("executor")  # where Snakemake finds the one that submits arrays to SLURM
PATIENCE = 60.0  # seconds that jobs of a killed run have to end
TAIL = 6  # lines of a log that are shown
SHOWN = 5  # names that are shown
Say = Callable[[str], None]


@dataclass(frozen=True)
class How:
    """How jobs are run.

    Parameters
    ----------
    parallel
        Jobs at a time; cores, where jobs ask for several.
    keep_going
        After a failure, go on with what does not depend on it.
    until
        Stop after this job, or after all of this name in the pipeline.
    slurm
        Submit jobs to SLURM, those of one name as an array, instead of running them here.
    profile
        A Snakemake profile (YAML): account, partition and whatever else a cluster wants.
    """

    parallel: int = 1
    keep_going: bool = True
    until: str | None = None
    slurm: bool = False
    profile: Path | None = None


def prepare(folder: Path, plan: Plan, existing: str) -> bool:
    """Write the plan into the output folder; return whether every product of that plan already stands.

    Raises
    ------
    ConfigError
        If the folder holds another pipeline's plan and `existing` is "error".
    """
    make_folder(folder)
    wanted = _manifest(plan)
    before = read_json(folder / PLAN) if (folder / PLAN).exists() else wanted
    if existing == "error" and any(before[part] != wanted[part] for part in ("jobs", "configs")):
        raise ConfigError(
            f"{folder} already holds another pipeline or configuration.",
            f"Compare {folder / PLAN}.",
            "Choose another -o, or replace it: --existing overwrite",
        )
    _forget_changed(folder, plan, wanted, before)
    for job in plan.jobs:
        if not files_of(folder, job).done.exists():
            files_of(folder, job).state.unlink(missing_ok=True)  # what failed waits again
    for name, config in plan.configs.items():
        with atomic(folder / "configs" / f"{name}.yaml") as path:
            path.write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
    write_json(folder / PLAN, wanted)  # last: a plan on disk means that no marker of another plan is left
    return all(files_of(folder, job).done.exists() for job in plan.jobs)


def _manifest(plan: Plan) -> dict[str, Any]:
    """Return a plan as it is written for the Snakefile."""
    given = {}
    for rule, wanted in plan.resources.items():
        memory = None if wanted.memory_gb is None else round(1000 * wanted.memory_gb)
        asked = {"cpus": wanted.cpus, "gpu": wanted.gpus or None, "mem_mb": memory, "runtime": wanted.minutes}
        given[rule] = {name: value for name, value in asked.items() if value is not None}
    return {
        "jobs": [asdict(job) | {"needs": list(job.needs), "argv": list(job.argv)} for job in plan.jobs],
        "configs": dict(plan.configs),
        "cells": dict(plan.cells),
        "resources": given,
        "groups": {rule: wanted.group for rule, wanted in plan.resources.items() if wanted.group > 1},
    }


def _forget_changed(folder: Path, plan: Plan, wanted: dict[str, Any], before: dict[str, Any]) -> None:
    """Remove the markers of jobs that are not those of the plan before, or whose product is gone."""
    were = {job["name"]: job for job in before["jobs"]}
    for job, now in zip(plan.jobs, wanted["jobs"], strict=True):
        same = were.get(job.name) == now and plan.configs.get(job.name) == before["configs"].get(job.name)
        if not (same and (folder / job.product).exists()):
            files = files_of(folder, job)
            for stale in (files.done, files.state):
                stale.unlink(missing_ok=True)


def run(folder: Path, plan: Plan, how: How | None = None, *, existing: str = "error", say: Say = print) -> None:
    """Run jobs in the order their products demand; a killed run goes on where it was.

    An index page lists what came out, of a failure, too.

    Parameters
    ----------
    folder
        Output folder; relative products and commands are relative to it.
    say
        Told what happens, a line at a time.

    Raises
    ------
    ConfigError
        If Snakemake is absent, the folder holds another plan, or another process runs jobs in it.
    WorkError
        If a job failed. Its cause, its log and the command that repeats it have been told as it ended.
    """
    check("snakemake", "A pipeline")
    how = how or How()
    with locked(folder.parent / f"{folder.name}.run", wait=PATIENCE) as lock:
        if prepare(folder, plan, existing):
            say(f"{folder} is up to date.")
            return
        verbs = [job.argv[0] for job in plan.jobs]
        with contextlib.nullcontext() if how.slurm else serving(verbs, lock) as address:
            teller = _Teller(folder, say)
            code = _snakemake(folder, how, _targets(folder, plan, how.until), lock, address, teller)
        states = job_states(folder, alive=False)
        for state in states:
            teller.failure(state)  # jobs on other machines, which nothing was heard of
        from neurodyn.workflow.index import write_index

        write_index(folder, plan.description, states, plan.left_out)
    if code:
        raise _failure(folder, states)


class _Teller:
    """Tells of jobs as they end; of a failure its cause, its log and the command that repeats it, once.

    Parameters
    ----------
    folder
        Output folder.
    say
        Told a line, or the lines of a failure.
    """

    def __init__(self, folder: Path, say: Say) -> None:
        self.folder, self.say = folder, say
        self.causes: dict[tuple[str, ...], str] = {}
        self.told: set[str] = set()

    def line(self, text: str) -> None:
        """Tell what a job said of its end."""
        name, _, how = text.partition(" ")
        failed = [state for state in job_states(self.folder, alive=True) if state.name == name] if FAILED in how else []
        for state in failed:
            self.failure(state)
        if not failed:
            self.say(text)
            self._health(name)

    def _health(self, name: str) -> None:
        """Tell of a latent model that a job trained and that is below factor analysis."""
        job = self._jobs.get(name)
        for warning in [] if job is None else unhealthy(self.folder, job["argv"], job["product"]):
            self.say(warning)

    @cached_property
    def _jobs(self) -> dict[str, dict[str, Any]]:
        """The jobs of the plan by name."""
        return {job["name"]: job for job in read_json(self.folder / PLAN)["jobs"]}

    def failure(self, state: JobState) -> None:
        """Tell of a job that failed, unless it was told; a cause that another job had is not told again."""
        if state.state != "failed" or state.name in self.told:
            return
        self.told.add(state.name)
        tail = tuple(state.tail(self.folder, TAIL))
        like = self.causes.setdefault(tail, state.name)
        why = "".join(f"\n  | {line}" for line in tail) if like == state.name else f" as {like} did"
        log = files_of(self.folder, state).log
        repeat = repeat_command(self.folder, state.argv)
        self.say(f"FAILED {state.name} (exit code {state.code}){why}\n  Log: {log}\n  Repeat it: {repeat}")

    def ending(self) -> None:
        """Tell that the run was told to end, and what it waits for."""
        counts = tally((state.state for state in job_states(self.folder, alive=True)), ("running", "waiting"))
        self.say(f"Told to end: no job begins any more, those that run save what they have ({counts or 'none left'}).")


def _targets(folder: Path, plan: Plan, until: str | None) -> list[str]:
    """Return the markers to be made: all, or those of one job or of all jobs of one name in the pipeline."""
    if until is None:
        return ["ALL"]
    return [str(files_of(folder, job).done.relative_to(folder)) for job in plan.jobs if until in (job.name, job.rule)]


def _snakemake(folder: Path, how: How, targets: Sequence[str], lock: int, address: str | None, teller: _Teller) -> int:
    command = [sys.executable, "-m", "snakemake", *targets, "--snakefile", str(SNAKEFILE), "--directory", str(folder)]
    # A marker is made by one rename when all is done, so that none is incomplete, whatever Snakemake lived to note.
    command += ["--ignore-incomplete", "--keep-incomplete", "--nolock", "--rerun-triggers", "mtime", "--quiet", "all"]
    command += _places(folder, how)
    command += ["--keep-going"] if how.keep_going else []
    lines: list[str] = []
    plugins = os.pathsep.join(filter(None, [str(EXECUTOR), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": plugins} | ({WARM: address} if address else {})
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    more: dict[str, Any] = {"env": environment, "pass_fds": (lock,), "preexec_fn": _hear_interrupts}
    with subprocess.Popen(command, text=True, **more, **pipes) as process:
        try:
            for line in process.stdout or ():
                lines.append(line)
                if line.startswith("neurodyn: "):
                    teller.line(line.removeprefix("neurodyn: ").rstrip())
        except TerminatedError:
            # No new jobs; running ones end, at once where they were told to stop, too, as schedulers do.
            process.send_signal(signal.SIGINT)
            teller.ending()
            process.communicate()
            raise
    with atomic(folder / "logs" / "snakemake.log") as path:
        path.write_text("".join(lines), encoding="utf-8")
    return process.returncode


def _places(folder: Path, how: How) -> list[str]:
    """Return Snakemake's options on where jobs run, and how many at a time."""
    places: list[str] = []
    if how.profile is not None:
        with atomic(folder / "profile" / "config.yaml") as path:
            path.write_bytes(how.profile.read_bytes())
        places += ["--workflow-profile", str(folder / "profile")]
    if not how.slurm:
        return [*places, "--cores", str(how.parallel)]
    return [*places, "--executor", "neurodyn", "--jobs", str(how.parallel)]


def _hear_interrupts() -> None:
    """Undo what shells do to background jobs, which would make Snakemake deaf; have it end when we are killed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    die_with_parent(signal.SIGINT)


def _failure(folder: Path, states: Sequence[JobState]) -> WorkError:
    failed = [state.name for state in states if state.state == "failed"]
    held = [f"{state.name} by {', '.join(state.held_by)}" for state in states if state.state == "held back"]
    if not failed:
        log = folder / "logs" / "snakemake.log"
        tail = " | ".join(log.read_text(encoding="utf-8").split("\n")[-TAIL:])
        return WorkError("The pipeline could not be run.", tail, f"Read {log}")
    return WorkError(
        f"{len(failed)} of {len(states)} jobs failed: {_some(failed)}.",
        f"Held back: {_some(held)}." if held else "No other job depends on them.",
        f"Why, and how to repeat each, is told above and by: neurodyn status {shlex.quote(str(folder))}",
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
