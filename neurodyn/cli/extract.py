"""`neurodyn extract`: registration of a movie, and its cells by their activity and their shape."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from neurodyn.cli.common import (
    Axes,
    ExistingOption,
    Fs,
    Gpu,
    Indicator,
    Key,
    ReaderName,
    ingest,
    make_recording,
    read_options,
    request_id,
)
from neurodyn.cli.console import Common, command, progress_bar


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(
        app, "extract", panel="Preprocess", example="neurodyn extract movie.tif --fs 30 -o rois.zarr", sections=None
    )(extract)


def extract(
    common: Common,
    movie: Annotated[Path, typer.Argument(help="Movie or recording with a fluorescence movie.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The recording to write (.zarr).")],
    fs: Fs = None,
    axes: Axes = None,
    key: Key = None,
    indicator: Indicator = None,
    reader: ReaderName = None,
    preset: Annotated[
        Literal["fast", "default"] | None,
        typer.Option(
            "--preset", help="fast: rigid registration, no metrics; default: suite2p's own settings. [default: fast]"
        ),
    ] = None,
    cells: Annotated[
        Literal["both", "activity", "anatomy"] | None,
        typer.Option(
            "--cells",
            help="Find cells by their activity, by their shape in the mean image, or by both. [default: both]",
        ),
    ] = None,
    diameter: Annotated[
        float | None, typer.Option("--diameter", help="Of a cell, pixels (default: estimated from the movie).")
    ] = None,
    rois: Annotated[
        Path | None,
        typer.Option(
            "--rois",
            help="Take these ROIs of the registered movie instead: mask image, ImageJ's .roi or .zip, CSV of y, x and "
            "radius, neurofinder's JSON, or a recording.",
        ),
    ] = None,
    one_photon: Annotated[
        bool,
        typer.Option(
            "--one-photon", help="The movie is of one-photon light: tell cells from the background around them."
        ),
    ] = False,
    gpu: Gpu = "none",
    existing: ExistingOption = "error",
) -> None:
    """Find cells by activity (suite2p) and shape, and write their fluorescence and neuropil as a recording.

    Cells are as wide as the movie's pictures show, or as --diameter says. The column found_by of the table of ROIs says
    what showed a cell: activity, anatomy or both.
    suite2p's settings go into the configuration by their names: --set detection.threshold_scaling=0.8; so do
    preset and cells_only (true: of cells found by activity alone, keep what suite2p's classifier calls cells).
    """
    from neurodyn.core.files import check_output, sha256
    from neurodyn.core.provenance import version
    from neurodyn.preprocess.suite2p import check
    from neurodyn.preprocess.suite2p import extract as run_suite2p
    from neurodyn.readers.read import read
    from neurodyn.training.devices import choose_devices

    check_output(output, [movie] if rois is None else [movie, rois])
    options = read_options(common, fs=fs, axes=axes, key=key, indicator=indicator)
    flags = {
        "preset": preset,
        "cells": cells,
        "diameter": diameter,
        "rois": rois and str(rois),
        "one_photon": one_photon or None,
    }
    settings = _settings(common, flags)
    device = str(choose_devices(gpu).first)
    if common.dry_run:
        check(read(movie, options, reader), settings=settings, device=device)
        common.plan([f"{movie} -> {output}", f"suite2p settings: {settings}, on {device}"], settings=settings)
        return
    recording = ingest(movie, options, reader)
    request = request_id(
        source=recording.tree.attrs["source_sha256"],
        options=options.model_dump(mode="json"),
        settings=settings | ({"rois_sha256": sha256(rois)} if rois and rois.exists() else {}),
        version=version(),
    )

    def write() -> None:
        recording.tree.attrs["request"] = request
        with progress_bar(common) as report:
            run_suite2p(recording, output, settings=settings, device=device, progress=report)

    make_recording(common, output, request, existing, write)
    common.product(output)


def _settings(common: Common, flags: dict[str, Any]) -> dict[str, Any]:
    """Resolve suite2p's settings, without the section on reading."""
    from neurodyn.core.config import layers_of, resolve

    given = {name: value for name, value in flags.items() if value is not None}
    layers = layers_of("extract", config=common.config, flags=given, sets=common.sets or [])
    values = {"preset": "fast"} | resolve(layers).values
    return {name: value for name, value in values.items() if name != "source"}
