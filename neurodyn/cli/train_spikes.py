"""`neurodyn train-spikes`: weights of the spike network from cells recorded both ways."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurodyn.cli.common import Existing, ExistingOption, ReaderName, read_options, require_sources, resolve_section
from neurodyn.cli.console import Common, command, progress_bar
from neurodyn.core.errors import ConfigError

if TYPE_CHECKING:
    from neurodyn.training.spike_cells import TruthCell


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(
        app,
        "train-spikes",
        panel="Models",
        example="neurodyn train-spikes truth/*/*.mat -o mine.safetensors",
        sections=None,
    )(train_spikes)


def train_spikes(
    common: Common,
    sources: Annotated[list[Path], typer.Argument(help="Cells or recordings with ΔF/F and recorded spikes.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The weights to write (.safetensors).")],
    start: Annotated[
        Path | None, typer.Option("--start", help="Weights to start from, to fine-tune them.", show_default=False)
    ] = None,
    leave_out: Annotated[
        str | None, typer.Option("--leave-out", help="Datasets not to train on: DS09,DS10.", show_default=False)
    ] = None,
    reader: ReaderName = None,
    existing: ExistingOption = "error",
) -> None:
    """Train the spike network on ground truth; the step spike_network takes the weights.

    Datasets are the folders of Cascade's ground truth, else sessions; leave whole ones out (--leave-out) to score the
    network on them. Steps and the rest: --set steps=600.
    """
    from neurodyn.calcium.spike_weights import load, save
    from neurodyn.core.extras import require
    from neurodyn.core.files import atomic, check_output
    from neurodyn.training.spike_cells import SpikeTraining

    require_sources([*sources, *([start] if start else [])])
    check_output(output, [*sources, *([start] if start else [])])
    config = resolve_section(common, "train_spikes", SpikeTraining)
    if _stands(common, output, existing):
        return
    first = load(start) if start else None
    cells = _kept(_cells(common, sources, reader), leave_out)
    names = sorted({cell.dataset for cell in cells})
    if common.dry_run:
        common.plan([f"{len(cells)} cells of {len(names)} datasets ({', '.join(names)}) -> {output}"], cells=len(cells))
        return
    require("torch")
    from neurodyn.training.spike_network import trained

    with progress_bar(common) as report:
        network = trained(cells, config, first, report)
    with atomic(output) as temporary:
        save(network, temporary)
    common.product(output)


def _stands(common: Common, output: Path, existing: Existing) -> bool:
    """Return whether weights stand there and are kept."""
    if not output.exists() or existing == "overwrite":
        return False
    if existing == "error":
        raise ConfigError(
            f"{output} already exists.", "Nothing was written.", "Choose another name, or --existing overwrite"
        )
    common.say(f"{output} is kept.")
    common.product(output)
    return True


def _cells(common: Common, sources: list[Path], reader: str | None) -> list[TruthCell]:
    from neurodyn.readers.read import read
    from neurodyn.training.spike_cells import cells_of

    options = read_options(common)
    return [cell for source in sources for cell in cells_of(read(source, options, reader))]


def _kept(cells: list[TruthCell], leave_out: str | None) -> list[TruthCell]:
    """Return the cells of datasets that no name given begins."""
    left = tuple(name.strip() for name in (leave_out or "").split(",") if name.strip())
    for name in left:
        if not any(cell.dataset.startswith(name) for cell in cells):
            found = ", ".join(sorted({cell.dataset for cell in cells}))
            raise ConfigError(
                f"--leave-out {name} leaves nothing out.", f"Datasets: {found}.", "Give their beginnings."
            )
    return [cell for cell in cells if not (left and cell.dataset.startswith(left))]
