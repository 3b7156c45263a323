"""How many cells do something, with the interval of their share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from scipy.stats import binomtest


@dataclass(frozen=True)
class Share:
    """How many cells do something.

    Parameters
    ----------
    name, words
        Column of the table of cells, and what it says.
    count, of
        Cells that do, and cells that could be tested.
    low, high
        95 % interval of the share (Wilson 1927).
    """

    name: str
    words: str
    count: int
    of: int
    low: float
    high: float

    @classmethod
    def of_cells(cls, name: str, words: str, count: int, of: int) -> Self:
        """Add the interval."""
        low, high = binomtest(count, of).proportion_ci(method="wilson")
        return cls(name, words, count, of, float(low), float(high))

    def sentence(self, each: str = "cells") -> str:
        """Return it in words, of cells or pixels."""
        share = f"{self.count} of {self.of} {each} {self.words}"
        return f"{share} ({self.count / self.of:.0%}, 95 % interval {self.low:.0%} to {self.high:.0%})"
