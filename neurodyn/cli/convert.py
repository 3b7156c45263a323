"""`neurodyn convert`: any readable source into a recording, NWB, TIFF, CSV or suite2p's folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
    resolve_section,
)
from neurodyn.cli.console import Common, command
from neurodyn.core.errors import ConfigError

if TYPE_CHECKING:
    from neurodyn.data.recording import Recording
    from neurodyn.readers.nwb.facts import NwbFacts

FORMATS = (".zarr", ".nwb", ".tif", ".tiff", ".btf", ".csv")
Stimulus = Annotated[
    str | None,
    typer.Option(
        "--stimulus",
        help="Stimulus log beside the source (CSV, TSV, MAT, HDF5). Its columns, unit and duration, and the photodiode "
        "that timed it: --set source.stimulus.columns=[contrast,-,orientation] source.stimulus.onsets.file=FILE",
        show_default=False,
    ),
]
FrameTimes = Annotated[
    str | None,
    typer.Option(
        "--frame-times",
        help="Frame times, in the unit of their header (else s; --set source.frame_times.unit=ms), or a camera's TTL trace; "
        "for a trace give its rate: --set source.frame_times.fs=5000",
        show_default=False,
    ),
]
Variable = Annotated[
    str | None,
    typer.Option(
        "--variable",
        help="What goes into TIFF or CSV: a movie, traces, or a table such as stimulus.",
        show_default=False,
    ),
]
To = Annotated[
    Literal["suite2p"] | None,
    typer.Option("--to", help="What folder to write; files say it by their ending.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(
        app,
        "convert",
        panel="Data in and out",
        example="neurodyn convert movie.tif movie.zarr --fs 10 --indicator GCaMP6f",
        sections=("source", "nwb"),
    )(convert)


def convert(
    common: Common,
    source: Annotated[Path, typer.Argument(help="What to read.")],
    target: Annotated[Path, typer.Argument(help="What to write: .zarr, .nwb, .tif or .csv; or a folder, with --to.")],
    fs: Fs = None,
    channels: Channels = None,
    axes: Axes = None,
    key: Key = None,
    indicator: Indicator = None,
    brain: Brain = None,
    stimulus: Stimulus = None,
    frame_times: FrameTimes = None,
    variable: Variable = None,
    to: To = None,
    reader: ReaderName = None,
    existing: ExistingOption = "error",
) -> None:
    """Convert between formats.

    What a file cannot say about itself is set with --set source.KEY=VALUE: plane, split, frame, bin, demux, units, …
    Two cameras with interleaved frames: --set 'source.variables={a: {key: CAMERA, first: 0, every: 2}, b: …}'
    --to suite2p writes TARGET/suite2p/plane0 as suite2p does, Fall.mat in it, for its window and for scripts made for it.
    What an archive asks for is set with --set nwb.KEY=VALUE: session_start, subject.id, subject.species, location, …
    """
    from neurodyn.core.files import check_output
    from neurodyn.readers.nwb.facts import NwbFacts
    from neurodyn.readers.read import read

    if to is None and target.suffix not in FORMATS:
        raise ConfigError(
            f"{target} names no format neurodyn writes.",
            f"Expected {', '.join(FORMATS)}, or a folder and --to suite2p.",
            f"Type: neurodyn convert {source} {target.stem}.zarr",
        )
    if variable is not None and (to or target.suffix in (".zarr", ".nwb")):
        taken = "suite2p's folder has its own" if to else f"{target.suffix} takes every variable"
        raise ConfigError(f"--variable: {taken}.", f"Found {variable}.", "Leave --variable out.")
    if to and target.suffix in FORMATS:
        raise ConfigError(
            f"--to {to} writes a folder.",
            f"Found {target}.",
            f"Type: neurodyn convert {source} {target.stem} --to {to}",
        )
    beside = {"stimulus": stimulus, "frame_times": frame_times}
    options = read_options(
        common,
        fs=fs,
        channels=channels,
        axes=axes,
        key=key,
        indicator=indicator,
        brain=brain,
        files={name: file for name, file in beside.items() if file is not None},
    )
    check_output(target, [source, *(Path(file) for file in beside.values() if file is not None)])
    if target.exists() and existing != "overwrite":
        if existing == "skip":
            common.product(target)
            return
        raise ConfigError(
            f"{target} already exists.", "Nothing was written.", "Choose another name, or --existing overwrite"
        )
    facts = resolve_section(common, "nwb", NwbFacts)
    if common.dry_run:
        read(source, options, reader)
        common.plan([f"{source} -> {target}"])
        return
    _write(ingest(source, options, reader), target, variable, facts, to)
    common.product(target)


def _write(recording: Recording, target: Path, variable: str | None, facts: NwbFacts, to: str | None) -> None:
    if to:
        from neurodyn.calcium.indicators import KINETICS, known
        from neurodyn.readers.suite2p.writing import write_suite2p

        name = known(recording.indicator)
        write_suite2p(recording, target, **({"tau": KINETICS[name].tau} if name else {}))
    elif target.suffix == ".zarr":
        recording.save(target)
    elif target.suffix == ".nwb":
        from neurodyn.readers.nwb.writing import write_nwb

        write_nwb(recording, target, facts)
    else:
        from neurodyn.readers.export import write_csv, write_tiff

        (write_csv if target.suffix == ".csv" else write_tiff)(recording, target, variable)
