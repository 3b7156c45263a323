"""`neurodyn tune`: search a model's parameters by its validation loss, or by hidden cells told from the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurodyn.cli.common import ExistingOption, Gpu, Out
from neurodyn.cli.console import Common, command, progress_bar

if TYPE_CHECKING:
    from neurodyn.training.space import Search
    from neurodyn.training.study import Trial
    from neurodyn.training.tune import Tuned

SHOWN = 5


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(
        app,
        "tune",
        panel="Models",
        example="neurodyn tune cst clean.zarr --trials 12 -j 2 -o tuning/cst",
        sections=None,
    )(tune)


def tune(
    common: Common,
    model: Annotated[str, typer.Argument(help="Model preset or YAML file; see: neurodyn list models.")],
    recordings: Annotated[list[Path], typer.Argument(help="Recordings to train on.")],
    output: Out = None,
    trials: Annotated[
        int, typer.Option("--trials", min=1, help="Configurations to try in all, by all processes together.")
    ] = 30,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes here; they share the GPUs named.")] = 1,
    gpu: Gpu = "auto",
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="Seed of the search; of trainings: training.seed.", show_default=False),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Training epochs.", show_default=False)] = None,
    existing: ExistingOption = "error",
) -> None:
    """Search a model's parameters by its validation loss, or what else tune.objective names; prints the best as a preset.

    The same command, on this machine or on others that see the folder, joins the search, or goes on with it. Test windows
    are never read. Searched is what the model declares (neurodyn show model NAME) and --set tune.space.model.KEY=[…] names;
    --set model.KEY=VALUE fixes a parameter. One process with one seed finds the same again; several do not.
    """
    from neurodyn.core.files import check_output
    from neurodyn.training.space import load_search

    flags = [f"training.epochs={epochs}"] if epochs is not None else []
    flags += [f"tune.seed={seed}"] if seed is not None else []
    search = load_search(model, common.config, [*flags, *(common.sets or [])])
    folder = output or Path("tuning") / f"{search.preset}-{recordings[0].stem}"
    from neurodyn.training.tune import check
    from neurodyn.training.tune import tune as run

    check_output(folder, recordings)
    if common.dry_run:
        check(search, recordings, gpu=gpu)
        common.plan(
            [f"{', '.join(map(str, recordings))} -> {folder}", f"{trials} trials of:", *_space(search)],
            output=folder,
            trials=trials,
            space={key: space.plain for key, space in search.space.items()},
        )
        return
    with progress_bar(common) as report:
        hear = _hear(report, trials)
        found = run(search, recordings, folder, trials=trials, jobs=jobs, gpu=gpu, existing=existing, hear=hear)
    _summarise(common, found)
    common.product(found.path, **_facts(found))


def _space(search: Search) -> list[str]:
    width = max(map(len, search.space))
    return [f"  {key.ljust(width)}  {space}  (from {search.start[key]})" for key, space in search.space.items()]


def _hear(report: Callable[[str, float], None], wanted: int) -> Callable[[Trial, list[Trial]], None]:
    """Tell a trial that has ended as one line, and the share done."""
    from neurodyn.training.study import best_of

    def hear(trial: Trial, trials: list[Trial]) -> None:
        ended = sum(each.state != "running" for each in trials)
        best = best_of(trials)
        said = f"; best {best.value:.5g}, trial {best.number}" if best else ""
        report(f"trial {trial.number}: {_ending(trial)}{said}", min(1.0, ended / wanted))

    return hear


def _ending(trial: Trial) -> str:
    if trial.state == "fail" or trial.value is None:
        return f"failed, {trial.reason}"
    return f"{trial.value:.5g}{f', stopped in epoch {trial.epochs}' if trial.state == 'pruned' else ''}"


def _summarise(common: Common, found: Tuned) -> None:
    """Tell the best trials, and what is gained over the configuration the search started from."""
    best, start = found.best, found.start
    if best is None or start is None:
        common.say(f"{found.path} is left as it is.")
        return
    ranked = sorted((t for t in found.trials if t.state == "complete"), key=lambda t: (t.value or 0.0, t.number))
    shown = [*ranked[:SHOWN], *([start] if start not in ranked[:SHOWN] else [])]
    rows = [["trial", "validation", *(key.partition(".")[2] for key in best.parameters)]]
    rows += [[str(t.number), _ending(t).partition(",")[0], *map(_short, t.parameters.values())] for t in shown]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        common.say("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    if start.state == "complete" and best.value is not None and start.value is not None:
        common.say(f"Trial {best.number} is {start.value - best.value:.5g} below trial 0, the configuration given.")


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _facts(found: Tuned) -> dict[str, Any]:
    best, start = found.best, found.start
    if best is None or start is None:
        return {}
    return {
        "trials": len(found.trials),
        "trial": best.number,
        "value": best.value,
        "start_value": start.value if start.state == "complete" else None,
        "parameters": best.parameters,
    }
