"""Options named in messages, help texts, pages and pipelines are options of the commands named beside them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from neurodyn.cli.app import build
from neurodyn.cli.parameters import Parameter, parameters_of

ROOT = Path(__file__).parents[2]
OPTION = re.compile(r"(?<![\w/-])--[a-z][a-z-]*[a-z]")
COMMAND = re.compile(r"neurodyn ((?:fetch )?[a-z]+)((?:(?!, )[^`\n;|])*)")
OF_OTHERS = {  # programs that we call, or tell to type
    "--upgrade", "--cores", "--directory", "--executor", "--ignore-incomplete", "--jobs", "--keep-incomplete", "--nolock",
    "--quiet", "--rerun-triggers", "--snakefile", "--workflow-profile", "--array", "--chdir", "--cpus-per-task", "--gres",
    "--job-name", "--mem", "--output", "--parsable", "--requeue", "--signal", "--time", "--account", "--constraint",
    "--partition", "--qos", "--format", "--name", "--noheader", "--states", "--allocations", "--parsable2", "--ntasks",
    "--script", "--no-project", "--isolated", "--help", "--version", "--short", "--porcelain",
    "--install-completion", "--show-completion", "--python", "--no-deps", "--only-binary", "--torch-backend", "--rm", "--nv", "--build-arg",
}  # fmt: skip


@cache
def options() -> dict[str, set[str]]:
    """Return the options of every command, by its words."""
    found: dict[str, set[str]] = {}

    def add(app, prefix: str) -> None:
        for each in app.registered_commands:
            words = [word for p in parameters_of(each.callback).values() for word in Parameter.of(p).words]
            found[f"{prefix}{each.name}"] = {part for word in words for part in word.split("/")} | {"--help"}
        for group in app.registered_groups:
            add(group.typer_instance, f"{group.typer_instance.info.name} ")

    add(build(), "")
    return found


def strange(text: str) -> Iterator[str]:
    """Yield the options in a text that no command has, or not the one that is named before it."""
    everywhere = set().union(*options().values()) | OF_OTHERS
    yield from (word for word in OPTION.findall(text) if word not in everywhere)
    for command, rest in COMMAND.findall(text):
        known = options().get(command, options().get(command.partition(" ")[0]))
        if known is not None:
            yield from (f"{command} {word}" for word in OPTION.findall(rest) if word not in known)


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the strings of a module, with {} for what is put into them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def texts() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "neurodyn").rglob("*.py")):
        if "isolated" not in path.parts:
            yield from ((f"{path.relative_to(ROOT)}:{line}", text) for line, text in strings(path))
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "pipelines").rglob("*.yaml")]
    for path in [*pages, *(ROOT / "examples").rglob("*.sh"), *(ROOT / "models").glob("*.yaml")]:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            yield f"{path.relative_to(ROOT)}:{number}", line


def test_every_option_that_is_named_exists() -> None:
    wrong = [f"{place}: {word}" for place, text in texts() for word in strange(text)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "text", ["Use --parts test", "neurodyn train x --target y", "neurodyn fetch dandi 1 --container 2"]
)
def test_an_option_that_does_not_exist_is_found(text: str) -> None:
    assert list(strange(text))


def test_an_option_that_exists_is_not() -> None:
    said = "Type: neurodyn decode RUN --target x --set blank=drop; a test with --folds 3, and `neurodyn train m --seed 0-4`"
    assert not list(strange(said))


def test_every_command_named_exists() -> None:
    known = {name.partition(" ")[0] for name in options()} | {"jobs"}
    named = re.compile(r"(?:[`:(] ?|&& )neurodyn ([a-z]+)")
    wrong = [f"{place}: {word}" for place, text in texts() for word in named.findall(text) if word not in known]
    assert not wrong, "\n".join(wrong)
