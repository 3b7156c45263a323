"""`neurodyn status`: what in a folder is done, what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurodyn.cli.console import Common, command
from neurodyn.core.errors import DataError


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "status")(status)


def status(common: Common, folder: Annotated[Path, typer.Argument(help="Output folder of run or train.")]) -> None:
    """Show the state of a pipeline's jobs or of a training run."""
    from neurodyn.core.files import read_json
    from neurodyn.workflow.run import PLAN, job_states

    if (folder / PLAN).exists():
        rows = job_states(folder)
    elif (folder / "config.yaml").exists():
        finished = folder / "status.json"
        state = str(read_json(finished)["state"]) if finished.exists() else "unfinished"
        rows = [{"job": "train", "state": state, "product": str(folder)}]
    else:
        raise DataError(
            f"{folder} holds no pipeline and no training run.",
            "Expected pipeline.json or config.yaml.",
            "Give the folder you named with -o.",
        )
    width = max(len(row["job"]) for row in rows)
    common.plan([f"{row['job'].ljust(width)}  {row['state'].ljust(10)}  {row['product']}" for row in rows], jobs=rows)
