"""The `neurodyn` command: registers one module per verb and turns errors into exit codes."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
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


HELP = ([], ["-h"], ["--help"])
OPTIONS = (
    ("--version", "Print the version and exit."),
    ("--install-completion", "Install completion for the current shell."),
    ("--show-completion", "Show that completion, to copy it."),
    ("--help, -h", "Show this message; after a command, its options."),
)


def build(verbs: Iterable[str] = VERBS) -> typer.Typer:
    """Assemble the application, or the part of it that has these verbs; none imports anything heavy before it runs."""
    app = typer.Typer(
        name="neurodyn",
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )
    app.callback(invoke_without_command=True)(start)
    for verb in verbs:
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
        typer.echo(overview())


def asked(words: Sequence[str]) -> Sequence[str]:
    """Return the one verb that a command line begins with, or all where it begins with none."""
    verb = words[0].replace("-", "_") if words else ""
    return (verb,) if verb in VERBS else VERBS


def overview() -> str:
    """Return all verbs by panel, each with its first paragraph, as wide as the terminal.

    Written here because the library that draws the commands' own help takes longer to import than all else together.
    """
    panels: dict[str, list[tuple[str, str]]] = {}
    for panel, name, text in _summaries(build()):
        panels.setdefault(panel, []).append((name, text))
    panels["Options"] = list(OPTIONS)
    width = min(100, shutil.get_terminal_size().columns)
    lines = ["Usage: neurodyn COMMAND [OPTIONS] [ARGUMENTS]...", "", str(start.__doc__)]
    for panel, rows in panels.items():
        column = max(12, *(len(name) for name, _ in rows)) + 4
        wrap = textwrap.TextWrapper(width, subsequent_indent=" " * column, break_on_hyphens=False)
        lines += ["", typer.style(panel, bold=True)]
        lines += [wrap.fill(f"  {name}".ljust(column) + text) for name, text in rows]
    return "\n".join(lines)


def _summaries(app: typer.Typer) -> Iterator[tuple[str, str, str]]:
    for each in app.registered_commands:
        paragraph = str(each.callback.__doc__).split("\n\n")[0]
        yield str(each.rich_help_panel), str(each.name), " ".join(paragraph.split())
    for group in app.registered_groups:
        if group.typer_instance is not None:
            info = group.typer_instance.info
            yield str(group.rich_help_panel), str(info.name), str(info.help)


def main() -> None:
    """Run the command line and exit with its code."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # else every installed package is searched for some
    use_wide_vectors()
    keep_freed_memory()
    stop_in_order()
    speak_utf8()
    words = sys.argv[1:]
    if words in HELP:
        typer.echo(overview())
        sys.exit(0)
    try:
        code = build(asked(words))(prog_name="neurodyn", standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        code = show_error(error)
    sys.exit(code if isinstance(code, int) else 0)
