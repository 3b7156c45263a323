"""`neurodyn view`: a window on a recording in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurodyn.cli.common import Axes, Channels, Fs, Key, ReaderName, read_options, require_sources
from neurodyn.cli.console import Common, command
from neurodyn.core.errors import ConfigError

if TYPE_CHECKING:
    from neurodyn.view.scene import Scene


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "view", panel="Analysis", example="neurodyn view rois.zarr", sections=("source",))(view)


def view(
    common: Common,
    source: Annotated[Path, typer.Argument(help="Recording (.zarr), run folder, or any other source.")],
    movie: Annotated[
        Path | None,
        typer.Option(
            "--movie", help="Movie to show under the cells, where the recording has none.", show_default=False
        ),
    ] = None,
    responses: Annotated[
        Path | None,
        typer.Option(
            "--responses", help="What neurodyn respond wrote of these cells: tuning is shown, too.", show_default=False
        ),
    ] = None,
    cells: Annotated[
        Path | None,
        typer.Option(
            "--cells", help="Log of the curation (default: cells.csv beside the recording).", show_default=False
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export", help="Write the page into this file instead, to be opened offline.", show_default=False
        ),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", help="Port of 127.0.0.1; 0 for any that is free.", min=0, max=65535)
    ] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address, open nothing.")] = False,
    fs: Fs = None,
    channels: Channels = None,
    axes: Axes = None,
    key: Key = None,
    reader: ReaderName = None,
) -> None:
    """Show movie, cells, traces and event averages in the browser; keep, drop and merge cells with the keyboard.

    The page is served on this machine alone, until Ctrl-C. Every action is written to cells.csv at once, which
    `neurodyn curate` applies. With --export, write one file that shows the same offline, without the movie.
    """
    from neurodyn.core.files import check_output
    from neurodyn.view.scene import open_scene, with_tuning

    require_sources([source, *(each for each in (movie, responses) if each)])
    options = read_options(common, fs=fs, channels=channels, axes=axes, key=key)
    scene = open_scene(source, options, reader, movie)
    scene = scene if responses is None else with_tuning(scene, responses)
    log = cells or scene.log
    check_output(log, [source])
    if export is not None:
        _export(common, scene, log, export, [source])
        return
    if common.dry_run:
        _plan(common, scene, log)
        return
    _serve(common, scene, log, port, no_browser)


def _plan(common: Common, scene: Scene, log: Path) -> None:
    from neurodyn.view.curation import Curation

    Curation(log, scene.cells, scene.recording.session).actions()
    lines = [
        f"cells      {len(scene.cells)}",
        f"traces     {', '.join(scene.traces.variables) or 'none'}",
        f"pictures   {', '.join(scene.picture_names) or 'none'}",
        f"curation   {log}{'' if log.exists() else ' (new)'}",
    ]
    common.plan(lines, cells=len(scene.cells), curation=str(log))


def _serve(common: Common, scene: Scene, log: Path, port: int, no_browser: bool) -> None:
    from neurodyn.core.processor import return_freed_memory
    from neurodyn.view.window import Window

    return_freed_memory()
    window = Window(scene, log, port)
    try:
        window.start()
        if common.json:
            common.product(window.url, cells=str(log))
        common.say(f"{scene.recording.session}: {len(scene.cells)} cells. Open this in a browser on this machine:")
        common.say(f"  {window.url}")
        common.say(f"Verdicts go to {log}. Stop with Ctrl-C.")
        if not no_browser and not window.browse():
            common.say("There is no browser here: open the address, or see docs/view.md for a machine far away.")
        window.wait()
    except KeyboardInterrupt as stop:
        if type(stop) is not KeyboardInterrupt:  # SIGTERM keeps its exit code
            raise
        common.say("\nStopped.")
    finally:
        window.close()


def _export(common: Common, scene: Scene, log: Path, target: Path, inputs: list[Path]) -> None:
    from neurodyn.core.files import check_output
    from neurodyn.view.curation import Curation
    from neurodyn.view.export import check_size, export

    if target.suffix != ".html":
        raise ConfigError(
            f"{target} is no name of a page.", "Expected FILE.html.", f"Type: --export {target.stem}.html"
        )
    check_output(target, inputs)
    check_size(scene)
    if common.dry_run:
        common.plan([f"{scene.where} -> {target}"])
        return
    common.product(export(scene, Curation(log, scene.cells, scene.recording.session), target))
