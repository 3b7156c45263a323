"""The contract of a decoder: fit and predict, nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import numpy as np

from neurodyn.core.config import Params

Task = Literal["regress", "classify", "circular"]


class Decoder(ABC):
    """Maps features to a target. Cross-validation, tuning and nulls live in `protocol`.

    A decoder that is `sequential` also takes features of shape (sample, time, feature), in `fit` and `predict`; `shuffles`
    is how many label shuffles are drawn unless another number is asked for, `refits` whether it is cheap enough to be trained
    again without some trials for the sake of an interval. A circular target is given and predicted in
    radians of a whole turn.

    Parameters
    ----------
    params
        An instance of the class's `Params`.
    task
        One of the class's `tasks`.
    """

    Params: ClassVar[type[Params]]
    tasks: ClassVar[frozenset[Task]]
    citation: ClassVar[str] = ""
    vectorised: ClassVar[bool] = False
    sequential: ClassVar[bool] = False
    shuffles: ClassVar[int] = 200
    refits: ClassVar[bool] = True

    task: Task

    def __init__(self, params: Params, task: Task) -> None:
        self.params = params
        self.task = task

    @classmethod
    @abstractmethod
    def candidates(cls, params: Params) -> list[Params]:
        """Return the settings that nested tuning compares; `[params]` where nothing is tuned."""

    @classmethod
    def on_rotated(cls, params: Params, dimensions: int) -> Params | None:
        """Return the settings for rows turned to other axes, or None where the axes matter to the decoder.

        Such rows are standardised as far as the decoder wants it, and stand for so many `dimensions`, though they have
        no more columns than there are training samples. For decoders that know samples by products and differences alone.
        """
        return None

    @abstractmethod
    def fit(self, features: np.ndarray, target: np.ndarray) -> Self:
        """Fit on training samples: features shape (sample, feature), target shape (sample,)."""

    @abstractmethod
    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return one prediction per sample, shape (sample,)."""

    @classmethod
    def predict_path(
        cls,
        candidates: Sequence[Params],
        task: Task,
        train: np.ndarray,
        targets: np.ndarray,
        test: np.ndarray,
    ) -> np.ndarray:
        """Fit every candidate to every column of targets; the protocol's columns are the labels and their shuffles.

        A decoder that shares work between settings and columns overrides this and sets `vectorised`; the protocol then
        tunes every shuffle anew.

        Parameters
        ----------
        candidates
            Settings to compare.
        task
            "regress", "classify" or "circular".
        train, test
            Features, shape (sample, feature).
        targets
            One label set per column, shape (training sample, column).

        Returns
        -------
        numpy.ndarray
            Predictions, shape (candidate, test sample, column).
        """
        out = np.empty((len(candidates), test.shape[0], targets.shape[1]), dtype=targets.dtype)
        for row, params in enumerate(candidates):
            for column in range(targets.shape[1]):
                out[row, :, column] = cls(params, task).fit(train, targets[:, column]).predict(test)
        return out
