"""What the commands of `neurodyn fetch` share: the cache, options of downloads, and how products are told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from neurodyn.cli.console import Common
from neurodyn.core.errors import NeurodynError

T = TypeVar("T")

Convert = Annotated[bool, typer.Option("--convert", help="Make a recording (.zarr) of everything fetched.")]
Offline = Annotated[bool, typer.Option("--offline", help="Make no request: use what the cache has, or fail.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0.001, help="Longest wait for an answer, s.")]
Retries = Annotated[int, typer.Option("--retries", min=0, help="How often to try again, with growing pauses.")]


def cache_folder() -> Path:
    """Return the cache: ``NEURODYN_CACHE``, or the system's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("NEURODYN_CACHE") or Path(base) / "neurodyn")


def deliver(
    common: Common, outcomes: Iterable[tuple[T, Path | NeurodynError]], product: Callable[[T, Path], Path]
) -> None:
    """Make the product of everything that came and print it; one failure spares the others and is told at the end.

    Parameters
    ----------
    product
        Takes what was wanted and the file that came, and returns what to print.
    """
    errors: list[NeurodynError] = []
    for wanted, outcome in outcomes:
        try:
            if isinstance(outcome, NeurodynError):
                raise outcome
            common.product(product(wanted, outcome))
        except NeurodynError as error:
            errors.append(error)
    for error in errors[:-1]:
        common.say(f"{error.what} {error.found}")
    if errors:
        raise errors[-1]


def show(common: Common, rows: list[dict[str, Any]], **facts: Any) -> None:
    """Print rows as a table on stdout, or the facts as one JSON object with ``--json``."""
    table = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    common.plan(lines, **facts)
