"""`neurodyn decode`: stimulus or behaviour from signals and latents, with chance level and interval."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from neurodyn.cli.common import Out, resolve_section
from neurodyn.cli.console import Common, command, progress_bar


def register(app: typer.Typer) -> None:
    """Add the verb."""
    command(
        app,
        "decode",
        panel="Analysis",
        example="neurodyn decode runs/cst --target contrast --split blocked",
        sections=None,
    )(decode)


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
        int | None, typer.Option("--shuffles", min=0, help="Null labels for the chance level.", show_default=False)
    ] = None,
    curves: Annotated[
        str | None,
        typer.Option(
            "--curves", help="time, cells, generalise; several with commas: scores along trials, …", show_default=False
        ),
    ] = None,
    on_session: Annotated[
        Path | None,
        typer.Option(
            "--on-session",
            help="Another recording of the same cells, to test what is trained here.",
            show_default=False,
        ),
    ] = None,
    matching: Annotated[
        Path | None,
        typer.Option("--matching", help="cells.csv of `neurodyn match`, where cells have no ids.", show_default=False),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of folds and shuffles.", show_default=False)] = None,
    output: Out = None,
) -> None:
    """Decode a target and print where the table of scores is."""
    from neurodyn.core.files import check_output
    from neurodyn.decode.check import check
    from neurodyn.decode.settings import DecodeConfig

    given = {"target": target, "decoder": decoder, "protocol": protocol, "folds": folds, "shuffles": shuffles}
    given |= {"seed": seed, "features": features, "split": split, "curves": curves}
    given |= {"on_session": on_session, "matching": matching}
    config = resolve_section(common, "decode", DecodeConfig, flags_of(given))
    if output is not None:
        check_output(output, whole=False)
    if common.dry_run:
        check(source, config)
        common.plan([f"{k}: {v}" for k, v in config.model_dump().items()])
        return
    from neurodyn.decode.run import decode as run_decoding

    with progress_bar(common) as report:
        path = run_decoding(source, config=config, out=output, progress=report)
    common.say(table(path))
    common.product(path)


def flags_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what flags say, by key of the configuration; `values` are the options by name, None where not given."""
    plain = ("target", "decoder", "protocol", "folds", "shuffles", "seed", "on_session", "matching")
    flags = {name: values[name] for name in plain if values[name] is not None}
    several = {"features": values["features"], "splits": values["split"], "curves": values["curves"]}
    return flags | {name: text.split(",") for name, text in several.items() if text}


def table(path: Path) -> str:
    """Render a table of scores for the terminal: what the target was taken for, every row, what p and intervals are."""
    from neurodyn.data.curves import KINDS, curve_file, read_curve
    from neurodyn.data.scores import read_scores
    from neurodyn.decode.curve_words import curve_facts, curve_sentence
    from neurodyn.metrics.nulls import facts

    scores = read_scores(path)
    rows = [("features", "decoder", "split", "metric", "value", "95 % interval", "shuffled", "p", "n")]
    for s in scores:
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
    foot = dict.fromkeys(fact for s in scores if s.fold == "all" for fact in facts(s.note))
    suffix = path.stem.removeprefix("scores")
    curves = [curve for kind in KINDS for curve in read_curve(path.with_name(curve_file(kind, suffix)), kind)]
    told = [fact for curve in curves for fact in (curve_sentence(curve), *curve_facts(curve))]
    return "\n".join([*taken(path), lines[0], "-" * len(lines[0]), *lines[1:], *foot, *told])


def taken(path: Path) -> list[str]:
    """Return what the target of a table of scores was taken for in each session, in sentences, each once."""
    from neurodyn.core.files import read_json

    made = path.with_name(f"decode{path.stem.removeprefix('scores')}.json")
    sessions = read_json(made)["sessions"] if made.is_file() else []
    return list(dict.fromkeys(session["taken"] for session in sessions))
