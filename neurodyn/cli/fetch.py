"""`neurodyn fetch`: the only verb that uses the network (besides `demo --real`, which calls it)."""

from __future__ import annotations

import shutil

import typer

from neurodyn.cli import fetch_allen, fetch_dandi
from neurodyn.cli.common import Out
from neurodyn.cli.console import Common, command
from neurodyn.cli.fetching import cache_folder


def register(app: typer.Typer) -> None:
    """Add the verb, a group of commands."""
    group = typer.Typer(name="fetch", help="Fetch public recordings into the cache, or into -o.")
    command(group, "sample", panel="Data in and out", example="neurodyn fetch sample -o movie.tif")(fetch_sample)
    fetch_allen.register(group)
    fetch_dandi.register(group)
    app.add_typer(group, rich_help_panel="Data in and out")


def fetch_sample(common: Common, output: Out = None) -> None:
    """Fetch a real mouse two-photon movie of 2000 frames."""
    from neurodyn.core.files import atomic, check_output
    from neurodyn.fetch.sample import tutorial_movie

    if output is not None:
        check_output(output)
    if common.dry_run:
        common.plan([f"sample movie -> {output or cache_folder()}"])
        return
    path = tutorial_movie(cache_folder())
    if output is not None:
        with atomic(output) as temporary:
            shutil.copyfile(path, temporary)
        path = output
    common.product(path)
