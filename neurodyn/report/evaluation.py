"""Scores against ground truth: a table and a figure per metric, a row per dataset, a colour per feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure as Canvas

from neurodyn.data.scores import Score
from neurodyn.evaluate import EVALUATIONS
from neurodyn.evaluate.base import EVERY, MINUS, Evaluation
from neurodyn.report import FIGURES
from neurodyn.report.blocks import Block, Figure, Part, Section, Table, Text, interval, number
from neurodyn.report.decoding import pooled
from neurodyn.report.provenance import config_section
from neurodyn.report.style import BLACK, BLUE, GREEN, GREY, ORANGE, RED, draw

COLOURS = (BLUE, ORANGE, BLACK, GREEN, RED, GREY)
MARKERS = ("o", "D", "s", "^", "v", "P")
PANELS = 3
READING = "Intervals (95 %) resample the units named under n. Where n is 2 or 3 they say little more than the range."


def evaluation_part(title: str, scores: Sequence[Score], record: Mapping[str, Any]) -> Part:
    """Show what an evaluation wrote: by a figure of its own, or by one of any scores.

    Parameters
    ----------
    scores
        Rows of its table, folds included.
    record
        What stands beside the table.
    """
    evaluation, settings = _asked(record), record.get("config") or {}
    if evaluation.figure:
        return FIGURES.get(evaluation.figure)(title, scores, settings)
    whole = pooled(scores)
    of_runs = "sources" in record  # a row per run and part; side by side they are in the comparison
    section = runs_section(whole, evaluation) if of_runs else evaluation_section(whole)
    return Part(
        title=title,
        subtitle="Evaluation against ground truth",
        summary=[] if of_runs else evaluation_summary(whole),
        sections=[*([section] if whole else []), config_section(settings, {})],
        methods=[f"{_counted(record['recordings'])} scored against ground truth."],
    )


def _asked(record: Mapping[str, Any]) -> type[Evaluation[Any]]:
    """Return the evaluation that wrote a record; the plain one where its package is gone or the record does not say."""
    name = record.get("metric")
    return EVALUATIONS.get(name) if name in EVALUATIONS.names() else Evaluation


def _counted(recordings: Sequence[str]) -> str:
    return "1 recording was" if len(recordings) == 1 else f"{len(recordings)} recordings were"


def evaluation_section(scores: list[Score]) -> Section:
    """Show every metric: what was scored, beside what it is compared with."""
    blocks: list[Block] = []
    for metric in dict.fromkeys(score.metric for score in scores):
        rows = [score for score in scores if score.metric == metric]
        blocks += [_figure(metric, [row for row in rows if MINUS not in row.features]), _table(metric, rows)]
    return Section("Against ground truth", [*blocks, Text(READING)])


def evaluation_summary(scores: list[Score]) -> list[str]:
    """Say per metric how each feature did over all datasets, in words."""
    sentences = []
    for metric in dict.fromkeys(score.metric for score in scores):
        rows = [score for score in scores if score.metric == metric]
        whole = [row for row in rows if row.session == EVERY] or rows
        said = [f"{row.features} {number(row.value, 2)} {interval(row.ci_low, row.ci_high, 2)}" for row in whole]
        where = f" in {EVERY}" if whole[0].session == EVERY else f" in {whole[0].session}"
        sentences.append(f"{metric[:1].upper()}{metric[1:]}{where} ({whole[0].n} {whole[0].unit}): {'; '.join(said)}.")
    return sentences


def runs_section(scores: list[Score], evaluation: type[Evaluation[Any]] = Evaluation) -> Section:
    """Show scores of runs: a row per session, model, seed, part and analysed signal, a column per metric."""
    details = {
        caption: [score for score in scores if score.metric.startswith(start)]
        for start, caption in evaluation.details.items()
    }
    whole = [score for score in scores if not score.metric.startswith(tuple(evaluation.details))]
    tables = {"Run by run. In brackets: 95 % intervals.": whole} | details
    shown = [_runs_table(caption, rows, evaluation) for caption, rows in tables.items() if rows]
    return Section("Against ground truth", [_runs_figure(whole, evaluation), *shown])


def _runs_figure(scores: list[Score], evaluation: type[Evaluation[Any]]) -> Figure:
    """Draw the first metrics, a panel each, a row per session and model, a mark per seed and part."""
    metrics = list(dict.fromkeys(score.metric for score in scores))[:PANELS]
    several = len({score.session for score in scores}) > 1
    label = {id(s): f"{s.session}, {s.model}" if several else s.model for s in scores}
    names = list(dict.fromkeys(label.values()))
    parts = list(dict.fromkeys(score.split.rpartition(":")[2] for score in scores))

    def paint(canvas: Canvas) -> None:
        for axes, metric in zip(canvas.subplots(1, len(metrics), squeeze=False, sharey=True)[0], metrics, strict=True):
            for score in (score for score in scores if score.metric == metric):
                k = parts.index(score.split.rpartition(":")[2])
                y = names.index(label[id(score)]) + 0.22 * (k - (len(parts) - 1) / 2)
                colour, marker = COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]
                axes.plot([score.ci_low, score.ci_high], [y, y], color=colour, lw=1.1)
                axes.plot(score.value, y, marker, color=colour, ms=4, ls="none", label=parts[k])
            axes.set_title(evaluation.label(metric))
            axes.set_xlabel("value")
            axes.set_yticks(range(len(names)), names)
            axes.set_ylim(len(names) - 0.5, -0.5)
        handles, labels = canvas.axes[0].get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        canvas.legend(list(unique.values()), list(unique), loc="outside lower center", ncols=4)

    caption = "A mark per run and part, with its 95 % interval."
    return draw(paint, height=1.2 + 0.3 * len(names), alt="Scores against ground truth by run", caption=caption)


def _runs_table(caption: str, scores: list[Score], evaluation: type[Evaluation[Any]]) -> Table:
    metrics = list(dict.fromkeys(score.metric for score in scores))
    found: dict[tuple[str, ...], dict[str, Score]] = {}
    for score in scores:
        # what a run gave shares a row; analyses that were made of several signals have a row for each
        signal = score.features if evaluation.by_signal else ""
        part = score.split.rpartition(":")[2]
        found.setdefault((score.session, score.model, str(score.seed), signal, part), {})[score.metric] = score
    keys = ["Session", "Model", "Seed", "Signal", "Part"]
    same = {k for k in range(4) if len({key[k] for key in found}) == 1}  # said once, in the caption
    said = ", ".join(f"{keys[k].lower()} {next(iter(found))[k]}" for k in sorted(same) if next(iter(found))[k])
    rows = []
    for key, row in found.items():
        first = next(iter(row.values()))
        cells = [_value(row.get(metric), evaluation.digits) for metric in metrics]
        rows.append([*(name for k, name in enumerate(key) if k not in same), f"{first.n} {first.unit}", *cells])
    header = [*(name for k, name in enumerate(keys) if k not in same), "n", *map(evaluation.label, metrics)]
    notes = list(dict.fromkeys(f"{score.features}: {score.note}" for score in scores if score.note))
    numeric = frozenset(range(len(header) - len(metrics), len(header)))
    return Table(f"{caption} All: {said}." if said else caption, header, rows, numeric, notes)


def _value(score: Score | None, digits: int) -> str:
    return "–" if score is None else f"{number(score.value, digits)} {interval(score.ci_low, score.ci_high, 2)}"


def _figure(metric: str, rows: list[Score]) -> Figure:
    sessions = list(dict.fromkeys(row.session for row in rows))
    features = list(dict.fromkeys(row.features for row in rows))
    step = 0.8 / len(features)

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for row in rows:
            k = features.index(row.features)
            y = sessions.index(row.session) + step * (k - (len(features) - 1) / 2)
            colour = COLOURS[k % len(COLOURS)]
            axes.plot([row.ci_low, row.ci_high], [y, y], color=colour, lw=1.2)
            label = row.features if row.session == sessions[0] else None
            axes.plot(row.value, y, MARKERS[k % len(MARKERS)], color=colour, ms=4, ls="none", label=label)
        axes.set_yticks(range(len(sessions)), sessions)
        axes.set_ylim(len(sessions) - 0.5, -0.5)
        axes.set_xlabel(metric)
        if metric.startswith("r at"):  # intervals of two cells reach beyond what a correlation can be
            left, right = axes.get_xlim()
            axes.set_xlim(max(left, -1), min(right, 1))
        canvas.legend(loc="outside lower center", ncols=min(4, len(features)))

    height = 1.1 + max(0.3, 0.13 * len(features)) * len(sessions)
    caption = f"{metric}: mean and 95 % interval."
    return draw(paint, height=height, alt=f"{metric} by dataset", caption=caption)


def _table(metric: str, rows: list[Score]) -> Table:
    features = list(dict.fromkeys(row.features for row in rows))
    cells = []
    for session in dict.fromkeys(row.session for row in rows):
        here = {row.features: row for row in rows if row.session == session}
        values = [
            f"{number(here[name].value)} {interval(here[name].ci_low, here[name].ci_high, 2)}" if name in here else "–"
            for name in features
        ]
        counts = dict.fromkeys(f"{row.n} {row.unit}" for row in here.values())
        cells.append([session, *values, ", ".join(counts)])
    header = ["Dataset", *features, "n"]
    notes = list(dict.fromkeys(f"{row.features}: {row.note}" for row in rows if row.note))
    return Table(f"{metric}. In brackets: 95 % ranges.", header, cells, frozenset(range(1, len(header) - 1)), notes)
