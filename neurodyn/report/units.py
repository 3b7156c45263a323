"""What is drawn at random where models are compared: sessions, subjects, or the parts of one session."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from neurodyn.core.errors import ConfigError
from neurodyn.data.scores import Score
from neurodyn.metrics.paired import (
    FEWEST,
    FEWEST_IN_EFFECT,
    MeanTest,
    block_means,
    correlated_mean_test,
    mean_test,
)

OF_CROSS_VALIDATION = re.compile(r"\d+\.\d+")  # repeat and number of a fold
IN_TIME = re.compile(r"-?\d+|-?[\d.]+ s")  # number of a window, or its start
Unit = tuple[str, str]  # session, and fold or seed


@dataclass(frozen=True)
class Kind:
    """What the units are.

    Parameters
    ----------
    name
        What they are called: sessions, subjects, blocks, neurons, cells, trainings; "session" where one is all there is.
    subject
        Pattern whose first group is the subject in a session's name.
    """

    name: str
    subject: re.Pattern[str] | None = None

    @property
    def grouped(self) -> bool:
        """Whether units are whole sessions or subjects."""
        return self.name in ("sessions", "subjects", "session")

    @property
    def in_time(self) -> bool:
        """Whether units are neighbours in time."""
        return self.name == "blocks"

    def of(self, session: str) -> str:
        """Return the unit that a session belongs to.

        Raises
        ------
        ConfigError
            If the pattern does not say.
        """
        if self.subject is None:
            return session
        found = self.subject.search(session)
        if found is None or not found.groups():
            raise ConfigError(
                f"--subject {self.subject.pattern} finds no subject in session '{session}'.",
                "Expected a regular expression with one group that matches every session's name.",
                "Example for m01_day2: --subject '^(m[0-9]+)_'",
            )
        return found[1]

    def means(self, values: np.ndarray) -> np.ndarray:
        """Return the value of each unit: of windows in order of time, the mean of each block; shape (unit,)."""
        return block_means(values) if self.in_time else values

    def test(self, values: np.ndarray) -> MeanTest:
        """Return the interval of the mean of units, or of windows in order of time, and its t-test."""
        return correlated_mean_test(values) if self.in_time else mean_test(values)

    def words(self, windows: int, effective: float) -> str:
        """Say what the units are and of what they speak."""
        if self.name == "session":
            return "one session: its folds share their training data and are no units, so there is no interval and no p"
        if self.grouped:
            told = f"units are {windows} {self.name}"
            few = f"with {windows} {self.name}, p cannot be smaller than {2.0 ** (1 - windows):.3g}"
            return few if windows < FEWEST else told
        if not self.in_time:
            return f"units are {windows} {self.name} of one session: says nothing of other sessions"
        blocks = min(windows, block_means(np.zeros(windows)).size)
        long = f"blocks of {windows / blocks:.3g} neighbouring windows or trials of one session"
        few = (
            f": fewer than {FEWEST_IN_EFFECT}, so there is no interval and no p" if effective < FEWEST_IN_EFFECT else ""
        )
        return f"units are {blocks} {long}, their windows tell as much as {effective:.1f} independent ones{few}; says nothing of other sessions"


def kind_of(scores: Sequence[Score]) -> Kind:
    """Return what the units are where nobody says."""
    folds = {s.fold for s in scores if s.fold != "all"}
    if len({s.session for s in scores}) > 1:
        return Kind("sessions")
    if not folds:
        return Kind("trainings")
    if all(OF_CROSS_VALIDATION.fullmatch(fold) for fold in folds):
        return Kind("session")
    if all(IN_TIME.fullmatch(fold) for fold in folds):
        return Kind("blocks")
    return Kind("neurons" if all(fold.startswith("roi ") for fold in folds) else "cells")


def ordered(units: Iterable[Unit], kind: Kind) -> list[Unit]:
    """Return units in order of time, or of their names."""
    return sorted(units, key=lambda unit: float(unit[1].removesuffix(" s"))) if kind.in_time else sorted(units)
