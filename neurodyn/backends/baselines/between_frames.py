"""Between visible frames: straight lines, or the last one held."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from neurodyn.backends.baselines.interpolator import Interpolator
from neurodyn.nn.interpolation import hold, interpolate


class BetweenFrames(Interpolator):
    """Every entry by itself, from the visible values before and after."""

    CURVE: ClassVar[Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]]

    def _curve(
        self,
        values: Float[Tensor, "batch time entry"],
        t: Float[Tensor, "batch time"],
        seen: Bool[Tensor, "batch time entry"],
        at: Float[Tensor, "batch query"],
    ) -> Float[Tensor, "batch query entry"]:
        return type(self).CURVE(values, t, seen, at)


class Linear(BetweenFrames):
    """Straight lines in time between the visible values of every entry.

    y(q) = y₀ + (q − t₀) / (t₁ − t₀) · (y₁ − y₀), with t₀ ≤ q ≤ t₁ the nearest visible times of that entry.

    Meijering 2002, A chronology of interpolation, Proc. IEEE.
    """

    citation = "Meijering E. (2002). A chronology of interpolation. Proc. IEEE 90:319."
    CURVE = staticmethod(interpolate)


class Persistence(BetweenFrames):
    """The last visible value of every entry, held until the next.

    y(q) = y₀, with t₀ ≤ q the latest visible time of that entry; before the first one, its value.

    Hyndman & Athanasopoulos 2021, Forecasting: principles and practice (the naive forecast).
    """

    citation = "Hyndman R.J., Athanasopoulos G. (2021). Forecasting: Principles and Practice. 3rd ed. OTexts."
    CURVE = staticmethod(hold)
