"""Ridge regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
from pydantic import Field

from neurodyn.core import config
from neurodyn.data.circle import directions, unit_vectors
from neurodyn.decode.base import Decoder, Task
from neurodyn.decode.scaling import Standardiser

PENALTIES = (1e6, 1e5, 1e4, 1e3, 1e2, 1e1, 1.0, 1e-1)


class Ridge(Decoder):
    r"""Ridge regression: least squares with a penalty on the squared weights.

    .. math:: \min_{w, b} \sum_i (y_i - b - w^\top x_i)^2 + \lambda \lVert w \rVert^2

    Solved for all penalties at once from the singular values of the training features. Of a circular target, cosine and
    sine are predicted with one penalty, and the prediction is their direction.

    References
    ----------
    Hoerl AE, Kennard RW (1970). Ridge regression: biased estimation for nonorthogonal problems. Technometrics 12:55-67.
    """

    class Params(config.Params):
        """Settings of the ridge decoder."""

        penalty: float = Field(default=1e2, gt=0, description="λ, when nothing is tuned")
        standardise: bool = Field(default=True, description="z-score each feature on the training samples")
        grid: tuple[float, ...] = Field(default=PENALTIES, description="values of λ that nested tuning compares")

    tasks = frozenset({"regress", "circular"})
    citation = "Hoerl & Kennard (1970), Technometrics 12:55-67, doi:10.1080/00401706.1970.10488634"
    vectorised: ClassVar[bool] = True

    params: Params

    @classmethod
    def candidates(cls, params: Params) -> list[Params]:
        """Return one setting per penalty of the grid, strongest first."""
        return [params.model_copy(update={"penalty": x}) for x in sorted(params.grid, reverse=True)] or [params]

    @classmethod
    def on_rotated(cls, params: Params, dimensions: int) -> Params:
        """Return the settings for rows turned to other axes: the penalty is on the length of the weights."""
        return params.model_copy(update={"standardise": False})

    def fit(self, features: np.ndarray, target: np.ndarray) -> Self:
        """Solve for the weights: features shape (sample, feature), target shape (sample,)."""
        self._scale = Standardiser.fit(features, self.params.standardise)
        target = unit_vectors(target[:, None]) if self.task == "circular" else target[:, None]
        self._offset = target.mean(axis=0)
        left, spectrum, right = np.linalg.svd(self._scale(features), full_matrices=False)
        shrink = spectrum / (spectrum**2 + self.params.penalty)
        self._weights = right.T @ (shrink[:, None] * (left.T @ (target - self._offset)))
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return one prediction per sample, shape (sample,), in the target's unit."""
        predicted = self._scale(features) @ self._weights + self._offset
        return (directions(predicted) if self.task == "circular" else predicted)[:, 0]

    @classmethod
    def predict_path(
        cls,
        candidates: Sequence[Params],
        task: Task,
        train: np.ndarray,
        targets: np.ndarray,
        test: np.ndarray,
    ) -> np.ndarray:
        """Use one singular value decomposition for all penalties and all columns.

        Returns
        -------
        numpy.ndarray
            Predictions, shape (candidate, test sample, column).
        """
        scale = Standardiser.fit(train, candidates[0].standardise)
        targets = unit_vectors(targets) if task == "circular" else targets
        offset = targets.mean(axis=0)
        left, spectrum, right = np.linalg.svd(scale(train), full_matrices=False)
        projected, loaded = scale(test) @ right.T, left.T @ (targets - offset)
        shrinks = [spectrum / (spectrum**2 + params.penalty) for params in candidates]
        path = np.stack([(projected * shrink) @ loaded + offset for shrink in shrinks])
        return directions(path) if task == "circular" else path
