"""Scores against ground truth: a table and a figure per metric, a row per dataset, a colour per feature."""

from __future__ import annotations

from matplotlib.figure import Figure as Canvas

from neurodyn.data.scores import Score
from neurodyn.report.blocks import Block, Figure, Section, Table, Text, interval, number
from neurodyn.report.style import BLACK, BLUE, GREEN, GREY, ORANGE, RED, draw

COLOURS = (BLUE, ORANGE, BLACK, GREEN, RED, GREY)
MARKERS = ("o", "D", "s", "^", "v", "P")
DIFFERENCE = " minus "
EVERY = "every dataset"
READING = "Intervals (95 %) resample the units named under n. Where n is 2 or 3 they say little more than the range."


def evaluation_section(scores: list[Score]) -> Section:
    """Show every metric: what was scored, beside what it is compared with."""
    blocks: list[Block] = [Text(READING)]
    for metric in dict.fromkeys(score.metric for score in scores):
        rows = [score for score in scores if score.metric == metric]
        blocks += [_figure(metric, [row for row in rows if DIFFERENCE not in row.features]), _table(metric, rows)]
    return Section("Against ground truth", blocks)


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
