"""`neurodyn match`: the cells that sessions share, and recordings of these alone."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurodyn.cli.common import ExistingOption, Out, make_recording, request_id
from neurodyn.cli.console import Common, command
from neurodyn.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from neurodyn.data.recording import Recording


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "match", panel="Data in and out", example="neurodyn match monday.zarr friday.zarr -o shared")(match)


def match(
    common: Common,
    sources: Annotated[list[Path], typer.Argument(help="Recordings (.zarr) of the same cells on several days.")],
    output: Out = None,
    existing: ExistingOption = "error",
) -> None:
    """Match cells across sessions by their ids; write recordings of the shared cells, in one order, into -o.

    Without -o, print which row each cell has in each session. With it, also write that table, cells.csv.
    """
    from neurodyn.core.files import atomic, check_output, make_folder
    from neurodyn.data.matching import rows_of_cells
    from neurodyn.data.recording import Recording

    if output is not None:
        check_output(output, whole=False)
    if len(sources) < 2:
        raise ConfigError("One recording has nothing to match.", f"Found {len(sources)}.", "Give two or more.")
    recordings = [Recording.open(source) for source in sources]
    names = [recording.session for recording in recordings]
    if len(set(names)) < len(names):
        names = [f"{name}-{k}" for k, name in enumerate(names)]
    rows = rows_of_cells(recordings)
    shared = {cell: places for cell, places in rows.items() if None not in places}
    table = _table(rows, names)
    if output is None or common.dry_run:
        common.plan(table.splitlines(), cells=rows, shared=len(shared))
        return
    if not shared:
        counts = ", ".join(
            f"{name} {sum(places[k] is not None for places in rows.values())}" for k, name in enumerate(names)
        )
        raise DataError("The sessions share no cell.", f"Cells: {counts}.", "Are these sessions of the same animal?")
    for name in names:
        check_output(output / f"{name}.zarr", sources)
    make_folder(output)
    common.say(f"{len(shared)} of {len(rows)} cells are in every session.")
    for place, (name, source) in enumerate(zip(names, sources, strict=True)):
        mine = [places[place] for places in shared.values()]
        _write(
            common,
            recordings[place],
            [row for row in mine if row is not None],
            source,
            output / f"{name}.zarr",
            existing,
        )
    with atomic(output / "cells.csv") as temporary:
        temporary.write_text(table, encoding="utf-8")
    common.product(output / "cells.csv")


def _table(rows: dict[str, list[int | None]], names: list[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["cell", *names])
    writer.writerows([cell, *("" if row is None else row for row in places)] for cell, places in rows.items())
    return text.getvalue()


def _write(
    common: Common, recording: Recording, rows: list[int], source: Path, target: Path, existing: ExistingOption
) -> None:
    from neurodyn.core.files import sha256
    from neurodyn.core.provenance import version
    from neurodyn.data.matching import with_rois

    request = request_id(source=sha256(source), rows=rows, version=version())

    def write() -> None:
        matched = with_rois(recording, rows)
        matched.tree.attrs["request"] = request
        matched.save(target)

    make_recording(common, target, request, existing, write)
    common.product(target)
