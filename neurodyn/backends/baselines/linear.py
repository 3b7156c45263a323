"""Linear interpolation between visible frames."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from neurodyn.backends.baselines.interpolator import Interpolator
from neurodyn.nn.interpolation import interpolate


class Linear(Interpolator):
    """Straight lines in time between the visible values of every entry.

    y(q) = y₀ + (q − t₀) / (t₁ − t₀) · (y₁ − y₀), with t₀ ≤ q ≤ t₁ the nearest visible times of that entry.

    Meijering 2002, A chronology of interpolation, Proc. IEEE.
    """

    citation = "Meijering E. (2002). A chronology of interpolation. Proc. IEEE 90:319."

    def _curve(
        self,
        values: Float[Tensor, "batch time entry"],
        t: Float[Tensor, "batch time"],
        seen: Bool[Tensor, "batch time entry"],
        at: Float[Tensor, "batch query"],
    ) -> Float[Tensor, "batch query entry"]:
        return interpolate(values, t, seen, at)
