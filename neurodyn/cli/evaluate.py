"""`neurodyn evaluate`: inferred activity, latents, forecasts and extracted ROIs against what is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neurodyn.cli.common import Out, own_settings, require_sources
from neurodyn.cli.console import Common, command

if TYPE_CHECKING:
    from collections.abc import Callable

    from neurodyn.core.config import Params, Resolved
    from neurodyn.data.scores import Score

OF_RUNS = (
    "attention",
    "cost",
    "forecast",
    "frames",
    "imputation",
    "interpolation",
    "latents",
    "responses",
    "rotations",
)
METRICS = sorted(["rois", "spikes", *OF_RUNS])


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
        typer.Option(
            "--metric",
            help="What to score: spikes, rois, latents, rotations, frames, imputation, forecast, responses, interpolation, attention or cost.",
        ),
    ] = "spikes",
    features: Annotated[
        str | None,
        typer.Option("--features", help="Comma-separated: spikes, spikes_suite2p, dff, …", show_default=False),
    ] = None,
    regions: Annotated[
        Path | None,
        typer.Option(
            "--regions", help="rois: marked regions (neurofinder's JSON, or a recording).", show_default=False
        ),
    ] = None,
    output: Out = None,
) -> None:
    """Score spikes, latents, forecasts or ROIs against what is known, or a model's cost, and print where the table is."""
    from neurodyn.core.config import validate
    from neurodyn.core.files import check_output
    from neurodyn.core.registry import unknown
    from neurodyn.preprocess.spike_scores import SpikeScoreConfig, score_spikes

    require_sources(sources)
    if output is not None:
        check_output(output, whole=False)
    if metric == "rois":
        _rois(common, sources, regions, output or Path("roi-scores"))
        return
    if metric in OF_RUNS:
        _inferred(common, metric, sources, features, output or Path(f"{metric.rstrip('s')}-scores"))
        return
    if metric != "spikes":
        raise unknown("metric", metric, METRICS)
    config = validate(SpikeScoreConfig, _resolved(common, features))
    recordings = [path for source in sources for path in recordings_in(source)]
    folder = output or Path("spike-scores")
    if common.dry_run:
        common.plan([f"{path} -> {folder / 'scores.csv'}" for path in recordings], **config.model_dump())
        return
    path = score_spikes(recordings, folder, config)
    common.say(table(path))
    common.product(path)


def _rois(common: Common, sources: list[Path], regions: Path | None, folder: Path) -> None:
    from neurodyn.core.config import validate
    from neurodyn.core.errors import ConfigError
    from neurodyn.preprocess.roi_scores import RoiScoreConfig, score_rois

    if regions is None:
        raise ConfigError("There is nothing to score ROIs against.", "Found no --regions.", "Give --regions FILE")
    config = validate(RoiScoreConfig, _resolved(common, None))
    recordings = [path for source in sources for path in recordings_in(source)]
    if common.dry_run:
        common.plan([f"{path} -> {folder / 'scores.csv'}" for path in recordings], **config.model_dump())
        return
    path = score_rois(recordings, regions, folder, config)
    common.say(table(path))
    common.product(path)


def _resolved(common: Common, features: str | None) -> Resolved:
    return own_settings(common, "evaluate", {"features": features.split(",") if features else None})


def _inferred(common: Common, metric: str, sources: list[Path], features: str | None, folder: Path) -> None:
    from neurodyn.core.config import validate

    kind, score = _scorer(metric)
    paths = [path for source in sources for path in runs_in(source)]
    config = validate(kind, _resolved(common, features))
    if common.dry_run:
        common.plan([f"{path} -> {folder / 'scores.csv'}" for path in paths], **config.model_dump())
        return
    path = score(paths, folder, config)
    common.say(run_table(path))
    common.product(path)


def _scorer(metric: str) -> tuple[type[Params], Callable[..., Path]]:
    """Return what a metric of runs is configured by, and what computes it."""
    from neurodyn.decode.forecast_scores import ForecastScoreConfig, score_forecasts
    from neurodyn.decode.frame_scores import FrameScoreConfig, score_frames
    from neurodyn.decode.interpolation_scores import InterpolationScoreConfig, score_interpolation
    from neurodyn.decode.latent_scores import LatentScoreConfig, score_latents
    from neurodyn.decode.response_scores import ResponseScoreConfig, score_responses
    from neurodyn.decode.rotation_scores import RotationScoreConfig, score_rotations

    if metric == "attention":
        from neurodyn.training.attention_scores import AttentionScoreConfig, score_attention

        return AttentionScoreConfig, score_attention
    if metric == "cost":
        from neurodyn.training.cost_scores import CostScoreConfig, score_cost

        return CostScoreConfig, score_cost
    if metric == "imputation":
        from neurodyn.training.imputation_scores import ImputationScoreConfig, score_imputation

        return ImputationScoreConfig, score_imputation
    return {
        "forecast": (ForecastScoreConfig, score_forecasts),
        "frames": (FrameScoreConfig, score_frames),
        "interpolation": (InterpolationScoreConfig, score_interpolation),
        "latents": (LatentScoreConfig, score_latents),
        "responses": (ResponseScoreConfig, score_responses),
        "rotations": (RotationScoreConfig, score_rotations),
    }[metric]


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
        cells = [f"{s.value:.3f} [{s.ci_low:.2f}, {s.ci_high:.2f}]" for s in (here[name] for name in features)]
        first = here[features[0]]
        rows.append([session, metric, f"{first.n} {first.unit}", *cells])
    return _columns(rows)


def runs_in(source: Path) -> list[Path]:
    """Return a run folder or a recording itself, or every run and recording in a folder, by name.

    Raises
    ------
    DataError
        If there is none.
    """
    if (source / "config.yaml").is_file() or not source.is_dir():
        return [source]
    runs = sorted(path.parent for path in source.glob("*/config.yaml"))
    return runs or recordings_in(source)


def recordings_in(source: Path) -> list[Path]:
    """Return a recording itself, or every recording in a folder, by name.

    Raises
    ------
    DataError
        If there is none.
    """
    from neurodyn.core.errors import DataError

    if (source / "zarr.json").is_file():
        return [source]
    found = sorted(source.glob("*.zarr")) if source.is_dir() else []
    if not found:
        raise DataError(
            f"{source} holds no recording.",
            "Expected a recording (.zarr folder), or a folder of them.",
            "Make them first: neurodyn preprocess FILE… -o DIR --chain spikes",
        )
    return found
