"""Jobs made so far, and which of them a reference such as `@train` or `@train*` stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neurodyn.core.errors import ConfigError
from neurodyn.core.registry import unknown
from neurodyn.workflow.matrix import Cell, Value

Key = tuple[tuple[str, Value], ...]


@dataclass(frozen=True)
class Job:
    """One command, ready to run.

    Parameters
    ----------
    rule
        Its name in the pipeline.
    name
        The same with the values of its cell.
    argv
        Arguments after `neurodyn`.
    needs
        Jobs whose products it reads.
    product
        What it makes, relative to the output folder.
    """

    rule: str
    name: str
    argv: tuple[str, ...]
    needs: tuple[str, ...]
    product: str


class Made:
    """Jobs made so far, by their name in the pipeline; found by cell in a time that does not grow with their number."""

    def __init__(self) -> None:
        self.jobs: dict[str, Sequence[tuple[Cell, Job]]] = {}
        self._indices: dict[tuple[str, frozenset[str]], _Index] = {}

    def add(self, rule: str, jobs: Sequence[tuple[Cell, Job]]) -> None:
        """Add all jobs of one name, with their cells."""
        self.jobs[rule] = jobs

    def meant(self, name: str, word: str, cell: Cell) -> list[Job]:
        """Return the job that ``@job`` stands for in a cell, or all that ``@job*`` stands for: those that agree with it.

        ``@job?`` stands for none where that job is left out.

        Raises
        ------
        ConfigError
            If there is no such job, or not one where one is meant.
        """
        rule = word[1:].rstrip("*?")
        if rule not in self.jobs:
            raise unknown(f"earlier job for jobs.{name}", rule, self.jobs)
        found = self._agreeing(rule, cell)
        if not found and word.endswith("?"):
            return []
        if not found or (len(found) > 1 and not word.endswith("*")):
            cells = [job.name for _, job in self.jobs[rule]]
            raise ConfigError(
                f"jobs.{name}: {word} stands for {len(found)} jobs.",
                f"The cells of {rule}: {', '.join(cells[:10])}{', …' if len(cells) > 10 else ''}.",
                f"Write @{rule}* for all of them, or give both jobs the same matrix.",
            )
        return found

    def _agreeing(self, rule: str, cell: Cell) -> list[Job]:
        """Return the jobs whose cells have the same values as this one on every axis that both have."""
        axes = frozenset(cell)
        if (rule, axes) not in self._indices:
            self._indices[rule, axes] = _index(self.jobs[rule], axes)
        index = self._indices[rule, axes]
        hits = [hit for shared, jobs in index.items() for hit in jobs.get(_key(cell, shared), [])]
        return [job for _, job in sorted(hits, key=lambda hit: hit[0])]


_Index = dict[frozenset[str], dict[Key, list[tuple[int, Job]]]]


def _index(jobs: Sequence[tuple[Cell, Job]], axes: frozenset[str]) -> _Index:
    """Sort jobs by which of the axes they have, and by their values on these; keep their places."""
    index: _Index = {}
    for place, (cell, job) in enumerate(jobs):
        shared = frozenset(axes & cell.keys())
        index.setdefault(shared, {}).setdefault(_key(cell, shared), []).append((place, job))
    return index


def _key(cell: Cell, axes: frozenset[str]) -> Key:
    return tuple((axis, cell[axis]) for axis in sorted(axes))
