"""`neurodyn infer`: latents, reconstruction and attention of held-out windows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurodyn.cli.common import ExistingOption, Gpu
from neurodyn.cli.console import Common, command, progress_bar


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "infer")(infer)


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
    existing: ExistingOption = "error",
) -> None:
    """Predict held-out windows and score hidden frames against linear interpolation."""
    from neurodyn.training.infer import infer as run_inference

    parts = ("train", "valid", "test") if part == "all" else tuple(part.split(","))
    if common.dry_run:
        common.plan([f"{run}: {', '.join(parts)} windows -> {run / 'prediction.zarr'}"])
        return
    with progress_bar(common) as report:
        path = run_inference(run, recordings or None, parts=parts, gpu=gpu, existing=existing, progress=report)
    common.product(path)
