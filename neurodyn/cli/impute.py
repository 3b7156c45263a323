"""`neurodyn impute`: missing and rejected frames and pixels, filled by a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurodyn.cli.common import ExistingOption, Out, make_recording, request_id, resolve_section
from neurodyn.cli.console import Common, command, progress_bar
from neurodyn.core.errors import ConfigError

if TYPE_CHECKING:
    from neurodyn.training.holes import HoleConfig
    from neurodyn.training.impute import Filler


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(
        app,
        "impute",
        panel="Models",
        example="neurodyn impute clean.zarr --model svd --reject 10-12.5,80-81 -o filled.zarr",
        sections=None,
    )(impute)


def impute(
    common: Common,
    source: Annotated[Path, typer.Argument(help="Recording (.zarr) with something missing.")],
    run: Annotated[
        Path | None, typer.Option("--run", help="Run folder of a trained model that fills it in.", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="Instead: a model without training, linear, spline, svd or pca.", show_default=False
        ),
    ] = None,
    reject: Annotated[
        str | None,
        typer.Option("--reject", help="Stretches of time to reject, s: 10-12.5,80-81.", show_default=False),
    ] = None,
    pixels: Annotated[
        str | None,
        typer.Option("--pixels", help="Image of pixels to reject, non-zero where rejected.", show_default=False),
    ] = None,
    output: Out = None,
    existing: ExistingOption = "error",
) -> None:
    """Fill missing frames and pixels; write values, their standard deviation and which were imputed.

    Missing are entries that are not finite, frames that the clock lacks (--set gaps=false leaves these out), and what
    --reject and --pixels name. What was observed stays as it is. With --model, its windows and parameters are set by
    --set windows.duration=10 and --set model.components=30.
    """
    from neurodyn.core.files import check_output, sha256
    from neurodyn.core.provenance import version
    from neurodyn.training.impute import check
    from neurodyn.training.impute import impute as fill

    if (run is None) == (model is None):
        raise ConfigError(
            "There must be one model to fill in with.", "Found both or none.", "Give --run DIR or --model svd"
        )
    holes, rest = _holes(common, reject, pixels)
    filler = _filler(run, model, rest)
    target = output or source.with_name(f"{source.stem}-imputed.zarr")
    check_output(target, [source])
    if common.dry_run:
        check(source, filler, holes)
        common.plan([f"{source} -> {target}, by {filler.config.name}"], **holes.model_dump(mode="json"))
        return
    request = request_id(
        source=sha256(source), holes=holes.model_dump(mode="json"), filler=_identity(filler), version=version()
    )

    def write() -> None:
        with progress_bar(common) as report:
            fill(source, target, filler, holes, request, report)

    make_recording(common, target, request, existing, write)
    common.product(target)


def _identity(filler: Filler) -> dict[str, Any]:
    return filler.source | {"config": filler.config.model_dump(mode="json")}


def _holes(common: Common, reject: str | None, pixels: str | None) -> tuple[HoleConfig, list[str]]:
    """Return what is missing, and the --set items that are about the model."""
    from neurodyn.training.holes import HoleConfig

    items = common.sets or []
    mine = [item for item in items if item.partition("=")[0] in HoleConfig.model_fields]
    given: dict[str, Any] = {"pixels": pixels} if pixels else {}
    if reject:
        given["reject"] = [_stretch(part) for part in reject.split(",")]
    holes = resolve_section(replace(common, sets=mine), "impute", HoleConfig, given)
    return holes, [item for item in items if item not in mine]


def _stretch(text: str) -> list[float]:
    try:
        start, stop = text.split("-")
        return [float(start), float(stop)]
    except ValueError as error:
        raise ConfigError(
            f"--reject {text} cannot be read.", "Expected two times in seconds.", "Example: --reject 10-12.5"
        ) from error


def _filler(run: Path | None, model: str | None, sets: list[str]) -> Filler:
    from neurodyn.training.config import load_run_config
    from neurodyn.training.impute import Filler

    if run is None:
        return Filler.untrained(load_run_config(str(model), None, sets)[0])
    if sets:
        raise ConfigError(
            f"--set {sets[0]} has nothing to set.", "A trained model keeps its configuration.", "Leave it out."
        )
    return Filler.of_run(run)
