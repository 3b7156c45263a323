"""`neurodyn evaluate`: inferred activity, latents, forecasts and extracted ROIs against what is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurodyn.cli.common import Out, require_sources, resolve_section
from neurodyn.cli.console import Common, command
from neurodyn.evaluate import DEFAULT, EVALUATIONS

if TYPE_CHECKING:
    from neurodyn.data.scores import Score
    from neurodyn.evaluate.base import Evaluation


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "evaluate", panel="Analysis", example="neurodyn evaluate runs/cst --metric forecast", sections=None)(
        evaluate
    )


def evaluate(
    common: Common,
    sources: Annotated[
        list[Path], typer.Argument(help="Recordings, or folders of them; run folders for what models give.")
    ],
    metric: Annotated[
        str,
        typer.Option("--metric", help=f"What to score: {', '.join(EVALUATIONS.own[:-1])} or {EVALUATIONS.own[-1]}."),
    ] = DEFAULT,
    features: Annotated[
        str | None,
        typer.Option("--features", help="Comma-separated: spikes, spikes_suite2p, dff, …", show_default=False),
    ] = None,
    regions: Annotated[
        Path | None,
        typer.Option(
            "--regions",
            help="Marked regions to score ROIs against: neurofinder's JSON, or a recording.",
            show_default=False,
        ),
    ] = None,
    output: Out = None,
) -> None:
    """Score spikes, latents, forecasts or ROIs against what is known, or a model's cost, and print where the table is."""
    from neurodyn.core.files import check_output
    from neurodyn.evaluate.run import evaluate as score
    from neurodyn.evaluate.sources import recordings_in, runs_in

    require_sources(sources)
    if output is not None:
        check_output(output, whole=False)
    evaluation = _asked(common, metric, {"features": features.split(",") if features else None, "regions": regions})
    found_in, shown = {"recordings": (recordings_in, table), "runs": (runs_in, run_table)}[evaluation.takes]
    paths = [path for source in sources for path in found_in(source)]
    folder = output or Path(f"{metric.rstrip('s')}-scores")
    if common.dry_run:
        common.plan([f"{path} -> {folder / 'scores.csv'}" for path in paths], **evaluation.config.model_dump())
        return
    path = score(evaluation, paths, folder)
    common.say(shown(path))
    common.product(path)


def _asked(common: Common, metric: str, flags: dict[str, Any]) -> Evaluation[Any]:
    """Return the evaluation of that name, as it is configured."""
    from neurodyn.core.registry import unknown

    if metric not in EVALUATIONS.names():
        raise unknown("metric", metric, EVALUATIONS.names())
    kind = EVALUATIONS.get(metric)
    return kind(resolve_section(common, "evaluate", kind.Config, flags))


def run_table(path: Path) -> str:
    """Render scores of runs for the terminal: a row per run and metric, a column per part, 95 % intervals in brackets."""
    from neurodyn.data.scores import read_scores

    scores = [score for score in read_scores(path) if score.fold == "all"]
    parts = list(dict.fromkeys(score.split.rpartition(":")[2] for score in scores))
    rows = [["session", "model", "seed", "features", "metric", *parts]]
    for key in dict.fromkeys((s.session, s.model, s.seed, s.features, s.metric) for s in scores):
        here = {
            s.split.rpartition(":")[2]: _with_interval(s)
            for s in scores
            if (s.session, s.model, s.seed, s.features, s.metric) == key
        }
        rows.append([*map(str, key), *(here.get(part, "–") for part in parts)])
    return _columns(rows)


def _with_interval(score: Score) -> str:
    if score.value != score.value:
        return "–"
    known = score.ci_low == score.ci_low
    return f"{score.value:.3f} [{score.ci_low:.3f}, {score.ci_high:.3f}]" if known else f"{score.value:.3f}"


def _columns(rows: list[list[str]]) -> str:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def table(path: Path) -> str:
    """Render scores for the terminal: a row per dataset and metric, a column per feature, 95 % intervals in brackets."""
    from neurodyn.data.scores import read_scores

    scores = [score for score in read_scores(path) if score.fold == "all"]
    features = list(dict.fromkeys(score.features for score in scores))
    rows = [["dataset", "metric", "n", *features]]
    for session, metric in dict.fromkeys((score.session, score.metric) for score in scores):
        here = {s.features: s for s in scores if (s.session, s.metric) == (session, metric)}
        found = {name: f"{s.value:.3f} [{s.ci_low:.2f}, {s.ci_high:.2f}]" for name, s in here.items()}
        cells = [found.get(name, "–") for name in features]
        first = next(iter(here.values()))
        rows.append([session, metric, f"{first.n} {first.unit}", *cells])
    return _columns(rows)
