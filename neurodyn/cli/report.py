"""`neurodyn report`: one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurodyn.cli.common import Out, require_sources
from neurodyn.cli.console import Common, command


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "report", panel="Analysis", example="neurodyn report runs/cst -o report.html")(report)


def report(
    common: Common,
    sources: Annotated[list[Path], typer.Argument(help="Run folders, recordings or folders with scores.")],
    published: Annotated[
        str | None,
        typer.Option(
            "--published",
            help="Published figures to set beside scores of latents: calfads-table1, or a YAML.",
            show_default=False,
        ),
    ] = None,
    output: Out = None,
) -> None:
    """Write what was done and what came out as one HTML page."""
    from neurodyn.core.files import check_output
    from neurodyn.report.page import report as write_report

    first = sources[0]
    target = output or (first / "report.html" if first.suffix != ".zarr" else first.with_name("report.html"))
    check_output(target, [source for source in sources if source.is_file()])
    if common.dry_run:
        require_sources(sources)
        common.plan([f"{', '.join(map(str, sources))} -> {target}"])
        return
    common.product(write_report(sources, target, published))
