"""The page of `compare`: a table and a figure for every question that the tables answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from neurodyn.metrics.paired import BLOCK_TEST, PAIRED_TEST
from neurodyn.report.blocks import Block, Part, Section, Table, p_value, short, short_interval
from neurodyn.report.comparison import Published
from neurodyn.report.rows import Answer, Question, Row, first, merit
from neurodyn.report.style import BLACK, BLUE, GREY, draw
from neurodyn.report.units import Unit

SHOWN_UNITS = 400
LINKED_UNITS = 40  # fewest that are specks, and not points that a line joins from row to row


def part_of(
    answers: Mapping[Question, Answer],
    published: Published | None,
) -> Part:
    """Return the part of a page that shows the answers."""
    sections = []
    for (split, target, metric), answer in answers.items():
        blocks: list[Block] = [
            _page_table(target, metric, answer, published),
            _figure(metric, target, answer.rows),
        ]
        sections.append(Section(f"{target}, {metric.replace('_', ' ')}, {split}", blocks))
    return Part(
        title="Models side by side",
        subtitle=f"Paired over {', '.join(dict.fromkeys(answer.rows[0].kind.name for answer in answers.values()))}",
        summary=[_sentence(*question, answer) for question, answer in answers.items()],
        sections=sections,
        references=[published.source] if published else [],
    )


def _sentence(split: str, target: str, metric: str, answer: Answer) -> str:
    """Call one row best only where the interval of its difference to every other one says so."""
    leader = first(answer.rows, metric)
    ties = sorted(answer.ties, key=lambda row: -float(merit(row.mean, metric)))
    named = ", ".join(f"{row.name} {short(row.mean)}" for row in ties[:3])
    more = f" and {len(ties) - 3} more" if len(ties) > 3 else ""
    said = f"best {leader.name} {short(leader.mean)}, by the interval of its difference to each other row"
    if ties:
        said = f"first {leader.name} {short(leader.mean)}, not to be told from {named}{more}"
    return f"{target}, {metric.replace('_', ' ')} ({split}): {said}."


def _page_table(
    target: str,
    metric: str,
    answer: Answer,
    published: Published | None,
) -> Table:
    rows, tests = answer.rows, answer.tests
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
    return Table(caption, header, cells, frozenset(range(1, len(header))), _notes(answer))


def _notes(answer: Answer) -> list[str]:
    """Say what the units are and what their number allows, each once, and what was left out."""
    rows = answer.rows
    found = [test.words for test in answer.tests.values()]
    found = found or [rows[0].kind.words(len(rows[0].units), rows[0].tested.effective)]
    notes = [f"{words[:1].upper()}{words[1:]}." for words in dict.fromkeys(found)]
    return notes + [f"{twin} is left out: all its values are those of {row}." for twin, row in answer.twins.items()]


def _figure(metric: str, target: str, rows: Sequence[Row]) -> Block:
    units = list(dict.fromkeys(unit for row in rows for unit in row.units))
    linked = len(units) < LINKED_UNITS

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        if linked:
            _link(axes, rows, units)
        for y, row in enumerate(rows):
            if not linked:
                _specks(axes, y, row)
            low, high = row.interval
            axes.plot([low, high], [y, y], color=BLUE, lw=2.4)
            axes.plot(row.mean, y, "|", color=BLACK, ms=10, mew=1.4)
        axes.set_yticks(range(len(rows)), [row.name for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(f"{metric.replace('_', ' ')} of {target}")
        values = np.concatenate([list(row.units.values()) for row in rows])
        if (values > 0).all() and values.max() > 30 * np.median(values):
            axes.set_xscale("log")

    grey = f"{rows[0].kind.name}, each joined from row to row" if linked else "units, or the windows of blocks"
    caption = f"Grey: {grey}; blue: 95 % interval of the mean; black: mean."
    return draw(paint, height=0.6 + 0.26 * len(rows), alt=f"{metric} of every model", caption=caption)


def _link(axes: Axes, rows: Sequence[Row], units: Sequence[Unit]) -> None:
    """Draw every unit as points that a line joins from row to row."""
    for unit in units:
        places = [y for y, row in enumerate(rows) if unit in row.units]
        axes.plot([rows[y].units[unit] for y in places], places, "o-", color=GREY, ms=4.5, lw=0.7, alpha=0.6, mew=0)


def _specks(axes: Axes, y: int, row: Row) -> None:
    rng = np.random.default_rng(0)
    shown = rng.permutation(np.array(list(row.units.values())))[:SHOWN_UNITS]
    axes.plot(shown, y + rng.uniform(-0.25, 0.25, shown.size), "o", color=GREY, ms=1.6, alpha=0.35, mew=0)
