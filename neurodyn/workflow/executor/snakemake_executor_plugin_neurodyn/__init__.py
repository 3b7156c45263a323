"""Snakemake's way to SLURM for `neurodyn run --slurm`: the ready jobs of one rule are submitted as one array.

A task runs neurodyn's jobs themselves, not Snakemake once more; whether one is done is seen by its marker, so that only
`sbatch`, `squeue` and `scancel` are needed.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings

from neurodyn.core.files import make_folder
from neurodyn.workflow.job import PLAN, Files

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_default_storage_provider_args=False,
    pass_default_resources_args=False,
    pass_envvar_declarations_to_cmd=False,
    auto_deploy_default_storage_provider=False,
    init_seconds_before_status_checks=1,
)
Job = Any  # a Snakemake job, of which the interface does not tell rule and wildcards
FOLDER = Path("slurm")
ARRAY_SIZE = 1000  # where the cluster does not tell its own
PATIENCE = 30.0  # seconds until a file that another machine wrote is seen here
WANTED = {"mem_mb": "--mem={}M", "gpu": "--gres=gpu:{}"}  # of the pipeline
TOLD = {"slurm_account": "--account={}", "slurm_partition": "--partition={}"}  # of a profile's default-resources
TOLD |= {"qos": "--qos={}", "constraint": "--constraint={}"}
SCRIPT = """#!/bin/sh
exec {python} -P -m neurodyn.workflow.job $(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" {tasks})
"""


class Executor(RemoteExecutor):
    """Submits arrays, and looks for the markers of their jobs."""

    def __post_init__(self) -> None:
        self.name = f"neurodyn-{uuid.uuid4().hex[:12]}"
        self.ready: list[Job] = []
        self.submitted = 0
        self.gone: dict[str, float] = {}
        self.largest = _largest_array()
        self.plan = json.loads(Path(PLAN).read_text(encoding="utf-8"))

    def run_jobs(self, jobs: list[Job]) -> None:
        """Take jobs that are ready; they are submitted at the next look at the queue, with those ready by then."""
        for job in jobs:
            self.run_job_pre(job)
            self.ready.append(job)

    def run_job(self, job: Job) -> None:
        """Take one job."""
        self.run_jobs([job])

    def _submit_ready(self) -> None:
        """Submit what is ready, the jobs of one rule together."""
        ready, self.ready = self.ready, []
        rules: dict[str, list[Job]] = {}
        for job in ready:
            rules.setdefault(job.rule.name, []).append(job)
        for rule, several in rules.items():
            size = self.plan["groups"].get(rule, 1)
            tasks = [several[k : k + size] for k in range(0, len(several), size)]
            for k in range(0, len(tasks), self.largest):
                self._submit(rule, tasks[k : k + self.largest])

    def _submit(self, rule: str, tasks: Sequence[Sequence[Job]]) -> None:
        self.submitted += 1
        FOLDER.mkdir(exist_ok=True)
        stem = FOLDER / f"{self.name}-{self.submitted}-{rule}"
        lines = [" ".join(job.wildcards.job for job in task) for task in tasks]
        stem.with_suffix(".tasks").write_text("\n".join(lines) + "\n", encoding="utf-8")
        python, names = shlex.quote(sys.executable), shlex.quote(str(stem.with_suffix(".tasks")))
        stem.with_suffix(".sh").write_text(SCRIPT.format(python=python, tasks=names), encoding="utf-8")
        for job in (job for task in tasks for job in task):
            _files(job).state.unlink(missing_ok=True)  # of an earlier run
        answer = subprocess.run(
            [*self._sbatch(rule, tasks), str(stem.with_suffix(".sh"))], capture_output=True, text=True, check=False
        )
        number = answer.stdout.strip().split(";")[0]
        for place, task in enumerate(tasks):
            for job in task:
                info = SubmittedJobInfo(job, external_jobid=f"{number}_{place}")
                if answer.returncode:
                    _fail(job, f"sbatch: {answer.stderr.strip()}")
                    self.report_job_error(info, msg=answer.stderr)
                else:
                    self.report_job_submission(info)

    def _sbatch(self, rule: str, tasks: Sequence[Sequence[Job]]) -> list[str]:
        wanted, told = self.plan["resources"][rule], tasks[0][0].resources
        call = ["sbatch", "--parsable", f"--job-name={self.name}", f"--array=0-{len(tasks) - 1}"]
        call += [f"--chdir={Path.cwd()}", f"--output={FOLDER / '%A_%a.out'}", f"--cpus-per-task={wanted['cpus']}"]
        call += ["--requeue", "--signal=B:TERM@60"]  # a minute to save what was reached before the time is up
        call += [flag.format(wanted[name]) for name, flag in WANTED.items() if name in wanted]
        call += [flag.format(told[name]) for name, flag in TOLD.items() if told.get(name)]
        call += [f"--time={wanted['runtime'] * max(map(len, tasks))}"] if "runtime" in wanted else []
        return [*call, *shlex.split(str(told.get("slurm_extra") or ""))]

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Submit what is ready; report what ended; yield what goes on."""
        await asyncio.to_thread(self._submit_ready)
        waiting = await asyncio.to_thread(self._queue) if active_jobs else set()
        for info in active_jobs:
            files = _files(info.job)
            if files.done.exists():
                self.report_job_success(info)
            elif files.read()["state"] == "failed":
                self.report_job_error(info)
            elif waiting is None or info.external_jobid in waiting or not self._is_lost(str(info.external_jobid)):
                yield info
            else:
                reason = await asyncio.to_thread(_reason, str(info.external_jobid))
                _fail(info.job, f"SLURM ended it: {reason}. See {FOLDER / str(info.external_jobid)}.out")
                self.report_job_error(info, msg=reason)

    def _is_lost(self, number: str) -> bool:
        """Say whether a task has been out of the queue for so long that its marker would be seen."""
        return time.monotonic() - self.gone.setdefault(number, time.monotonic()) > PATIENCE

    def _queue(self) -> set[str] | None:
        """Return the tasks that wait or run; None where the cluster does not answer."""
        said = _asked("squeue", "--noheader", "--array", "--states=all", f"--name={self.name}", "--format=%i|%T")
        if said is None:
            return None
        rows = [line.strip().split("|") for line in said.splitlines() if "|" in line]
        return {number for number, state in rows if state in ALIVE}

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Take jobs back."""
        numbers = sorted({str(info.external_jobid).partition("_")[0] for info in active_jobs})
        if numbers:
            _asked("scancel", *numbers)


ALIVE = {
    "PENDING",
    "RUNNING",
    "CONFIGURING",
    "COMPLETING",
    "SUSPENDED",
    "REQUEUED",
    "REQUEUE_HOLD",
    "RESIZING",
    "STAGE_OUT",
}


def _files(job: Job) -> Files:
    return Files(Path(), job.rule.name, job.wildcards.job)


def _fail(job: Job, reason: str) -> None:
    """Note that a job failed without a word of its own."""
    files = _files(job)
    make_folder(files.log.parent)
    with files.log.open("a", encoding="utf-8") as log:
        log.write(f"{reason}\n")
    files.write({"state": "failed", "code": 1})


def _asked(*call: str) -> str | None:
    """Return what a tool of SLURM says; None where it fails or is not there."""
    try:
        answer = subprocess.run(call, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return None if answer.returncode else answer.stdout


def _reason(number: str) -> str:
    """Return how SLURM says that a task ended, such as OUT_OF_MEMORY or TIMEOUT."""
    said = _asked("sacct", "--noheader", "--allocations", "--parsable2", "--format=State", f"--jobs={number}")
    if said is None:
        return "no accounting to ask why"
    return said.strip().split("\n")[0] or "no reason on record"


def _largest_array() -> int:
    """Return how many tasks an array may have."""
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", _asked("scontrol", "show", "config") or "")
    return max(1, int(found[1]) - 1) if found else ARRAY_SIZE
