"""Ridge regressions of many entries at once, in closed form, whose penalty stretches of the training windows choose."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neurodyn.core.errors import DataError

FOLDS = 4
PENALTIES = tuple(10 ** (power / 2) for power in range(-2, 13))


class NormalEquations:
    """W = argmin Σ_n ‖y_n − Wᵀ u_n‖² + λ ‖W‖² for every entry, the last regressor, a constant 1, not penalised.

    Sums are kept apart by stretch of the windows, so that each can be forecast from the others. Hoerl & Kennard 1970,
    Technometrics 12:55.

    Parameters
    ----------
    entries, regressors, horizon
        Sizes; regressors with the constant.
    """

    def __init__(self, entries: int, regressors: int, horizon: int) -> None:
        self.square = torch.zeros(FOLDS, entries, regressors, regressors, dtype=torch.float64)
        self.cross = torch.zeros(FOLDS, entries, regressors, horizon, dtype=torch.float64)

    def add(
        self,
        u: Float[Tensor, "window entry regressor"],
        y: Float[Tensor, "window horizon entry"],
        there: Bool[Tensor, "window entry"],
        fold: Int[Tensor, " window"],
    ) -> None:
        """Take in windows, those entries of them that are there throughout.

        Parameters
        ----------
        fold
            Stretch of every window, 0 to FOLDS − 1.
        """
        wanted = y.permute(2, 0, 1).double()
        for k in fold.unique().tolist():
            rows = fold == k
            known = (u[rows] * there[rows][..., None]).double().permute(1, 2, 0)  # (entry, regressor, window)
            self.square[k] += known @ u[rows].double().transpose(0, 1)
            self.cross[k] += known @ wanted[:, rows]

    def chosen(self) -> float:
        """Return the penalty by which the stretches are best forecast from the others, all entries together."""
        errors = torch.zeros(len(PENALTIES), dtype=torch.float64)
        for k in range(FOLDS):
            square, cross = self.square[k], self.cross[k]
            others = self.square.sum(0) - square, self.cross.sum(0) - cross
            for number, weight in enumerate(_solutions(*others, PENALTIES)):
                errors[number] += (
                    weight * (square @ weight - 2 * cross)
                ).sum()  # but for the power of what is forecast
        return PENALTIES[int(errors.argmin())]

    def solved(self, penalty: float) -> Float[Tensor, "entry regressor horizon"]:
        """Return the weights of every entry."""
        return _solutions(self.square.sum(0), self.cross.sum(0), (penalty,))[0]


def _solutions(square: Tensor, cross: Tensor, penalties: tuple[float, ...]) -> list[Tensor]:
    """Solve for every penalty, by the eigenvectors of the centred products."""
    count = square[:, -1:, -1:].clamp(min=1)
    mean, level = square[:, :-1, -1:] / count, cross[:, -1:] / count
    power, axes = torch.linalg.eigh(square[:, :-1, :-1] - count * mean @ mean.transpose(1, 2))
    along = axes.transpose(1, 2) @ (cross[:, :-1] - count * mean @ level)
    found = []
    for penalty in penalties:
        weight = axes @ (along / (power.clamp(min=0) + penalty)[..., None])
        found.append(torch.cat([weight, level - mean.transpose(1, 2) @ weight], dim=1))
    return found


def folds(count: int) -> Int[Tensor, " window"]:
    """Return the stretch of every one of so many windows in order.

    Raises
    ------
    DataError
        If there are fewer windows than stretches.
    """
    if count < FOLDS:
        raise DataError(
            f"A ridge regression cannot be fitted to {count} training windows.",
            f"Expected at least {FOLDS}, of which each is forecast from the others.",
            "Cut more windows: --set windows.stride=SECONDS",
        )
    return torch.arange(count) * FOLDS // count
