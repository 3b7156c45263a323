"""`neurodyn decode`: stimulus or behaviour from signals and latents, with chance level and interval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neurodyn.cli.common import Out
from neurodyn.cli.console import Common, command


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(app, "decode")(decode)


def decode(
    common: Common,
    source: Annotated[Path, typer.Argument(help="Run folder with a prediction, or a recording.")],
    target: Annotated[
        str | None,
        typer.Option(
            "--target", help="Stimulus or behaviour column; direction%180 takes the rest.", show_default=False
        ),
    ] = None,
    decoder: Annotated[
        str | None,
        typer.Option("--decoder", help="knn, ridge, logistic, … (default: by the target).", show_default=False),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            "--features", help="Comma-separated: latents, reconstruction, attention, dff, …", show_default=False
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="trial, blocked or random; several with commas.", show_default=False)
    ] = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="default, or paper: PCA-10 + KNN-3.", show_default=False)
    ] = None,
    folds: Annotated[
        int | None, typer.Option("--folds", min=2, help="Cross-validation folds.", show_default=False)
    ] = None,
    shuffles: Annotated[
        int | None, typer.Option("--shuffles", min=0, help="Label shuffles for the chance level.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of folds and shuffles.", show_default=False)] = None,
    output: Out = None,
) -> None:
    """Decode a target and print where the table of scores is."""
    from neurodyn.core.config import Layer, layer_from_environment, layer_from_sets, load_yaml, resolve, validate
    from neurodyn.decode.run import DecodeConfig
    from neurodyn.decode.run import decode as run_decoding

    flags: dict[str, Any] = {
        "target": target,
        "decoder": decoder,
        "protocol": protocol,
        "folds": folds,
        "shuffles": shuffles,
        "seed": seed,
    }
    flags |= {"features": features.split(",") if features else None, "splits": split.split(",") if split else None}
    layers = [load_yaml(common.config)] if common.config else []
    layers += [layer for layer in layer_from_environment() if "decode" in layer.values]
    layers += [Layer({k: v for k, v in flags.items() if v is not None}, "flags"), *layer_from_sets(common.sets or [])]
    config = validate(DecodeConfig, resolve(layers))
    if common.dry_run:
        common.plan([f"{k}: {v}" for k, v in config.model_dump().items()])
        return
    path = run_decoding(source, config=config, out=output)
    common.say(table(path))
    common.product(path)


def table(path: Path) -> str:
    """Render a table of scores for the terminal: what the target was taken for, then every row with chance and interval."""
    from neurodyn.data.scores import read_scores
    from neurodyn.decode.intervals import COVERS

    rows = [("features", "decoder", "split", "metric", "value", "95 % interval", "shuffled", "p", "n")]
    for s in read_scores(path):
        if s.fold == "all":
            chance = "–" if s.null_mean != s.null_mean else f"{s.null_mean:.3f}"
            p = "–" if s.p != s.p else f"{s.p:.3f}"
            rows.append(
                (
                    s.features or s.model,
                    s.decoder,
                    s.split,
                    s.metric,
                    f"{s.value:.3f}",
                    f"{s.ci_low:.3f} … {s.ci_high:.3f}",
                    chance,
                    p,
                    f"{s.n} {s.unit}",
                )
            )
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*taken(path), lines[0], "-" * len(lines[0]), *lines[1:], COVERS])


def taken(path: Path) -> list[str]:
    """Return what the target of a table of scores was taken for in each session, in sentences, each once."""
    from neurodyn.core.files import read_json

    made = path.with_name(f"decode{path.stem.removeprefix('scores')}.json")
    sessions = read_json(made)["sessions"] if made.is_file() else []
    return list(dict.fromkeys(session["taken"] for session in sessions))
