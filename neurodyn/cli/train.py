"""`neurodyn train`: fit a model back-end to recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurodyn.cli.common import ExistingOption, Gpu, Out, parse_seeds
from neurodyn.cli.console import Common, command, progress_bar

if TYPE_CHECKING:
    from neurodyn.core.config import Resolved


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(
        app, "train", panel="Models", example="neurodyn train cst clean.zarr --gpu auto -o runs/cst", sections=None
    )(train)


def train(
    common: Common,
    model: Annotated[str, typer.Argument(help="Model preset or YAML file; see: neurodyn list models.")],
    recordings: Annotated[list[Path], typer.Argument(help="Recordings to train on.")],
    output: Out = None,
    gpu: Gpu = "auto",
    task: Annotated[
        str,
        typer.Option("--task", help="predict frames, or classify: which cells respond (preset MODEL-classifier)."),
    ] = "predict",
    seed: Annotated[
        str | None, typer.Option("--seed", help="Seed, or several as 0,3 or 0-4.", show_default=False)
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Training epochs.", show_default=False)] = None,
    start: Annotated[
        Path | None,
        typer.Option("--start", help="Run folder whose weights training starts from.", show_default=False),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Insist on continuing an interrupted run.")] = False,
    existing: ExistingOption = "error",
) -> None:
    """Train a model; prints the run folder, so that RUN=$(neurodyn train …) works."""
    from neurodyn.core.config import find_preset
    from neurodyn.core.files import check_output
    from neurodyn.core.registry import unknown

    if task not in ("predict", "classify"):
        raise unknown("task", task, ["classify", "predict"])
    if task == "classify":
        model = f"{model}-classifier"
    find_preset("model", model)  # a misspelt name ends here, before seconds of imports
    from neurodyn.runs.folder import RunFolder
    from neurodyn.training.check import check
    from neurodyn.training.config import load_run_config

    flags = [f"training.epochs={epochs}"] if epochs is not None else []
    flags += [f"start={start}"] if start is not None else []
    seeds = parse_seeds(seed) if seed is not None else [None]
    for each in seeds:
        own = [*flags, *([f"training.seed={each}"] if each is not None else []), *(common.sets or [])]
        config, resolved = load_run_config(model, common.config, own)
        folder = _folder(output, Path(model).stem, recordings, config.training.seed, len(seeds) > 1)
        check_output(folder, recordings)
        if common.dry_run:
            check(config, recordings, gpu=gpu)
            common.plan([f"{', '.join(map(str, recordings))} -> {folder}", *_origins(resolved)], output=folder)
            continue
        from neurodyn.training.fit import fit

        with progress_bar(common) as report:
            progress = _epochs(report)
            fit(config, resolved, recordings, folder, gpu=gpu, resume=resume, existing=existing, progress=progress)
        health = RunFolder(folder).health
        common.product(folder, seed=config.training.seed, **(health.plain if health else {}))


def _epochs(report: Callable[[str, float], None]) -> Callable[[dict[str, float]], None]:
    """Tell an epoch's losses as one line and the share done."""

    def tell(row: dict[str, float]) -> None:
        losses = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name.endswith("loss"))
        report(f"epoch {row['epoch']:.0f} of {row['epochs']:.0f}: {losses}", row["epoch"] / row["epochs"])

    return tell


def _folder(output: Path | None, model: str, recordings: list[Path], seed: int, several: bool) -> Path:
    if output is None:
        return Path("runs") / f"{model}-{recordings[0].stem}-seed{seed}"
    return output / f"seed{seed}" if several else output


def _origins(resolved: Resolved) -> list[str]:
    def value(path: tuple[str, ...]) -> object:
        here: object = resolved.values
        for key in path:
            here = here[key] if isinstance(here, dict) else here
        return here

    return [
        f"{'.'.join(path)} = {value(path)}  ({origin})"
        for path, origin in resolved.origins.items()
        if not isinstance(value(path), dict)
    ]
