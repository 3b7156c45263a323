"""One page over all that a pipeline made: every job, what became of it, and a link to its product."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from neurodyn.report.blocks import Grid, Link, Mark, Part, Section, Table, number
from neurodyn.report.page import write_page
from neurodyn.workflow.matrix import Value
from neurodyn.workflow.states import ORDER, JobState, files_of, repeat_command, summary

PAGES = ("comparison.html", "report.html")
LINES = 3
LETTERS = {state: state[0].upper() for state in ORDER}


def write_index(folder: Path, description: str, states: Sequence[JobState]) -> Path:
    """Write index.html into a pipeline's output folder.

    Parameters
    ----------
    description
        What the pipeline does.
    states
        What became of its jobs.
    """
    cells = [state for state in states if state.cell]
    sections = [Section("Overview", [_grid(folder, cells)])] if cells else []
    failed = [state for state in states if state.state == "failed"]
    sections += [Section("Failed", [_failures(folder, failed)])] if failed else []
    held = [state for state in states if state.held_by]
    sections += [Section("Held back", [_held_back(held)])] if held else []
    for rule in dict.fromkeys(state.rule for state in states):
        sections.append(Section(rule, [_jobs(folder, [state for state in states if state.rule == rule])]))
    part = Part(title=folder.resolve().name, subtitle=description, summary=[summary(states)], sections=sections)
    return write_page([part], folder / "index.html")


def _grid(folder: Path, states: Sequence[JobState]) -> Grid:
    """Return jobs by session, or what else is the first axis of their matrix, and by what else tells them apart."""
    axis = next(iter(states[0].cell))
    inside = [state for state in states if axis in state.cell]
    places: dict[str, dict[str, list[Mark]]] = {}
    for state in inside:
        column = _column({name: value for name, value in state.cell.items() if name != axis})
        places.setdefault(str(state.cell[axis]), {}).setdefault(column, []).append(_mark(folder, state))
    columns = list(dict.fromkeys(column for row in places.values() for column in row))
    rows = [(title, [row.get(column, []) for column in columns]) for title, row in places.items()]
    legend = {state: letter for state, letter in LETTERS.items() if any(each.state == state for each in inside)}
    return Grid("What became of every job; a link leads to what it made.", legend, [axis, *columns], rows)


def _column(cell: dict[str, Value]) -> str:
    """Return a column's name: pca, seed 0."""
    return ", ".join(value if isinstance(value, str) else f"{name} {value}" for name, value in cell.items()) or "jobs"


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
