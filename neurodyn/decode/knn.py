"""K nearest neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field
from sklearn.metrics import pairwise_distances

from neurodyn.core import config
from neurodyn.decode.base import Decoder, Task
from neurodyn.decode.scaling import Standardiser


class KNN(Decoder):
    r"""K nearest neighbours: the mean (on the circle, too) or the majority (of classes) of the closest training samples.

    .. math:: \hat y(x) = \frac{1}{k} \sum_{i \in N_k(x)} y_i

    Ties between samples go to the earlier one, ties between classes to the smaller one.

    References
    ----------
    Cover T, Hart P (1967). Nearest neighbor pattern classification. IEEE Trans Inf Theory 13:21-27.
    """

    class Params(config.Params):
        """Settings of the nearest-neighbour decoder."""

        k: int = Field(default=3, ge=1, description="neighbours")
        metric: Literal["euclidean", "cosine", "correlation"] = Field(default="euclidean", description="distance")
        standardise: bool = Field(default=False, description="z-score each feature on the training samples")
        grid: tuple[int, ...] = Field(
            default=(), description="values of k that nested tuning compares (default: k alone)"
        )

    tasks = frozenset({"regress", "classify", "circular"})
    citation = "Cover & Hart (1967), IEEE Trans Inf Theory 13:21-27, doi:10.1109/TIT.1967.1053964"
    vectorised: ClassVar[bool] = True

    params: Params

    @classmethod
    def candidates(cls, params: Params) -> list[Params]:
        """Return one setting per k of the grid, smoothest first."""
        return [params.model_copy(update={"k": k}) for k in sorted(params.grid, reverse=True)] or [params]

    @classmethod
    def rotation_invariant(cls, params: Params) -> bool:
        """Say that Euclidean distances are all that counts, where they are asked for."""
        return params.metric == "euclidean"

    def fit(self, features: np.ndarray, target: np.ndarray) -> Self:
        """Keep the training samples: features shape (sample, feature), target shape (sample,)."""
        self._features, self._target = features, target
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return one prediction per sample, shape (sample,)."""
        labels, codes = self._target, None
        if self.task == "classify":
            labels, codes = np.unique(self._target, return_inverse=True)
        targets = self._target if codes is None else codes
        path = self.predict_path([self.params], self.task, self._features, targets[:, None], features)
        return path[0, :, 0] if codes is None else labels[path[0, :, 0].astype(int)]

    @classmethod
    def predict_path(
        cls,
        candidates: Sequence[Params],
        task: Task,
        train: np.ndarray,
        targets: np.ndarray,
        test: np.ndarray,
    ) -> np.ndarray:
        """Sort the neighbours once for all k and all columns; classes are integers from 0.

        Returns
        -------
        numpy.ndarray
            Predictions, shape (candidate, test sample, column).
        """
        scale = Standardiser.fit(train, candidates[0].standardise)
        distance = pairwise_distances(scale(test), scale(train), metric=candidates[0].metric)
        order = np.argsort(distance, axis=1, kind="stable")
        classes = np.arange(int(targets.max()) + 1) if task == "classify" else None
        values = np.exp(1j * targets) if task == "circular" else targets
        out = np.empty((len(candidates), test.shape[0], targets.shape[1]))
        votes: np.ndarray | float = 0.0
        wanted = [min(params.k, train.shape[0]) for params in candidates]
        for rank in range(max(wanted)):
            label = values[order[:, rank]]  # (test sample, column)
            votes = votes + (label if classes is None else label[..., None] == classes)
            for row in np.flatnonzero(np.array(wanted) == rank + 1):
                if task == "circular":
                    out[row] = np.angle(votes)
                else:
                    out[row] = votes / (rank + 1) if classes is None else np.argmax(votes, axis=-1)
        return out
