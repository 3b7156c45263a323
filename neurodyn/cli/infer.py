"""`neurodyn infer`: latents, reconstruction and attention of held-out windows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from neurodyn.cli.common import Gpu
from neurodyn.cli.console import Common, command, progress_bar
from neurodyn.core.errors import ConfigError

Attention = Annotated[
    str | None,
    typer.Option(
        "--attention", help="Also write attention apart by: layer, head, query (with commas).", show_default=False
    ),
]
Few = Annotated[
    int | None,
    typer.Option("--few", min=1, help="Also ask for so many of the times of --at together.", show_default=False),
]
Horizon = Annotated[
    float | None,
    typer.Option(
        "--horizon",
        help="Forecast the last so many seconds of every window from the frames before.",
        show_default=False,
    ),
]
Stream = Annotated[
    str | None,
    typer.Option(
        "--stream",
        help="Forecast frame by frame: from stdin (-), one JSON list of numbers per line, or from a recording that grows.",
        show_default=False,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, help="CPU threads (default: those of training).", show_default=False),
]
At = Annotated[
    str | None,
    typer.Option(
        "--at",
        help="Also predict at these times within the window, s: 0.05,0.15; truth: where truth is known; frames: nowhere else.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "infer", panel="Models", example="neurodyn infer runs/cst")(infer)


def infer(
    common: Common,
    run: Annotated[Path, typer.Argument(help="Run folder of a trained model.")],
    recordings: Annotated[
        list[Path] | None, typer.Argument(help="Other recordings (default: those of the run).", show_default=False)
    ] = None,
    part: Annotated[
        str, typer.Option("--on", help="Windows to infer: test, valid, train or all; several with commas.")
    ] = "test",
    gpu: Gpu = "auto",
    attention: Attention = None,
    few: Few = None,
    horizon: Horizon = None,
    stream: Stream = None,
    threads: Threads = None,
    at: At = None,
) -> None:
    """Predict held-out windows and score hidden frames against linear interpolation."""
    from neurodyn.training.infer import check
    from neurodyn.training.infer import infer as run_inference

    parts = ("train", "valid", "test") if part == "all" else tuple(part.split(","))
    asked: dict[str, Any] = {"parts": parts, "gpu": gpu, "maps": attention.split(",") if attention else ()}
    asked |= {"at": _times(at), "few": few, "horizon": horizon}
    if stream is not None:
        _stream(common, run, stream, gpu, threads)
        return
    if common.dry_run:
        check(run, recordings or None, **asked)
        common.plan([f"{run}: {', '.join(parts)} windows -> {run / 'prediction.zarr'}"])
        return
    with progress_bar(common) as report:
        path = run_inference(run, recordings or None, threads=threads, progress=report, **asked)
    common.product(path)


def _times(text: str | None) -> list[float] | Literal["truth"] | None:
    if text == "truth":
        return "truth"
    try:
        return None if text in (None, "frames") else [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(
            f"--at {text} cannot be read.", "Expected seconds with commas.", "Example: --at 0.05,0.15"
        ) from error


def _stream(common: Common, run: Path, source: str, gpu: str, threads: int | None) -> None:
    from neurodyn.training.stream import Streamer, frames_of_lines, growing_frames, stream_forecasts

    streamer = Streamer.open(run, gpu, threads)
    if common.dry_run:
        common.plan([f"{run}: forecasts of {source}, frame by frame -> stdout"])
        return
    frames = frames_of_lines(sys.stdin, streamer) if source == "-" else growing_frames(Path(source), streamer)
    common.say(stream_forecasts(streamer, frames, sys.stdout).said)
