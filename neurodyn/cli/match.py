"""`neurodyn match`: the cells that sessions share, and recordings of these alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from neurodyn.cli.common import ExistingOption, Out, make_recording, request_id
from neurodyn.cli.console import Common, command
from neurodyn.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from neurodyn.data.recording import Recording
    from neurodyn.tracking.sessions import Tracked

By = Annotated[
    Literal["ids", "pictures"] | None,
    typer.Option(
        "--by",
        help="ids: the column 'cell' of their ROIs; pictures: where masks lie and how they look, after the fields are aligned. "
        "[default: ids where all recordings have them]",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "match", panel="Data in and out", example="neurodyn match monday.zarr friday.zarr -o shared")(match)


@dataclass(frozen=True)
class Matched:
    """Sessions and the cells they share: the row of every cell in each, None where it was not found."""

    sources: list[Path]
    recordings: list[Recording]
    names: list[str]
    rows: Mapping[str, list[int | None]]
    tracked: Tracked | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def shared(self) -> dict[str, list[int]]:
        """The cells that every session has."""
        whole = {cell: [row for row in places if row is not None] for cell, places in self.rows.items()}
        return {cell: places for cell, places in whole.items() if len(places) == len(self.names)}

    def table(self) -> str:
        """Return rows by session as CSV; where probabilities are known, they stand last."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["cell", *self.names, *(["p"] if self.tracked else [])])
        for k, (cell, places) in enumerate(self.rows.items()):
            p = [] if self.tracked is None else [self.tracked.probability[k]]
            shown = [f"{value:.3f}" if value == value else "" for value in p]
            writer.writerow([cell, *("" if row is None else row for row in places), *shown])
        return text.getvalue()


def match(
    common: Common,
    sources: Annotated[list[Path], typer.Argument(help="Recordings (.zarr) of the same cells on several days.")],
    output: Out = None,
    by: By = None,
    existing: ExistingOption = "error",
) -> None:
    """Match cells across sessions, by ids or by pictures; write recordings of the shared cells, in one order, into -o.

    Without -o, print which row each cell has in each session. With it, also write that table, cells.csv. Matched by
    pictures, each cell has a probability p; -o then also gets recordings of all cells with their new ids (all/), a picture
    of every session on the reference (aligned/), and matching.json: rotations, shifts and the expected share of false matches.
    """
    from neurodyn.core.files import check_output
    from neurodyn.data.recording import Recording

    if output is not None:
        check_output(output, whole=False)
    if len(sources) < 2:
        raise ConfigError("One recording has nothing to match.", f"Found {len(sources)}.", "Give two or more.")
    found = _matched(common, sources, [Recording.open(source) for source in sources], by)
    if output is None or common.dry_run:
        common.plan(found.table().splitlines(), cells=found.rows, shared=len(found.shared), **found.facts)
        return
    common.say(f"{len(found.shared)} of {len(found.rows)} cells are in every session.")
    _check(found)
    _write(common, found, output, existing)
    common.product(output / "cells.csv")


def _matched(common: Common, sources: list[Path], recordings: list[Recording], by: str | None) -> Matched:
    from neurodyn.data.matching import have_ids, rows_of_cells

    names = [recording.session for recording in recordings]
    if len(set(names)) < len(names):
        names = [f"{name}-{k}" for k, name in enumerate(names)]
    masks = [table is not None and "mask_roi" in table for table in (each.table("rois") for each in recordings)]
    if by == "ids" or (by is None and (have_ids(recordings) or not all(masks))):
        return Matched(sources, recordings, names, rows_of_cells(recordings))
    from neurodyn.tracking.sessions import summary, track

    if by is None:
        common.say("Not all recordings have ids of cells: the same cells are found by pictures.")
    tracked = track(recordings)
    facts = summary(tracked, names)
    common.say(
        f"Aligned to {names[tracked.reference]}; expected of all matches: {tracked.false_positives:.1%} false, "
        f"{tracked.false_negatives:.1%} missed (by {tracked.model.by})."
    )
    return Matched(sources, recordings, names, tracked.rows, tracked, facts)


def _check(found: Matched) -> None:
    """Refuse sessions without a cell in common: by ids in all of them, by pictures in any two."""
    alone = all(sum(row is not None for row in places) < 2 for places in found.rows.values())
    if found.shared or (found.tracked is not None and not alone):
        return
    seen = {name: sum(places[k] is not None for places in found.rows.values()) for k, name in enumerate(found.names)}
    counts = ", ".join(f"{name} {count}" for name, count in seen.items())
    raise DataError("The sessions share no cell.", f"Cells: {counts}.", "Are these sessions of the same animal?")


def _write(common: Common, found: Matched, output: Path, existing: ExistingOption) -> None:
    from neurodyn.core.files import atomic, check_output, make_folder, write_json

    for name in found.names:
        check_output(output / f"{name}.zarr", found.sources)
    make_folder(output)
    named = found.recordings if found.tracked is None else _with_ids(found)
    for place, name in enumerate(found.names):
        if found.tracked is not None:
            make_folder(output / "all")
            _save(common, found, place, named[place], None, output / "all" / f"{name}.zarr", existing)
            _draw(found.tracked, place, output / "aligned" / f"{name}.png")
        if found.shared:
            rows = [places[place] for places in found.shared.values()]
            _save(common, found, place, named[place], rows, output / f"{name}.zarr", existing)
    if found.tracked is not None:
        write_json(output / "matching.json", found.facts)
    with atomic(output / "cells.csv") as temporary:
        temporary.write_text(found.table(), encoding="utf-8")


def _with_ids(found: Matched) -> list[Recording]:
    import numpy as np

    from neurodyn.data.matching import with_ids

    tracked, made = found.tracked, []
    if tracked is None:
        return found.recordings
    for place, recording in enumerate(found.recordings):
        mine = {cell[place]: k for k, cell in enumerate(tracked.cells) if place in cell}
        ids = np.array([mine[row] for row in range(len(mine))])
        step = {"sessions": found.names} | {key: found.facts[key] for key in ("reference", "model", "false_positives")}
        made.append(with_ids(recording, ids.tolist(), tracked.probability[ids], step))
    return made


def _save(
    common: Common, found: Matched, place: int, recording: Recording, rows: list[int] | None, target: Path,
    existing: ExistingOption,
) -> None:  # fmt: skip
    from neurodyn.core.files import sha256
    from neurodyn.core.provenance import version
    from neurodyn.data.matching import with_rois

    source = sha256(found.sources[place])
    asked = {"rows": rows} if found.tracked is None else {"rows": rows, "cells": found.rows}
    request = request_id(source=source, version=version(), **asked)

    def write() -> None:
        matched = recording if rows is None else with_rois(recording, rows)
        matched.tree.attrs["request"] = request
        matched.save(target)

    make_recording(common, target, request, existing, write)
    common.product(target)


def _draw(tracked: Tracked, place: int, target: Path) -> None:
    from neurodyn.core.files import atomic, make_folder
    from neurodyn.report.tracking import alignment_picture

    if place == tracked.reference:
        return
    make_folder(target.parent)
    with atomic(target) as temporary:
        temporary.write_bytes(alignment_picture(tracked, place))
