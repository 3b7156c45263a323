"""Models that are compared: one row each, with its interval, and against the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from neurodyn.metrics.paired import MeanTest
from neurodyn.report.units import Kind, Unit

SMALLER_IS_BETTER = ("error", "error, deg", "mse", "mae", "smape", "mase", "roughness", "crps", "crps_ensemble")
RIGHT_AT = {"coverage_50": 0.5, "coverage_90": 0.9, "spread_skill": 1.0}
Question = tuple[str, str, str]  # split, target, metric


@dataclass(frozen=True)
class Row:
    """One model on one target.

    Parameters
    ----------
    name
        The model, with features and decoder where they differ.
    units
        (session, fold or seed) -> value, averaged over the seeds of one session and fold; in order of time.
    seeds
        Seeds behind them.
    kind
        What is a unit.
    """

    name: str
    units: Mapping[Unit, float]
    seeds: int
    kind: Kind

    @property
    def mean(self) -> float:
        """Mean over units."""
        return float(np.mean(list(self.units.values())))

    @cached_property
    def means(self) -> np.ndarray:
        """Value of each unit, shape (unit,)."""
        return self.kind.means(np.array(list(self.units.values())))

    @cached_property
    def tested(self) -> MeanTest:
        """The mean's 95 % interval."""
        return self.kind.test(np.array(list(self.units.values())))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean over units."""
        return self.tested.low, self.tested.high


@dataclass(frozen=True)
class Answer:
    """What the rows of one question say.

    Parameters
    ----------
    rows
        One per model; no two have the same values.
    tests
        Row -> its test against the reference, which has none.
    ties
        Rows that the first one, by mean, cannot be told from: the interval of the paired difference contains 0, or there is none.
    twins
        Row that was left out -> the row that has the same values.
    """

    rows: Sequence[Row]
    tests: Mapping[str, Paired]
    ties: Sequence[Row]
    twins: Mapping[str, str]


@dataclass
class Paired:
    """One row against the reference, over the units they share.

    Parameters
    ----------
    difference, low, high
        Mean of row minus reference, and its 95 % interval over units (Student's t).
    better
        Share of units in which the row is better.
    p
        Two-sided; of blocks the t-test, else Wilcoxon's signed-rank test. NaN where all differences are zero or there are too
        few units.
    adjusted
        The same, corrected for the number of rows (Benjamini & Yekutieli 2001).
    count
        Shared units.
    words
        What the units are.
    """

    difference: float
    low: float
    high: float
    better: float
    p: float
    count: int
    words: str
    adjusted: float = field(default=float("nan"))


def first(rows: Sequence[Row], metric: str) -> Row:
    """Return the row with the best mean."""
    return max(rows, key=lambda row: float(merit(row.mean, metric)))


def merit(values: np.ndarray | float, metric: str) -> np.ndarray:
    """Return what is larger the better a value is."""
    if metric in RIGHT_AT:
        return -np.abs(np.asarray(values) - RIGHT_AT[metric])
    return np.asarray(values) * (-1 if metric.endswith(SMALLER_IS_BETTER) else 1)
