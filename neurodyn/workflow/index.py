"""One page over all that a pipeline made: every job, what became of it, and a link to its product."""

from __future__ import annotations

import base64
import csv
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from neurodyn.report.blocks import Block, Figure, Grid, Items, Link, Mark, Part, Section, Table, Text, number
from neurodyn.report.page import write_page
from neurodyn.workflow.matrix import Value
from neurodyn.workflow.states import ORDER, JobState, files_of, repeat_command, summary, unhealthy

PAGES = ("comparison.html", "report.html")
LINES = 3
PICTURE = re.compile(r'<img src="(data:image/[^"]+)" alt="([^"]*)"')
PICTURES = 50  # of sessions on one page; further ones are in the grid alone
LETTERS = {state: state[0].upper() for state in ORDER}


def write_index(
    folder: Path, description: str, states: Sequence[JobState], left_out: Mapping[str, str] | None = None
) -> Path:
    """Write index.html into a pipeline's output folder.

    Parameters
    ----------
    description
        What the pipeline does.
    states
        What became of its jobs.
    left_out
        Job that is not run -> why.
    """
    cells = [state for state in states if state.cell]
    pictures = _pictures(folder, cells)
    sections = [Section("At a glance", pictures)] if pictures else []
    sections += [Section("Overview", [_grid(folder, cells)])] if cells else []
    failed = [state for state in states if state.state == "failed"]
    sections += [Section("Failed", [_failures(folder, failed)])] if failed else []
    held = [state for state in states if state.held_by]
    sections += [Section("Held back", [_held_back(held)])] if held else []
    told = [line for state in states if state.state == "done" for line in unhealthy(folder, state.argv, state.product)]
    sections += [Section("Unhealthy", [Items(told)])] if told else []
    matched = [state for state in states if state.argv[0] == "match" and state.state == "done"]
    sections += [Section("The same cells", _matched(folder, state)) for state in matched]
    sections += [Section("Left out", [_left_out(left_out)])] if left_out else []
    for rule in dict.fromkeys(state.rule for state in states):
        jobs = _jobs(folder, [state for state in states if state.rule == rule])
        sections.append(Section(rule, [jobs], folded=bool(pictures)))
    part = Part(title=folder.resolve().name, subtitle=description, summary=[summary(states)], sections=sections)
    return write_page([part], folder / "index.html")


def _pictures(folder: Path, states: Sequence[JobState]) -> list[Figure]:
    """Return the first picture of every cell's report, leading there."""
    found = []
    for state in states:
        page = folder / state.product
        if state.state == "done" and page.suffix == ".html" and len(found) < PICTURES:
            picture = PICTURE.search(page.read_text(encoding="utf-8"))
            title = Link(", ".join(map(str, state.cell.values())), os.path.relpath(page, folder))
            found += [Figure(picture[1], picture[2], "", title)] if picture else []
    return found


def _matched(folder: Path, state: JobState) -> list[Block]:
    """Say how many cells sessions share, and show each session's field on that of the reference."""
    product = folder / state.product
    with (product / "cells.csv").open(encoding="utf-8", newline="") as handle:
        header, *rows = csv.reader(handle)
    days = [place for place, name in enumerate(header) if name not in ("cell", "p")]
    shared = sum(all(row[place] for place in days) for row in rows)
    table = os.path.relpath(product / "cells.csv", folder)
    blocks: list[Block] = [
        Text(f"{shared} of {len(rows)} cells are in every session; {table} has the row of each in every one.")
    ]
    for picture in sorted((product / "aligned").glob("*.png")):
        uri = f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"
        words = f"{picture.stem} on the session with most cells, as recorded and aligned."
        blocks.append(Figure(uri, words, words, Link(picture.stem, table)))
    return blocks


def _grid(folder: Path, states: Sequence[JobState]) -> Grid:
    """Return jobs by session, or what else is the first axis of their matrix, and by what else tells them apart."""
    axis = next(iter(states[0].cell))
    inside = [state for state in states if axis in state.cell]
    places: dict[str, dict[str, list[Mark]]] = {}
    for state in inside:
        column = _column({name: value for name, value in state.cell.items() if name != axis}, state.rule)
        places.setdefault(str(state.cell[axis]), {}).setdefault(column, []).append(_mark(folder, state))
    columns = list(dict.fromkeys(column for row in places.values() for column in row))
    pages = {str(state.cell[axis]): _report(folder, state) for state in inside if _report(folder, state)}
    rows = [
        (Link(title, page) if (page := pages.get(title)) else title, [row.get(column, []) for column in columns])
        for title, row in places.items()
    ]
    legend = {state: letter for state, letter in LETTERS.items() if any(each.state == state for each in inside)}
    return Grid("What became of every job; a link leads to what it made.", legend, [axis, *columns], rows)


def _column(cell: dict[str, Value], rule: str) -> str:
    """Return a column's name: pca, seed 0; that of the job where nothing but the row tells cells apart."""
    return ", ".join(value if isinstance(value, str) else f"{name} {value}" for name, value in cell.items()) or rule


def _report(folder: Path, state: JobState) -> str | None:
    """Return the way to a row's own report, where it is there."""
    alone = state.state == "done" and len(state.cell) == 1 and state.product.endswith(".html")
    return _page(folder, state) if alone else None


def _mark(folder: Path, state: JobState) -> Mark:
    made = _page(folder, state) if state.state == "done" else None
    more = [Link("log", _log(folder, state)), Link("repeat", f"#{state.name}")] if state.state == "failed" else []
    return Mark(state.state, Link(state.rule, made) if made else state.rule, more)


def _failures(folder: Path, failed: Sequence[JobState]) -> Table:
    rows = [
        [
            Link(state.name, _log(folder, state), state.name),
            str(state.code),
            " | ".join(state.tail(folder, LINES)),
            repeat_command(folder.resolve(), state.argv),
        ]
        for state in failed
    ]
    header = ["Job and its log", "Exit code", "What it said last", "Repeat it"]
    return Table("Jobs that failed.", header, rows, frozenset({1}))


def _held_back(held: Sequence[JobState]) -> Table:
    rows = [[state.name, ", ".join(state.held_by)] for state in held]
    return Table("Jobs that could not begin, since one that they need failed.", ["Job", "Held back by"], rows)


def _left_out(left_out: Mapping[str, str]) -> Table:
    return Table("Jobs that are not run, and why.", ["Job", "Why"], list(map(list, left_out.items())))


def _jobs(folder: Path, states: Sequence[JobState]) -> Table:
    rows = [
        [state.name, state.state, "–" if state.seconds is None else number(state.seconds, 1), _link(folder, state)]
        for state in states
    ]
    return Table("", ["Job", "State", "Seconds", "Product"], rows, frozenset({2}))


def _link(folder: Path, state: JobState) -> str | Link:
    """Return a link to a product, or to the page in it, where it is there."""
    page = _page(folder, state)
    return Link(state.product, page) if page else state.product


def _page(folder: Path, state: JobState) -> str | None:
    product = folder / state.product
    page = next((product / name for name in PAGES if (product / name).exists()), product)
    return os.path.relpath(page, folder) if page.exists() else None


def _log(folder: Path, state: JobState) -> str:
    return os.path.relpath(files_of(folder, state).log, folder)
