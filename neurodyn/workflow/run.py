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
from pathlib import Path
from typing import Any

import yaml

from neurodyn.core.errors import ConfigError, TerminatedError, WorkError
from neurodyn.core.files import atomic, locked, make_folder, read_json, write_json
from neurodyn.workflow.index import write_index
from neurodyn.workflow.job import PLAN
from neurodyn.workflow.pipeline import Plan
from neurodyn.workflow.states import JobState, files_of, job_states
from neurodyn.workflow.warm import WARM, die_with_parent, serving

SNAKEFILE = Path(__file__).with_name("Snakefile")
EXECUTOR = Path(__file__).with_name("executor")  # where Snakemake finds the one that submits arrays to SLURM
PATIENCE = 60.0  # seconds that jobs of a killed run have to end
TAIL = 6
Say = Callable[[str], None]


@dataclass(frozen=True)
class How:
    """How jobs are run.

    Parameters
    ----------
    parallel
        Jobs at a time; cores, where jobs ask for several.
    keep_going
        Go on with independent jobs after a failure.
    until
        Stop after this job, or after all of this name in the pipeline.
    slurm
        Submit jobs to SLURM, those of one name as an array, instead of running them here.
    profile
        A Snakemake profile (YAML): account, partition and whatever else a cluster wants.
    """

    parallel: int = 1
    keep_going: bool = False
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
    wanted = _written(plan)
    before = read_json(folder / PLAN) if (folder / PLAN).exists() else wanted
    if existing == "error" and any(before[part] != wanted[part] for part in ("jobs", "configs")):
        raise ConfigError(
            f"{folder} already holds another pipeline or configuration.",
            f"Compare {folder / PLAN}.",
            "Choose another -o, or replace it: --existing overwrite",
        )
    for name, config in plan.configs.items():
        with atomic(folder / "configs" / f"{name}.yaml") as path:
            path.write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
    _forget_changed(folder, plan, wanted, before)
    write_json(folder / PLAN, wanted)  # last: a plan on disk means that no marker of another plan is left
    return all(files_of(folder, job).done.exists() for job in plan.jobs)


def _written(plan: Plan) -> dict[str, Any]:
    """Return a plan as it is written for the Snakefile."""
    given = {}
    for rule, wanted in plan.resources.items():
        memory = None if wanted.memory_gb is None else round(1000 * wanted.memory_gb)
        asked = {"cpus": wanted.cpus, "gpu": wanted.gpus or None, "mem_mb": memory, "runtime": wanted.minutes}
        given[rule] = {name: value for name, value in asked.items() if value is not None}
    return {
        "jobs": [asdict(job) | {"needs": list(job.needs), "argv": list(job.argv)} for job in plan.jobs],
        "configs": dict(plan.configs),
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
        If the folder holds another plan, or another process runs jobs in it.
    WorkError
        If a job failed; the message holds its log's tail and the command that repeats it.
    """
    how = how or How()
    with locked(folder.parent / f"{folder.name}.run", wait=PATIENCE) as lock:
        if prepare(folder, plan, existing):
            say(f"{folder} is up to date.")
            return
        verbs = [job.argv[0] for job in plan.jobs]
        with contextlib.nullcontext() if how.slurm else serving(verbs, lock) as address:
            code = _snakemake(folder, how, _targets(folder, plan, how.until), lock, address, say)
        states = job_states(folder, alive=False)
        write_index(folder, plan.description, states)
        failed = [state for state in states if state.state == "failed"]
        for state in failed:
            say(_told(folder, state))
    if code:
        raise _failure(folder, failed)


def _targets(folder: Path, plan: Plan, until: str | None) -> list[str]:
    """Return the markers to be made: all, or those of one job or of all jobs of one name in the pipeline."""
    if until is None:
        return ["ALL"]
    return [str(files_of(folder, job).done.relative_to(folder)) for job in plan.jobs if until in (job.name, job.rule)]


def _snakemake(folder: Path, how: How, targets: Sequence[str], lock: int, address: str | None, say: Say) -> int:
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
                    say(line.removeprefix("neurodyn: ").rstrip())
        except TerminatedError:
            # No new jobs; running ones end, at once where they were told to stop, too, as schedulers do.
            process.send_signal(signal.SIGINT)
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


def repeat_command(folder: Path, argv: Sequence[str]) -> str:
    """Return the line that repeats a job by hand."""
    return f"cd {shlex.quote(str(folder))} && neurodyn {shlex.join(argv)}"


def _told(folder: Path, state: JobState) -> str:
    """Say which job failed, how, and how to repeat it."""
    tail = "".join(f"\n  | {line}" for line in state.tail(folder, TAIL))
    return f"\nFAILED {state.name} (exit code {state.code}){tail}\n  Repeat it: {repeat_command(folder, state.argv)}"


def _failure(folder: Path, failed: Sequence[JobState]) -> WorkError:
    if not failed:
        log = folder / "logs" / "snakemake.log"
        tail = " | ".join(log.read_text(encoding="utf-8").split("\n")[-TAIL:])
        return WorkError("The pipeline could not be run.", tail, f"Read {log}")
    first = failed[0]
    others = f" ({len(failed) - 1} more: {', '.join(state.name for state in failed[1:])})" if len(failed) > 1 else ""
    why = " | ".join(first.tail(folder, 3))
    return WorkError(f"Job '{first.name}' failed{others}.", why, f"Repeat it: {repeat_command(folder, first.argv)}")
