"""`neurodyn status`: what in a folder is done, what is not, why, and how long it will take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurodyn.cli.console import Common, command
from neurodyn.core.errors import DataError

if TYPE_CHECKING:
    from neurodyn.runs.folder import RunFolder

TRIALS = ("complete", "pruned", "running", "interrupted", "fail")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "status", panel="Pipelines", example="neurodyn status group")(status)


def status(
    common: Common, folder: Annotated[Path, typer.Argument(help="Output folder of run, train or tune.")]
) -> None:
    """Show what became of a pipeline's jobs, failures last, of a training run, or of the trials of a search."""
    from neurodyn.runs.folder import RunFolder
    from neurodyn.workflow.job import PLAN

    if (folder / PLAN).exists():
        _show_jobs(common, folder)
    elif RunFolder(folder).begun:
        _show_training(common, RunFolder(folder))
    elif (folder / "study.yaml").exists():
        _show_trials(common, folder)
    else:
        raise DataError(
            f"{folder} holds no pipeline, no training run and no search.",
            "Expected pipeline.json, config.yaml or study.yaml.",
            "Give the folder you named with -o.",
        )


def _show_training(common: Common, run: RunFolder) -> None:
    """Show whether a training has ended, and how its model stands beside factor analysis."""
    row: dict[str, Any] = {"job": "train", "state": run.state, "product": str(run.path)}
    said = []
    if run.state == "done" and (health := run.health) is not None:
        row |= {"state": "unhealthy" if health.unhealthy else run.state} | health.plain
        said = [health.warning if health.unhealthy else health.sentence]
    _show(common, [row], said)


def _show_jobs(common: Common, folder: Path) -> None:
    from neurodyn.workflow.states import ORDER, files_of, job_states, repeat_command, summary, unhealthy

    states = sorted(job_states(folder), key=lambda state: ORDER.index(state.state))
    rows: list[dict[str, Any]] = []
    said = [summary(states)]
    for state in states:
        row = {"job": state.name, "state": state.state, "product": state.product, "seconds": state.seconds}
        if state.state in ("failed", "interrupted"):
            row |= {"why": " | ".join(state.tail(folder, 3)), "log": str(files_of(folder, state).log)}
            row |= {"repeat": repeat_command(folder, state.argv)}
        if state.state == "done" and (told := unhealthy(folder, state.argv, state.product)):
            row |= {"unhealthy": told}
            said += told
        if state.held_by:
            row |= {"held_by": state.held_by}
            said.append(f"{state.name} is held back by {', '.join(state.held_by)}.")
        if state.state == "failed":
            said += [f"{state.name} failed with exit code {state.code}: {row['why']}", f"  Log: {row['log']}"]
            said += [f"  Repeat it: {row['repeat']}"]
        rows.append(row)
    _show(common, rows, said)


def _show_trials(common: Common, folder: Path) -> None:
    """Show the trials of a search, those that failed last, and the best."""
    from neurodyn.training.study import best_of, glance
    from neurodyn.workflow.states import tally

    trials = glance(folder)
    rows = [
        {"job": f"trial {trial.number}", "state": trial.state, "seconds": trial.seconds, "loss": trial.value}
        | {"product": "" if trial.value is None else f"loss {trial.value:.6g}"}
        | ({"why": trial.reason} if trial.reason else {})
        for trial in sorted(trials, key=lambda trial: TRIALS.index(trial.state))
    ]
    said = [f"{tally((trial.state for trial in trials), TRIALS)}." if trials else "No trial yet."]
    if (best := best_of(trials)) is not None:
        said.append(f"Best: trial {best.number}, validation {_measure(folder)} {best.value:.6g}.")
    said += [f"trial {trial.number} failed: {trial.reason}" for trial in trials if trial.state == "fail"]
    _show(common, rows, said)


def _measure(study: Path) -> str:
    """Return in words what the trials of a study are compared by."""
    from neurodyn.core.config import load_yaml
    from neurodyn.training.space import MEASURES

    return MEASURES[load_yaml(study / "study.yaml").values.get("settings", {}).get("objective", "loss")]


def _show(common: Common, rows: list[dict[str, Any]], said: list[str]) -> None:
    width = max((len(row["job"]) for row in rows), default=0)
    lines = [f"{row['job'].ljust(width)}  {row['state'].ljust(11)}  {_seconds(row)}  {row['product']}" for row in rows]
    common.plan([*lines, *said], jobs=rows)


def _seconds(row: dict[str, Any]) -> str:
    seconds = row.get("seconds")
    return " " * 9 if seconds is None else f"{seconds:7.1f} s"
