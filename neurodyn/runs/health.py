"""What is measured of a latent model once it is trained: how it tells hidden cells, beside factor analysis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

STATUS, MEASURED = "status", "cosmoothing"  # keys of status.json
ROUNDING = 1e-3
TRY = (
    "Try the preset lfads-real or calfads-real, more factors (model.factors), shorter windows (windows.duration), a smaller "
    "weight of the divergence (model.kl), or factor-dynamics, which starts from factor analysis."
)


@dataclass(frozen=True)
class Health:
    """Co-smoothing of a trained model and of factor analysis, on windows that neither was fitted to.

    Parameters
    ----------
    r2, factor_analysis_r2
        R² of hidden cells, averaged over cells: of the model, and of factor analysis fitted to the same training windows.
    factors
        Of factor analysis: as many as the model has, at most as many as the cells can tell apart.
    difference, ci_low, ci_high
        The former less the latter, with its 95 % interval over cells.
    cells, windows, groups
        How many cells, in how many groups that were hidden in turn, in how many validation windows.
    """

    r2: float
    factor_analysis_r2: float
    factors: int
    difference: float
    ci_low: float
    ci_high: float
    cells: int
    windows: int
    groups: int

    @property
    def unhealthy(self) -> bool:
        """Whether the model is below factor analysis, the whole interval below 0, by more than rounding makes.

        In simulations of 10 and 50 cells with four factors, of which 3 to 40 windows were validated, this was said of 3 to 7
        in 100 models that were as good as factor analysis, and of 82 to 100 in 100 that knew one factor of the four.
        """
        return self.ci_high < 0 and self.difference < -ROUNDING

    @property
    def status(self) -> str:
        """In a word."""
        return "unhealthy" if self.unhealthy else "healthy"

    @property
    def sentence(self) -> str:
        """In a sentence."""
        told = "below" if self.unhealthy else "above" if self.ci_low > 0 else "not told apart from"
        return (
            f"Hidden cells of validation windows told from the others: model R² {self.r2:.3f}, {told} factor analysis of "
            f"{self.factors} factors, {self.factor_analysis_r2:.3f} (difference {self.difference:+.3f} "
            f"[{self.ci_low:.3f}, {self.ci_high:.3f}], {self.cells} cells)."
        )

    @property
    def warning(self) -> str:
        """What it means that the model is below, and what to try."""
        return (
            f"Unhealthy: {self.sentence} A closed formula knows more of what cells share than these latents do, however low "
            f"the loss. {TRY}"
        )

    @property
    def plain(self) -> dict[str, Any]:
        """As it stands in status.json."""
        return {STATUS: self.status, MEASURED: asdict(self)}

    @classmethod
    def read(cls, status: Mapping[str, Any]) -> Health | None:
        """Return what status.json holds; None where nothing was measured."""
        found = status.get(MEASURED)
        return None if found is None else cls(**found)
