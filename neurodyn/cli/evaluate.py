"""`neurodyn evaluate`: inferred activity and extracted ROIs against ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neurodyn.cli.common import Out
from neurodyn.cli.console import Common, command


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "evaluate")(evaluate)


def evaluate(
    common: Common,
    sources: Annotated[list[Path], typer.Argument(help="Recordings, or folders of recordings.")],
    metric: Annotated[str, typer.Option("--metric", help="What to score: spikes or rois.")] = "spikes",
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
    """Score inferred spikes against recorded ones, or ROIs against marked regions, and print where the table is."""
    from neurodyn.core.config import Layer, layer_from_sets, load_yaml, resolve, validate
    from neurodyn.core.registry import unknown
    from neurodyn.preprocess.spike_scores import SpikeScoreConfig, score_spikes

    if metric == "rois":
        _rois(common, sources, regions, output or Path("roi-scores"))
        return
    if metric != "spikes":
        raise unknown("metric", metric, ["rois", "spikes"])
    layers = [load_yaml(common.config)] if common.config else []
    layers += [Layer({"features": features.split(",")}, "flags")] if features else []
    config = validate(SpikeScoreConfig, resolve([*layers, *layer_from_sets(common.sets or [])]))
    recordings = [path for source in sources for path in recordings_in(source)]
    folder = output or Path("spike-scores")
    if common.dry_run:
        common.plan([f"{path} -> {folder / 'scores.csv'}" for path in recordings], **config.model_dump())
        return
    path = score_spikes(recordings, folder, config)
    common.say(table(path))
    common.product(path)


def _rois(common: Common, sources: list[Path], regions: Path | None, folder: Path) -> None:
    from neurodyn.core.config import layer_from_sets, load_yaml, resolve, validate
    from neurodyn.core.errors import ConfigError
    from neurodyn.preprocess.roi_scores import RoiScoreConfig, score_rois

    if regions is None:
        raise ConfigError("There is nothing to score ROIs against.", "Found no --regions.", "Give --regions FILE")
    layers = [load_yaml(common.config)] if common.config else []
    config = validate(RoiScoreConfig, resolve([*layers, *layer_from_sets(common.sets or [])]))
    recordings = [path for source in sources for path in recordings_in(source)]
    if common.dry_run:
        common.plan([f"{path} -> {folder / 'scores.csv'}" for path in recordings], **config.model_dump())
        return
    path = score_rois(recordings, regions, folder, config)
    common.say(table(path))
    common.product(path)


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
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


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
