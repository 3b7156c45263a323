"""Multinomial logistic regression."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import Field
from sklearn.linear_model import LogisticRegression

from neurodyn.core import config
from neurodyn.decode.base import Decoder
from neurodyn.decode.scaling import Standardiser

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 1e1)


class Logistic(Decoder):
    r"""Multinomial logistic regression with a penalty on the squared weights.

    .. math:: \min_{W, b} \tfrac12 \lVert W \rVert^2 - C \sum_i \log \mathrm{softmax}(W x_i + b)_{y_i}

    References
    ----------
    Cox DR (1958). The regression analysis of binary sequences. J R Stat Soc B 20:215-242.
    """

    class Params(config.Params):
        """Settings of the logistic decoder."""

        strength: float = Field(default=0.1, gt=0, description="C, inverse of the penalty, when nothing is tuned")
        standardise: bool = Field(default=True, description="z-score each feature on the training samples")
        grid: tuple[float, ...] = Field(default=STRENGTHS, description="values of C that nested tuning compares")

    tasks = frozenset({"classify"})
    citation = "Cox (1958), J R Stat Soc B 20:215-242, doi:10.1111/j.2517-6161.1958.tb00292.x"

    params: Params

    @classmethod
    def candidates(cls, params: Params) -> list[Params]:
        """Return one setting per C of the grid, strongest penalty first."""
        return [params.model_copy(update={"strength": x}) for x in sorted(params.grid)] or [params]

    @classmethod
    def rotation_invariant(cls, params: Params) -> bool:
        """Say that it is: the penalty is on the length of the weights."""
        return True

    def fit(self, features: np.ndarray, target: np.ndarray) -> Self:
        """Fit the weights: features shape (sample, feature), target shape (sample,)."""
        self._scale = Standardiser.fit(features, self.params.standardise)
        self._only = target[0] if np.unique(target).size == 1 else None
        if self._only is None:
            self._model = LogisticRegression(C=self.params.strength, max_iter=5000, tol=1e-3)
            self._model.fit(self._scale(features), target)
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the most probable class of each sample, shape (sample,)."""
        if self._only is not None:
            return np.full(features.shape[0], self._only)
        return np.asarray(self._model.predict(self._scale(features)))
