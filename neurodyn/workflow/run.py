"""Run a pipeline's jobs through Snakemake: one generic Snakefile, every job a command that can be typed by hand."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from neurodyn.core.errors import ConfigError, TerminatedError, WorkError
from neurodyn.core.files import atomic, locked, make_folder, read_json, write_json
from neurodyn.workflow.pipeline import Job

PLAN = "pipeline.json"
SNAKEFILE = Path(__file__).with_name("Snakefile")
TAIL = 6


def prepare(folder: Path, jobs: Sequence[Job], configs: dict[str, dict[str, Any]], existing: str) -> bool:
    """Write the plan into the output folder; return whether every product of that plan already stands.

    Raises
    ------
    ConfigError
        If the folder holds another pipeline's plan and `existing` is "error".
    """
    wanted = {
        "jobs": [asdict(job) | {"needs": list(job.needs), "argv": list(job.argv)} for job in jobs],
        "configs": configs,
    }
    make_folder(folder)
    before = read_json(folder / PLAN) if (folder / PLAN).exists() else wanted
    if existing == "error" and before != wanted:
        raise ConfigError(
            f"{folder} already holds another pipeline or configuration.",
            f"Compare {folder / PLAN}.",
            "Choose another -o, or replace it: --existing overwrite",
        )
    for name, config in configs.items():
        with atomic(folder / "configs" / f"{name}.yaml") as path:
            path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    unchanged = [job for job in wanted["jobs"] if job in before["jobs"]]
    unchanged = [job for job in unchanged if configs.get(job["name"]) == before["configs"].get(job["name"])]
    stand = {job["name"] for job in unchanged if (folder / job["product"]).exists()}
    for job in jobs:
        if job.name not in stand:
            marker(folder, job.name).unlink(missing_ok=True)
    write_json(folder / PLAN, wanted)  # last: a plan on disk means that no marker of another plan is left
    return all(marker(folder, job.name).exists() for job in jobs)


def marker(folder: Path, name: str) -> Path:
    """Return the file that says a job is done."""
    return folder / "jobs" / f"{name}.done"


def run(
    folder: Path,
    jobs: Sequence[Job],
    configs: dict[str, dict[str, Any]],
    *,
    existing: str = "error",
    parallel: int = 1,
    keep_going: bool = False,
    until: str | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Run jobs in the order their products demand; a killed run goes on where it was.

    Parameters
    ----------
    folder
        Output folder; relative products and commands are relative to it.
    parallel
        Jobs at a time.
    keep_going
        Go on with independent jobs after a failure.
    until
        Stop after this job.

    Raises
    ------
    WorkError
        If a job failed; the message holds its log's tail and the command that repeats it.
    """
    with locked(folder.parent / f"{folder.name}.run"):
        if prepare(folder, jobs, configs, existing):
            say(f"{folder} is up to date.")
            return
        code = _snakemake(folder, parallel, keep_going, until, say)
    failed = [
        job for job in jobs if (folder / "logs" / f"{job.name}.log").exists() and not marker(folder, job.name).exists()
    ]
    if code:
        raise _failure(folder, failed)


def _snakemake(folder: Path, parallel: int, keep_going: bool, until: str | None, say: Callable[[str], None]) -> int:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--directory", str(folder)]
    command += [
        "--cores",
        str(parallel),
        "--nolock",
        "--rerun-incomplete",
        "--rerun-triggers",
        "mtime",
        "params",
        "input",
    ]
    command += ["--quiet", "all", "--keep-going"] if keep_going else ["--quiet", "all"]
    command += ["--until", until] if until else []
    lines: list[str] = []
    environment = os.environ | {"NEURODYN_PYTHON": sys.executable}
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, env=environment, text=True, preexec_fn=_hear_interrupts, **pipes) as process:
        try:
            for line in process.stdout or ():
                lines.append(line)
                if line.startswith("neurodyn: "):
                    say(line.removeprefix("neurodyn: ").rstrip())
        except (
            TerminatedError
        ):  # no new jobs; running ones end, at once where they were told to stop, too, as schedulers do
            process.send_signal(signal.SIGINT)
            process.communicate()
            raise
    with atomic(folder / "logs" / "snakemake.log") as path:
        path.write_text("".join(lines), encoding="utf-8")
    return process.returncode


def _hear_interrupts() -> None:
    """Undo what shells do to background jobs, which would make Snakemake deaf to an interrupt."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _failure(folder: Path, failed: Sequence[Job]) -> WorkError:
    if not failed:
        log = folder / "logs" / "snakemake.log"
        tail = " | ".join(log.read_text(encoding="utf-8").split("\n")[-TAIL:])
        return WorkError("The pipeline could not be run.", tail, f"Read {log}")
    first = failed[0]
    text = (folder / "logs" / f"{first.name}.log").read_text(encoding="utf-8").strip().splitlines()
    others = f" ({len(failed) - 1} more: {', '.join(job.name for job in failed[1:])})" if len(failed) > 1 else ""
    repeat = f"cd {shlex.quote(str(folder))} && neurodyn {shlex.join(first.argv)}"
    return WorkError(f"Job '{first.name}' failed{others}.", " | ".join(text[-3:]), f"Repeat it: {repeat}")


def job_states(folder: Path) -> list[dict[str, str]]:
    """Return name, state and product of every job of a pipeline's output folder.

    Raises
    ------
    DataError
        If the folder holds no pipeline.
    """
    states = []
    for job in read_json(folder / PLAN)["jobs"]:
        log = folder / "logs" / f"{job['name']}.log"
        state = "done" if marker(folder, job["name"]).exists() else "unfinished" if log.exists() else "waiting"
        states.append({"job": job["name"], "state": state, "product": job["product"]})
    return states
