"""`neurodyn fetch`: the only verb that uses the network (besides `demo --real`, which calls it)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated, Literal

import typer

from neurodyn.cli.common import Out
from neurodyn.cli.console import Common, command


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "fetch")(fetch)


def cache_folder() -> Path:
    """Return the cache: ``NEURODYN_CACHE``, or the system's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("NEURODYN_CACHE") or Path(base) / "neurodyn")


def fetch(
    common: Common,
    what: Annotated[
        Literal["sample"], typer.Argument(help="sample: a real mouse two-photon movie (2000 frames).")
    ] = "sample",
    output: Out = None,
) -> None:
    """Fetch a public recording into the cache, checked by its SHA-256."""
    from neurodyn.core.files import atomic
    from neurodyn.data.sample import tutorial_movie

    if common.dry_run:
        common.plan([f"sample movie -> {output or cache_folder()}"])
        return
    path = tutorial_movie(cache_folder())
    if output is not None:
        with atomic(output) as temporary:
            shutil.copyfile(path, temporary)
        path = output
    common.product(path)
