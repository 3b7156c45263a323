"""A quantity held against its thresholds."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One quantity against its thresholds.

    Parameters
    ----------
    name
        What was measured, with its unit.
    value
        What was found.
    low, high
        Outside them the flag is raised.
    reason
        What a raised flag means for the data.
    """

    name: str
    value: float
    low: float
    high: float
    reason: str

    @property
    def raised(self) -> bool:
        """Whether the value asks for a look; one that is no number does."""
        return not self.low <= self.value <= self.high

    @property
    def limits(self) -> str:
        """When the flag is raised, in signs."""
        sides = [f"< {self.low:g}"] if math.isfinite(self.low) else []
        sides += [f"> {self.high:g}"] if math.isfinite(self.high) else []
        return " or ".join(sides).replace("-", "−")


def above(name: str, value: float, threshold: float, reason: str) -> Check:
    """Return a check whose flag is raised above a threshold."""
    return Check(name, value, -math.inf, threshold, reason)
