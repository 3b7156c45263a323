"""`neurodyn demo`: the whole chain on an embedded default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurodyn.cli.common import ExistingOption, Out
from neurodyn.cli.console import Common, command
from neurodyn.cli.decode import table
from neurodyn.cli.run import run_pipeline


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "demo", panel="Start", example="neurodyn demo -o demo", sections=None)(demo)


def demo(
    common: Common,
    output: Out = None,
    real: Annotated[
        bool, typer.Option("--real", help="On a real mouse two-photon movie, fetched once into the cache.")
    ] = False,
    existing: ExistingOption = "error",
) -> None:
    """Simulate or fetch a recording and take it to a decoded report."""
    from neurodyn.workflow.run import How

    pipeline = "demo-real" if real else "demo"
    folder = output or Path(f"neurodyn-{pipeline}")
    run_pipeline(common, pipeline, [], folder, How(), existing)
    if common.dry_run:
        return
    for scores in sorted(folder.glob("**/scores*.csv")):
        common.say(f"\n{scores.relative_to(folder)}\n{table(scores)}")
    common.product(folder / "report.html")
