"""`neurodyn simulate`: a recording with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurodyn.cli.common import ExistingOption, make_recording, request_id, resolve_section
from neurodyn.cli.console import Common, command


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(
        app,
        "simulate",
        panel="Data in and out",
        example="neurodyn simulate widefield -o rig.zarr --seed 1 --set trials=60",
        sections=None,
    )(simulate)


def simulate(
    common: Common,
    kind: Annotated[str, typer.Argument(help="What to simulate; see: neurodyn list simulators.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The recording to write (.zarr).")],
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of every draw.", show_default=False)] = None,
    existing: ExistingOption = "error",
) -> None:
    """Make a synthetic recording with ground truth."""
    from neurodyn.core.files import check_output
    from neurodyn.core.provenance import version
    from neurodyn.simulate import SIMULATORS

    check_output(output)
    simulator = SIMULATORS.get(kind)
    params = resolve_section(common, "simulate", simulator.Params, {"seed": seed})
    request = request_id(simulate=kind, params=params.model_dump(mode="json"), version=version())
    if common.dry_run:
        common.plan([f"{k}: {v}" for k, v in params.model_dump().items()], output=output)
        return

    def write() -> None:
        recording = simulator(params).make()
        recording.tree.attrs["request"] = request
        recording.save(output)

    make_recording(common, output, request, existing, write)
    common.product(output)
