"""`neurodyn respond`: what every cell does when something happens, tuning with intervals, and what of it is chance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from neurodyn.cli.common import Out, require_sources, resolve_section
from neurodyn.cli.console import Common, command, progress_bar
from neurodyn.core.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(
        app,
        "respond",
        panel="Analysis",
        example="neurodyn respond clean.zarr --target direction",
        sections=None,
    )(respond)


def respond(
    common: Common,
    source: Annotated[Path, typer.Argument(help="A recording.")],
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            help="Stimulus or behaviour column, or two with a comma; direction%180 takes the rest (default: events alone).",
            show_default=False,
        ),
    ] = None,
    glm: Annotated[
        str | None,
        typer.Option(
            "--glm",
            help="Instead of a target: stimulus and behaviour columns in one model, with commas; events for onsets alone.",
            show_default=False,
        ),
    ] = None,
    variable: Annotated[
        str | None,
        typer.Option("--variable", help="Neural variable (default: dff, else the most processed).", show_default=False),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            "--window",
            help="Response window in s from the onset, 0.2,1.5; or found: where the population responds "
            "(default: while the event lasts).",
            show_default=False,
        ),
    ] = None,
    measure: Annotated[
        Literal["mean", "peak", "area"] | None,
        typer.Option("--measure", help="What of the window is a response (default: mean).", show_default=False),
    ] = None,
    shuffles: Annotated[
        int | None,
        typer.Option(
            "--shuffles", min=0, help="Null labels: permutations, or shifts of behaviour.", show_default=False
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of every draw.", show_default=False)] = None,
    output: Out = None,
) -> None:
    """Align every cell to events, take its tuning to a stimulus or behaviour, and say what of it is more than chance.

    Writes a folder: cells.csv, a row per cell; tuning.csv; responses.zarr with every aligned trial; -o NAME.csv, .mat, .nwb
    or .zarr writes one file. `neurodyn report` of the folder draws it. --glm direction,speed instead asks what each of several
    stimuli and behaviours tells that the others do not, and writes contributions.csv and kernels.csv.
    """
    from neurodyn.data.recording import Recording
    from neurodyn.respond.output import check_format, write_responses
    from neurodyn.respond.run import check
    from neurodyn.respond.settings import RespondConfig

    given: dict[str, Any] = {
        "target": target,
        "glm": {"regressors": glm} if glm else None,
        "variable": variable,
        "measure": measure,
    }
    given |= {"shuffles": shuffles, "seed": seed}
    config = resolve_section(common, "respond", RespondConfig, given | {"window": _window(window)})
    require_sources([source])
    check_format(output or source.with_suffix(".respond"), source)
    if common.dry_run:
        check(Recording.open(source), config)
        common.plan([f"{key}: {value}" for key, value in config.model_dump().items()])
        return
    with progress_bar(common) as report:
        path = write_responses(source, config, output, report)
    common.say(told(path))
    common.product(path)


def _window(text: str | None) -> list[float] | str | None:
    """Read two numbers with a comma, or the word.

    Raises
    ------
    ConfigError
        If it is neither.
    """
    if text in (None, "found"):
        return text
    try:
        first, stop = map(float, str(text).split(","))
    except ValueError as error:
        raise ConfigError(
            f"--window {text} cannot be read.", "Expected two numbers in s, or found.", "Example: --window 0,1.5"
        ) from error
    return [first, stop]


def told(path: Path) -> str:
    """Return what the population does, for the terminal; of a single file, where it is."""
    from neurodyn.respond.output import open_responses
    from neurodyn.respond.population import reading, sentences

    if path.suffix in (".csv", ".mat", ".nwb"):
        return f"{path} has what was found; a folder (no -o) has every trial, and is drawn by: neurodyn report FOLDER"
    found = open_responses(path)
    return "\n".join([*sentences(found), *reading(found)])
