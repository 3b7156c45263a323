"""The `neurodyn` command: registers one module per verb and turns errors into exit codes."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated

import typer

from neurodyn.cli.console import show_error, speak_utf8, stop_in_order
from neurodyn.core.processor import keep_freed_memory, use_wide_vectors

VERBS = (
    "demo",
    "inspect",
    "convert",
    "fetch",
    "validate",
    "simulate",
    "match",
    "preprocess",
    "extract",
    "view",
    "curate",
    "train",
    "train_spikes",
    "tune",
    "infer",
    "impute",
    "respond",
    "denoise",
    "decode",
    "evaluate",
    "compare",
    "report",
    "run",
    "status",
    "list",
    "show",
    "doctor",
    "docs",
)


def build() -> typer.Typer:
    """Assemble the application; no verb imports anything heavy before it runs."""
    app = typer.Typer(
        name="neurodyn",
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )
    app.callback(invoke_without_command=True)(start)
    for verb in VERBS:
        importlib.import_module(f"neurodyn.cli.{verb}").register(app)
    return app


def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Calcium imaging from raw movie to decoded, reported result."""
    if version:
        from neurodyn.core.provenance import version as installed

        sys.stdout.write(f"neurodyn {installed()}\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command line and exit with its code."""
    use_wide_vectors()
    keep_freed_memory()
    stop_in_order()
    speak_utf8()
    try:
        code = build()(prog_name="neurodyn", standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        code = show_error(error)
    sys.exit(code if isinstance(code, int) else 0)
