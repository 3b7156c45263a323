"""`neurodyn docs`: the pages of the manual that this program writes about itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

from neurodyn.cli.common import Out
from neurodyn.cli.console import Common, command
from neurodyn.cli.parameters import Parameter, parameters_of


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "docs", panel="About", example="neurodyn docs -o docs")(docs)


def docs(common: Common, output: Out = None) -> None:
    """Write a page per command, and one on the steps of preprocessing: their methods text and sources."""
    from neurodyn.cli.app import build
    from neurodyn.core.files import atomic, check_output

    folder = output or Path("docs")
    check_output(folder, whole=False)
    pages = {f"commands/{name}.md": text for name, text in command_pages(build())}
    pages["steps.md"] = steps_page()
    if common.dry_run:
        common.plan([str(folder / name) for name in pages])
        return
    for name, text in pages.items():
        with atomic(folder / name) as path:
            path.write_text(text, encoding="utf-8")
    common.product(folder)


def command_pages(app: typer.Typer, prefix: str = "neurodyn") -> Iterator[tuple[str, str]]:
    """Yield name and page of every command of an application, those of groups within it included."""
    for each in app.registered_commands:
        if each.callback is not None:
            yield str(each.name), _page(each.callback, f"{prefix} {each.name}")
    for group in app.registered_groups:
        if group.typer_instance is not None:
            own = group.name if isinstance(group.name, str) else group.typer_instance.info.name
            for name, text in command_pages(group.typer_instance, f"{prefix} {own}"):
                yield f"{own}-{name}", text


def _page(callback: Callable[..., Any], name: str) -> str:
    parameters = [Parameter.of(p) for p in parameters_of(callback).values()]
    arguments = [p for p in parameters if not p.words]
    shape = " ".join([name, "[OPTIONS]", *(p.metavar for p in arguments)])
    lines = [f"# {name}", "", _plain(callback.__doc__), "", "```", shape, "```", ""]
    if arguments:
        lines += ["| argument | meaning |", "|---|---|"]
        lines += [f"| `{p.metavar}` | {_cell(p.help)} |" for p in arguments] + [""]
    lines += ["| option | default | meaning |", "|---|---|---|"]
    for p in parameters:
        if p.words:
            names = ", ".join(f"`{word}`" for word in p.words)
            lines.append(f"| {names}{f' {_cell(p.metavar)}' if p.metavar else ''} | {p.default} | {_cell(p.help)} |")
    return "\n".join([*lines, ""])


def _plain(text: str | None) -> str:
    return " ".join((text or "").split())


def _cell(text: str | None) -> str:
    return _plain(text).replace("|", "\\|")


def steps_page() -> str:
    """Return what a methods section says of every step with its defaults, and where it comes from."""
    from pydantic import ValidationError

    from neurodyn.preprocess import STEPS

    lines = ["# Steps of preprocessing", ""]
    lines += ["What a report's methods section says of each, with default parameters (`neurodyn show step NAME`).", ""]
    for name in STEPS.names():
        step = STEPS.get(name)
        lines += [f"## {name}", ""]
        try:
            made = step(step.Params.model_validate({}))
            lines += [made.methods(), "", *([f"Source: {made.source}", ""] if made.source else [])]
        except ValidationError as error:
            needed = ", ".join(str(fault["loc"][0]) for fault in error.errors())
            lines += [f"Needs {needed}.", "", *([f"Source: {step.citation}", ""] if step.citation else [])]
    return "\n".join(lines)
