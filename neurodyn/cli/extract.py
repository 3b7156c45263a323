"""`neurodyn extract`: registration and ROIs of a two-photon movie by suite2p."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurodyn.cli.common import (
    Axes,
    ExistingOption,
    Fs,
    Indicator,
    Key,
    ReaderName,
    ingest,
    read_options,
    recording_request,
    request_id,
    settled,
)
from neurodyn.cli.console import Common, command, progress_bar


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "extract")(extract)


def extract(
    common: Common,
    movie: Annotated[Path, typer.Argument(help="Movie or recording with a fluorescence movie.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The recording to write (.zarr).")],
    fs: Fs = None,
    axes: Axes = None,
    key: Key = None,
    indicator: Indicator = None,
    reader: ReaderName = None,
    existing: ExistingOption = "error",
) -> None:
    """Find ROIs with suite2p and write their fluorescence and neuropil as a recording."""
    from neurodyn.core.config import layer_from_sets, resolve
    from neurodyn.core.files import locked
    from neurodyn.core.provenance import version
    from neurodyn.preprocess.suite2p import extract as run_suite2p

    options = read_options(common, fs=fs, axes=axes, key=key, indicator=indicator)
    settings = resolve(layer_from_sets(s for s in common.sets or [] if not s.startswith("source."))).values
    recording = ingest(movie, options, reader)
    request = request_id(
        source=recording.tree.attrs["source_sha256"],
        options=options.model_dump(mode="json"),
        settings=settings,
        version=version(),
    )
    if common.dry_run:
        common.plan([f"{movie} -> {output}", f"suite2p settings: {settings or 'fast preset'}"], settings=settings)
        return
    with locked(output.with_name(f"{output.name}.request")):
        if settled(output, request, recording_request(output), existing):
            common.say(f"{output} is up to date.")
        else:
            recording.tree.attrs["request"] = request
            with progress_bar(common) as report:
                run_suite2p(recording, output, settings=settings, progress=report)
    common.product(output)
