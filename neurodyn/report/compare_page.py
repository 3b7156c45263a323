"""The page of `compare`: a table and a figure for every question that the tables answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure as Canvas

from neurodyn.metrics.paired import BLOCK_TEST, PAIRED_TEST
from neurodyn.report.blocks import Block, Part, Section, Table, p_value, short, short_interval
from neurodyn.report.comparison import Published
from neurodyn.report.rows import Paired, Question, Row, merit
from neurodyn.report.style import BLACK, BLUE, GREY, draw

SHOWN_UNITS = 400


def part_of(
    answers: Mapping[Question, tuple[Sequence[Row], Mapping[str, Paired]]],
    published: Published | None,
) -> Part:
    """Return the part of a page that shows the answers: question -> rows, and the test of each but the reference."""
    sections = []
    for (split, target, metric), (rows, tests) in answers.items():
        blocks: list[Block] = [
            _page_table(target, metric, rows, tests, published),
            _figure(metric, target, rows),
        ]
        sections.append(Section(f"{target}, {metric.replace('_', ' ')}, {split}", blocks))
    return Part(
        title="Models side by side",
        subtitle=f"Paired over {', '.join(dict.fromkeys(rows[0].kind.name for rows, _ in answers.values()))}",
        summary=[_sentence(*question, rows) for question, (rows, _) in answers.items()],
        sections=sections,
        references=[published.source] if published else [],
    )


def _sentence(split: str, target: str, metric: str, rows: Sequence[Row]) -> str:
    best = sorted(rows, key=lambda row: -float(merit(row.mean, metric)))[:3]
    return (
        f"{target}, {metric.replace('_', ' ')} ({split}): best {', '.join(f'{r.name} {short(r.mean)}' for r in best)}."
    )


def _page_table(
    target: str,
    metric: str,
    rows: Sequence[Row],
    tests: Mapping[str, Paired],
    published: Published | None,
) -> Table:
    reference = next(row.name for row in rows if row.name not in tests)
    figures = published.values.get(target, {}) if published else {}
    cells = []
    for row in rows:
        test, figure = tests.get(row.name), figures.get(row.name, {}).get(metric)
        compared = ["", "", "", ""]
        if test is not None:
            compared = [
                short(test.difference),
                short_interval(test.low, test.high),
                f"{test.better:.0%}",
                p_value(test.adjusted),
            ]
        there = "–" if figure is None else f"{short(figure[0])} ± {short(figure[1])}"
        mean = [short(row.mean), short_interval(*row.interval), str(row.means.size), str(row.seeds)]
        cells.append([row.name, *mean, *compared, *([there] if published else [])])
    name = rows[0].kind.name
    header = [
        "Model",
        "Mean",
        "95 % interval",
        name.capitalize(),
        "Runs",
        f"Minus {reference}",
        "95 % interval",
        "Better",
        "p",
    ]
    caption = (
        f"Mean over {name} and its 95 % interval (Student's t); difference to the reference over shared {name}, share of "
        f"{name} better than it, and p of {BLOCK_TEST if rows[0].kind.in_time else PAIRED_TEST}."
    )
    header += ["Published"] if published else []
    return Table(caption, header, cells, frozenset(range(1, len(header))), _notes(rows, tests))


def _notes(rows: Sequence[Row], tests: Mapping[str, Paired]) -> list[str]:
    """Say what the units are and what their number allows, each once."""
    found = [test.words for test in tests.values()]
    found = found or [rows[0].kind.words(len(rows[0].units), rows[0].tested.effective)]
    return [f"{words[:1].upper()}{words[1:]}." for words in dict.fromkeys(found)]


def _figure(metric: str, target: str, rows: Sequence[Row]) -> Block:
    rng = np.random.default_rng(0)

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for y, row in enumerate(rows):
            values = np.array(list(row.units.values()))
            shown = rng.permutation(values)[:SHOWN_UNITS]
            axes.plot(shown, y + rng.uniform(-0.25, 0.25, shown.size), "o", color=GREY, ms=1.6, alpha=0.35, mew=0)
            low, high = row.interval
            axes.plot([low, high], [y, y], color=BLUE, lw=2.4)
            axes.plot(row.mean, y, "|", color=BLACK, ms=10, mew=1.4)
        axes.set_yticks(range(len(rows)), [row.name for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(f"{metric.replace('_', ' ')} of {target}")
        values = np.concatenate([list(row.units.values()) for row in rows])
        if (values > 0).all() and values.max() > 30 * np.median(values):
            axes.set_xscale("log")

    caption = "Grey: units, or the windows of blocks; blue: 95 % interval of the mean; black: mean."
    return draw(paint, height=0.6 + 0.26 * len(rows), alt=f"{metric} of every model", caption=caption)
