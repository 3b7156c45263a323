"""One page over all that a pipeline made: every job, what became of it, and a link to its product."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from neurodyn.report.blocks import Link, Part, Section, Table, number
from neurodyn.report.page import write_page
from neurodyn.workflow.states import JobState, summary

PAGES = ("comparison.html", "report.html")
LINES = 3


def write_index(folder: Path, description: str, states: Sequence[JobState]) -> Path:
    """Write index.html into a pipeline's output folder.

    Parameters
    ----------
    description
        What the pipeline does.
    states
        What became of its jobs.
    """
    failed = [state for state in states if state.state == "failed"]
    sections = [Section("Failed", [_failures(folder, failed)])] if failed else []
    for rule in dict.fromkeys(state.rule for state in states):
        sections.append(Section(rule, [_jobs(folder, [state for state in states if state.rule == rule])]))
    part = Part(title=folder.resolve().name, subtitle=description, summary=[summary(states)], sections=sections)
    return write_page([part], folder / "index.html")


def _failures(folder: Path, failed: list[JobState]) -> Table:
    rows = [[state.name, str(state.code), " | ".join(state.tail(folder, LINES))] for state in failed]
    return Table("What the jobs said last.", ["Job", "Exit code", "Why"], rows, frozenset({1}))


def _jobs(folder: Path, states: list[JobState]) -> Table:
    rows = [
        [state.name, state.state, "–" if state.seconds is None else number(state.seconds, 1), _link(folder, state)]
        for state in states
    ]
    return Table("", ["Job", "State", "Seconds", "Product"], rows, frozenset({2}))


def _link(folder: Path, state: JobState) -> str | Link:
    """Return a link to a product, or to the page in it, where it is there."""
    product = folder / state.product
    page = next((product / name for name in PAGES if (product / name).exists()), product)
    return Link(state.product, os.path.relpath(page, folder)) if page.exists() else state.product
