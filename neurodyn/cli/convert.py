"""`neurodyn convert`: any readable source into a recording or NWB."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurodyn.cli.common import (
    Axes,
    Brain,
    Channels,
    ExistingOption,
    Fs,
    Indicator,
    Key,
    ReaderName,
    ingest,
    read_options,
)
from neurodyn.cli.console import Common, command
from neurodyn.core.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "convert")(convert)


def convert(
    common: Common,
    source: Annotated[Path, typer.Argument(help="What to read.")],
    target: Annotated[Path, typer.Argument(help="What to write: .zarr or .nwb.")],
    fs: Fs = None,
    channels: Channels = None,
    axes: Axes = None,
    key: Key = None,
    indicator: Indicator = None,
    brain: Brain = None,
    reader: ReaderName = None,
    existing: ExistingOption = "error",
) -> None:
    """Convert between formats."""
    if target.suffix not in (".zarr", ".nwb"):
        raise ConfigError(
            f"{target} names no format neurodyn writes.",
            "Expected .zarr or .nwb.",
            f"Type: neurodyn convert {source} {target.stem}.zarr",
        )
    options = read_options(common, fs=fs, channels=channels, axes=axes, key=key, indicator=indicator, brain=brain)
    if target.exists() and existing != "overwrite":
        if existing == "skip":
            common.product(target)
            return
        raise ConfigError(
            f"{target} already exists.", "Nothing was written.", "Choose another name, or --existing overwrite"
        )
    if common.dry_run:
        common.plan([f"{source} -> {target}"])
        return
    recording = ingest(source, options, reader)
    if target.suffix == ".zarr":
        recording.save(target)
    else:
        from neurodyn.data.nwb import write_nwb

        write_nwb(recording, target)
    common.product(target)
