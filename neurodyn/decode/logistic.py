"""Multinomial logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from pydantic import Field

from neurodyn.core import config
from neurodyn.decode.base import Decoder, Task
from neurodyn.decode.scaling import Standardiser
from neurodyn.decode.softmax import SoftmaxFits

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 1e1)


class Logistic(Decoder):
    r"""Multinomial logistic regression with a penalty on the squared weights.

    .. math:: \min_{W, b} \tfrac12 \lVert W \rVert^2 - C \sum_i \log \mathrm{softmax}(W x_i + b)_{y_i}

    With two classes the penalty is on the difference of their weights. Written for the many label sets of a null: the
    same classifier as scikit-learn's `LogisticRegression(C=C)`, all label sets at once.

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
    def on_rotated(cls, params: Params, dimensions: int) -> Params:
        """Return the settings for rows turned to other axes: the penalty is on the length of the weights."""
        return params.model_copy(update={"standardise": False})

    def fit(self, features: np.ndarray, target: np.ndarray) -> Self:
        """Fit the weights: features shape (sample, feature), target shape (sample,)."""
        self._classes, labels = np.unique(target, return_inverse=True)
        self._scale = Standardiser.fit(features, self.params.standardise)
        self._model = SoftmaxFits(self._scale(features), labels[:, None])
        self._model.fit(self.params.strength)
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the most probable class of each sample, shape (sample,)."""
        return self._classes[self._model.predict(self._scale(features))[:, 0]]

    @classmethod
    def predict_path(
        cls,
        candidates: Sequence[Params],
        task: Task,
        train: np.ndarray,
        targets: np.ndarray,
        test: np.ndarray,
    ) -> np.ndarray:
        """Fit all columns of a penalty at once, each penalty from the solution of the one before; classes are from 0.

        Returns
        -------
        numpy.ndarray
            Predictions, shape (candidate, test sample, column).
        """
        scale = Standardiser.fit(train, candidates[0].standardise)
        model, tested, found = SoftmaxFits(scale(train), targets.astype(int)), scale(test), []
        for params in candidates:
            model.fit(params.strength)
            found.append(model.predict(tested))
        return np.stack(found).astype(targets.dtype)
