"""`neurodyn status`: what in a folder is done, what is not, why, and how long it will take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neurodyn.cli.console import Common, command
from neurodyn.core.errors import DataError


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "status")(status)


def status(common: Common, folder: Annotated[Path, typer.Argument(help="Output folder of run or train.")]) -> None:
    """Show what became of a pipeline's jobs, failures last, or of a training run."""
    from neurodyn.core.files import read_json
    from neurodyn.workflow.job import PLAN

    if (folder / PLAN).exists():
        _show_jobs(common, folder)
    elif (folder / "config.yaml").exists():
        finished = folder / "status.json"
        state = str(read_json(finished)["state"]) if finished.exists() else "unfinished"
        _show(common, [{"job": "train", "state": state, "product": str(folder)}], [])
    else:
        raise DataError(
            f"{folder} holds no pipeline and no training run.",
            "Expected pipeline.json or config.yaml.",
            "Give the folder you named with -o.",
        )


def _show_jobs(common: Common, folder: Path) -> None:
    from neurodyn.workflow.run import repeat_command
    from neurodyn.workflow.states import ORDER, job_states, summary

    states = sorted(job_states(folder), key=lambda state: ORDER.index(state.state))
    rows: list[dict[str, Any]] = []
    said = [summary(states)]
    for state in states:
        row = {"job": state.name, "state": state.state, "product": state.product, "seconds": state.seconds}
        if state.state in ("failed", "interrupted"):
            row |= {"why": " | ".join(state.tail(folder, 3)), "repeat": repeat_command(folder, state.argv)}
        if state.state == "failed":
            said += [f"{state.name} failed with exit code {state.code}: {row['why']}", f"  Repeat it: {row['repeat']}"]
        rows.append(row)
    _show(common, rows, said)


def _show(common: Common, rows: list[dict[str, Any]], said: list[str]) -> None:
    width = max(len(row["job"]) for row in rows)
    lines = [f"{row['job'].ljust(width)}  {row['state'].ljust(11)}  {_seconds(row)}  {row['product']}" for row in rows]
    common.plan([*lines, *said], jobs=rows)


def _seconds(row: dict[str, Any]) -> str:
    seconds = row.get("seconds")
    return " " * 9 if seconds is None else f"{seconds:7.1f} s"
