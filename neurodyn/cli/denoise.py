"""`neurodyn denoise`: a movie or traces with every entry predicted blind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurodyn.cli.common import ExistingOption, Out, make_recording, request_id, require_sources, resolve_section
from neurodyn.cli.console import Common, command, progress_bar


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(
        app,
        "denoise",
        panel="Models",
        example="neurodyn denoise movie.zarr --run runs/denoise -o clean.zarr",
        sections=None,
    )(denoise)


def denoise(
    common: Common,
    source: Annotated[Path, typer.Argument(help="Recording (.zarr) to denoise.")],
    run: Annotated[Path, typer.Option("--run", help="Run folder of a trained model that reconstructs.")],
    mix: Annotated[
        bool | None,
        typer.Option("--mix", help="Weigh prediction and observation by their variances.", show_default=False),
    ] = None,
    output: Out = None,
    existing: ExistingOption = "error",
) -> None:
    """Predict every frame of a movie or of traces without its own noise; write it in place of what was recorded.

    The preset denoise leaves out single pixels (neurodyn train denoise RECORDING -o runs/denoise); from other models whole
    frames are hidden, one at a time. What was hidden, the noise of the recording and what is left of it go with the output.
    """
    from neurodyn.core.extras import require
    from neurodyn.core.files import check_output, sha256
    from neurodyn.core.provenance import version

    require("torch", "Denoising")
    from neurodyn.training.denoise import DenoiseConfig, opened
    from neurodyn.training.denoise import denoise as predict

    require_sources([source])
    config = resolve_section(common, "denoise", DenoiseConfig, {"mix": mix})
    target = output or source.with_name(f"{source.stem}-denoised.zarr")
    check_output(target, [source])
    if common.dry_run:
        work = opened(source, run, config)
        common.plan([f"{source} -> {target}, '{work.name}' by {work.run.config.name}"], **config.model_dump())
        return
    weights = run / "model.safetensors"
    made_of = {"source": sha256(source), "run": str(run), "weights": sha256(weights) if weights.is_file() else ""}
    request = request_id(**made_of, denoise=config.model_dump(mode="json"), version=version())

    def write() -> None:
        with progress_bar(common) as report:
            predict(source, target, run, config, request, report)

    make_recording(common, target, request, existing, write)
    common.product(target)
