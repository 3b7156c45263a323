"""`neurodyn curate`: a recording without the cells that were dropped, and with merged ones as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from neurodyn.cli.common import ExistingOption, make_recording, request_id
from neurodyn.cli.console import Common, command
from neurodyn.core.errors import DataError


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "curate", panel="Preprocess", example="neurodyn curate rois.zarr cells.csv -o curated.zarr")(curate)


def curate(
    common: Common,
    source: Annotated[Path, typer.Argument(help="Recording (.zarr) that was curated.")],
    cells: Annotated[Path, typer.Argument(help="Log of the curation, as neurodyn view writes it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The recording to write (.zarr).")],
    undecided: Annotated[
        Literal["keep", "drop"], typer.Option("--undecided", help="What becomes of cells that have no verdict.")
    ] = "keep",
    existing: ExistingOption = "error",
) -> None:
    """Apply a curation: leave dropped cells out, and make merged cells one.

    A merged cell has the union of the masks, and of fluorescence and neuropil the mean weighted by pixels. What is made of
    these, as ΔF/F and spikes, is left out then, to be made anew: neurodyn preprocess.
    """
    from neurodyn.core.files import check_output, sha256
    from neurodyn.core.provenance import version
    from neurodyn.data.recording import Recording
    from neurodyn.view.cells import names_of_cells
    from neurodyn.view.curated import curated, groups_of, left_out
    from neurodyn.view.curation import Curation

    check_output(output, [source, cells])
    recording = Recording.open(source)
    if not cells.is_file():
        raise DataError(
            f"{cells} does not exist.", "Expected the log of a curation.", f"Make one: neurodyn view {source}"
        )
    found = Curation(cells, names_of_cells(recording), recording.session).verdicts()
    groups = groups_of(recording, found, undecided)
    gone = left_out(recording, groups)
    merged = sum(len(rows) > 1 for rows in groups)
    said = f"{len(groups)} of {recording.neural.sizes['roi']} cells stay, {merged} of them merged."
    if common.dry_run:
        common.plan([said, f"{source} -> {output}"], cells=len(groups), merged=merged, left_out=gone)
        return
    common.say(said)
    if gone:
        common.say(f"Left out, to be made anew by neurodyn preprocess: {', '.join(gone)}.")
    request = request_id(source=sha256(source), cells=sha256(cells), undecided=undecided, version=version())

    def write() -> None:
        made = curated(recording, found, undecided)
        made.tree.attrs["request"] = request
        made.save(output)

    make_recording(common, output, request, existing, write)
    common.product(output)
