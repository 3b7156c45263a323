"""`neurodyn compare`: tables of scores side by side, tested unit by unit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from neurodyn.cli.common import Out, require_sources
from neurodyn.cli.console import Common, command


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "compare", panel="Analysis", example="neurodyn compare runs/cst runs/pca --units folds -o comparison")(
        compare
    )


def compare(
    common: Common,
    sources: Annotated[list[Path], typer.Argument(help="Tables of scores (CSV), or folders with one.")],
    against: Annotated[
        str | None,
        typer.Option("--against", help="Model the others are tested against (default: the first).", show_default=False),
    ] = None,
    published: Annotated[
        str | None,
        typer.Option("--published", help="Published figures to set beside: a name or a YAML.", show_default=False),
    ] = None,
    units: Annotated[
        Literal["auto", "sessions"],
        typer.Option(
            "--units", help="What is drawn at random: sessions; auto: of one session, blocks of time or neurons."
        ),
    ] = "auto",
    subject: Annotated[
        str | None,
        typer.Option(
            "--subject",
            help="Subjects as units: a pattern of session names, such as '^(m[0-9]+)_'.",
            show_default=False,
        ),
    ] = None,
    output: Out = None,
) -> None:
    """Put models of the same targets into one table with intervals and paired tests, and one figure each."""
    from neurodyn.core.files import check_output
    from neurodyn.report.compare import compare as write_comparison

    folder = output or Path("comparison")
    check_output(folder, whole=False)
    if common.dry_run:
        require_sources(sources)
        common.plan([f"{', '.join(map(str, sources))} -> {folder / 'comparison.html'}"])
        return
    common.product(write_comparison(sources, folder, against, published, units, subject))
