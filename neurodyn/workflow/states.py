"""What became of a pipeline's jobs: done, running, failed and why, and how long the rest will take."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Literal

from neurodyn.core.files import is_locked, read_json
from neurodyn.runs.folder import RunFolder
from neurodyn.workflow.job import PLAN, Files
from neurodyn.workflow.made import Job
from neurodyn.workflow.matrix import Cell
from neurodyn.workflow.pipeline import Plan

State = Literal["done", "running", "failed", "interrupted", "waiting", "held back"]
ORDER: tuple[State, ...] = ("done", "running", "waiting", "held back", "interrupted", "failed")


@dataclass(frozen=True)
class JobState:
    """A job and what became of it.

    Parameters
    ----------
    rule, name, argv, product
        The job.
    state
        "interrupted" where it had begun and nobody runs it any more; "held back" where a job that it needs failed.
    seconds
        How long it took, where it ended.
    code
        Its exit code, where it ended.
    needs
        Jobs whose products it reads.
    cell
        Its place in the pipeline's matrix, by axis.
    held_by
        Failed jobs without which it cannot begin.
    """

    rule: str
    name: str
    argv: tuple[str, ...]
    product: str
    state: State
    seconds: float | None = None
    code: int | None = None
    needs: tuple[str, ...] = ()
    cell: Cell = field(default_factory=dict)
    held_by: tuple[str, ...] = ()

    def tail(self, folder: Path, lines: int) -> list[str]:
        """Return the last lines of its log."""
        log = Files(folder, self.rule, self.name).log
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        return text.strip().splitlines()[-lines:]


def files_of(folder: Path, job: Job | JobState) -> Files:
    """Return where a job's traces lie."""
    return Files(folder, job.rule, job.name)


def job_states(folder: Path, alive: bool | None = None) -> list[JobState]:
    """Return what became of every job of a pipeline's output folder.

    Parameters
    ----------
    alive
        Whether somebody runs its jobs now (default: as the folder's lock says).

    Raises
    ------
    DataError
        If the folder holds no pipeline.
    """
    alive = is_locked(folder.parent / f"{folder.name}.run") if alive is None else alive
    states = []
    plan = read_json(folder / PLAN)
    for job in plan["jobs"]:
        files = Files(folder, job["rule"], job["name"])
        facts = files.read()
        state: State = "done" if files.done.exists() else facts["state"]
        if state == "running" and not alive:
            state = "interrupted"
        what = (job["rule"], job["name"], tuple(job["argv"]), job["product"])
        place = (tuple(job["needs"]), plan.get("cells", {}).get(job["name"], {}))
        states.append(JobState(*what, state, facts.get("seconds"), facts.get("code"), *place))
    return _held_back(states)


def _held_back(states: Sequence[JobState]) -> list[JobState]:
    """Mark what waits for a job that failed, or for one that is held back itself; jobs stand after those they need."""
    lost: dict[str, tuple[str, ...]] = {}
    marked = []
    for state in states:
        causes = tuple(dict.fromkeys(cause for need in state.needs for cause in lost.get(need, ())))
        held = state.state == "waiting" and bool(causes)
        if held or state.state == "failed":
            lost[state.name] = causes if held else (state.name,)
        marked.append(replace(state, state="held back", held_by=causes) if held else state)
    return marked


def unhealthy(folder: Path, argv: Sequence[str], product: str) -> list[str]:
    """Say of a job that trained, run by run, where a latent model is below factor analysis; nothing of other jobs.

    Such a run is a finished one, and what needs it goes on.
    """
    if argv[0] != "train":
        return []
    runs = [folder / product, *sorted((folder / product).glob("seed*"))]
    found = [(run, RunFolder(run).health) for run in runs]
    return [f"{run.relative_to(folder)}: {health.warning}" for run, health in found if health and health.unhealthy]


def repeat_command(folder: Path, argv: Sequence[str]) -> str:
    """Return the line that repeats a job by hand."""
    return f"cd {shlex.quote(str(folder))} && neurodyn {shlex.join(argv)}"


def summary(states: Sequence[JobState], parallel: int = 1) -> str:
    """Return in a line how many jobs are in which state, and how long the rest will take."""
    said = tally((state.state for state in states), ORDER)
    left = seconds_left(states, parallel)
    at_a_time = "one job" if parallel == 1 else f"{parallel} jobs"
    return said + (f"; about {duration(left)} left with {at_a_time} at a time." if left else ".")


def tally(states: Iterable[str], order: Iterable[str]) -> str:
    """Return how many there are of each state: 3 done, 1 failed."""
    counts = Counter(states)
    return ", ".join(f"{counts[state]} {state}" for state in order if counts[state])


def duration(seconds: float) -> str:
    """Return a time for people: 40 s, 12 min or 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def foreseen(folder: Path, plan: Plan, parallel: int) -> list[str]:
    """Return lines on a plan that is not run yet: how many jobs of which name, what is done, what is asked for, how long."""
    known = job_states(folder) if (folder / PLAN).exists() else []
    same = {state.name: state for state in known}
    states = []
    for job in plan.jobs:
        state = same.get(job.name)
        done = state is not None and state.argv == job.argv and state.state == "done"
        states.append(state if state and done else JobState(job.rule, job.name, job.argv, job.product, "waiting"))
    lines = []
    for rule, count in Counter(job.rule for job in plan.jobs).items():
        asked = plan.resources[rule]
        wants = [f"{asked.cpus} CPU core{'s' if asked.cpus > 1 else ''}"]
        wants += [f"{asked.gpus} GPU{'s' if asked.gpus > 1 else ''}"] if asked.gpus else []
        wants += [f"{asked.memory_gb:g} GB"] if asked.memory_gb else []
        wants += [f"at most {duration(60 * asked.minutes)}"] if asked.minutes else []
        lines.append(f"{rule}: {count} job{'s' if count > 1 else ''} of {', '.join(wants)}")
    limit = sum((plan.resources[s.rule].minutes or 0) * 60 for s in states if s.state != "done") / parallel
    told = all(asked.minutes for asked in plan.resources.values())
    return [*lines, summary(states, parallel), *([f"At most {duration(limit)} by their limits."] if told else [])]


def seconds_left(states: Sequence[JobState], parallel: int = 1) -> float | None:
    """Return how long the jobs that are not done will take, were each as long as those of its name that are.

    Parameters
    ----------
    parallel
        Jobs at a time.

    Returns
    -------
    float or None
        Seconds; None where nothing is done by which to judge.
    """
    took: dict[str, list[float]] = {}
    for state in states:
        if state.state == "done" and state.seconds is not None:
            took.setdefault(state.rule, []).append(state.seconds)
    if not took:
        return None
    usual = fmean(seconds for several in took.values() for seconds in several)
    means = {rule: fmean(several) for rule, several in took.items()}
    return sum(means.get(state.rule, usual) for state in states if state.state != "done") / parallel
