"""The last visible frame, held."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from neurodyn.backends.baselines.interpolator import Interpolator
from neurodyn.nn.interpolation import hold


class Persistence(Interpolator):
    """The last visible value of every entry, held until the next.

    y(q) = y₀, with t₀ ≤ q the latest visible time of that entry; before the first one, its value.

    Hyndman & Athanasopoulos 2021, Forecasting: principles and practice (the naive forecast).
    """

    citation = "Hyndman R.J., Athanasopoulos G. (2021). Forecasting: Principles and Practice. 3rd ed. OTexts."

    def _curve(
        self,
        values: Float[Tensor, "batch time entry"],
        t: Float[Tensor, "batch time"],
        seen: Bool[Tensor, "batch time entry"],
        at: Float[Tensor, "batch query"],
    ) -> Float[Tensor, "batch query entry"]:
        return hold(values, t, seen, at)
