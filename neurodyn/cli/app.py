"""The `neurodyn` command: registers one module per verb and turns errors into exit codes."""

from __future__ import annotations

import importlib
import sys

import typer

from neurodyn.cli.console import show_error, speak_utf8, stop_in_order
from neurodyn.core.processor import keep_freed_memory, use_wide_vectors

VERBS = (
    "demo",
    "preprocess",
    "extract",
    "fetch",
    "train",
    "tune",
    "infer",
    "impute",
    "decode",
    "evaluate",
    "compare",
    "report",
    "run",
    "simulate",
    "convert",
    "inspect",
    "validate",
    "match",
    "list",
    "show",
    "status",
    "doctor",
    "docs",
)


def build() -> typer.Typer:
    """Assemble the application; no verb imports anything heavy before it runs."""
    app = typer.Typer(
        name="neurodyn",
        help="Calcium imaging from raw movie to decoded, reported result.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )
    for verb in VERBS:
        importlib.import_module(f"neurodyn.cli.{verb}").register(app)
    return app


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
