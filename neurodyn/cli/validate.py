"""`neurodyn validate`: every fault of a recording at once."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurodyn.cli.common import Axes, Channels, Fs, Indicator, Key, ReaderName, read_options
from neurodyn.cli.console import Common, command
from neurodyn.core.errors import DataError

if TYPE_CHECKING:
    from neurodyn.preprocess.faults import Fault
    from neurodyn.readers.options import ReadOptions


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "validate", panel="Data in and out", example="neurodyn validate movie.zarr", sections=("source",))(
        validate
    )


def validate(
    common: Common,
    source: Annotated[Path, typer.Argument(help="Recording (.zarr), or any other source.")],
    fs: Fs = None,
    channels: Channels = None,
    axes: Axes = None,
    key: Key = None,
    indicator: Indicator = None,
    reader: ReaderName = None,
) -> None:
    """Name every fault of a recording: broken contract, NaN, saturation, dropped frames, empty ROIs, wrong clocks and more.

    NWB files are also checked against the NWB schema. Exit code 3 if there is an error; warnings alone are no failure.
    """
    options = read_options(common, fs=fs, channels=channels, axes=axes, key=key, indicator=indicator)
    found = _faults(source, options, reader)
    counts = {kind: sum(fault.severity == kind for fault in found) for kind in ("error", "warning")}
    if common.json:
        common.product(
            source, errors=counts["error"], warnings=counts["warning"], faults=[asdict(one) for one in found]
        )
    else:
        common.plan([f"{one.severity:8} {one.where}: {one.what} {one.fix}" for one in found] or ["No fault was found."])
    if counts["error"]:
        raise DataError(
            f"{source} has {counts['error']} error(s).", "They are listed above.", "Mend them, then validate again."
        )


def _faults(source: Path, options: ReadOptions, reader: str | None) -> list[Fault]:
    from neurodyn.preprocess.faults import Fault, faults, faults_of_folder
    from neurodyn.readers.read import find_reader
    from neurodyn.readers.survey import survey

    name, _ = find_reader(source, reader)
    if name == "recording":
        return faults_of_folder(source)
    seen = survey(source, options, reader)
    told = [Fault("error", "source", f"It has to be told: {need.option}", f"({need.why})") for need in seen.needs]
    if seen.recording is None:
        return [*told, Fault("error", "source", "It is no recording.", " ".join(seen.notes))]
    more = []
    if name == "nwb":
        from neurodyn.readers.nwb.reading import schema_errors

        more = [
            Fault("error", "NWB schema", error, "Write the file again with pynwb.") for error in schema_errors(source)
        ]
    return [*told, *more, *faults(seen.recording)]
