"""The contract of a decoder: fit and predict, nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, Self

import numpy as np

from neurodyn.core.config import Params


class Decoder(ABC):
    """Maps features to a target. Cross-validation, tuning and nulls live in `protocol`.

    Parameters
    ----------
    params
        An instance of the class's `Params`.
    """

    Params: ClassVar[type[Params]]
    tasks: ClassVar[frozenset[Literal["regress", "classify"]]]
    citation: ClassVar[str] = ""

    def __init__(self, params: Params, task: Literal["regress", "classify"]) -> None:
        self.params, self.task = params, task

    @classmethod
    @abstractmethod
    def candidates(cls, params: Params) -> list[Params]:
        """Return the settings that nested tuning compares; `[params]` where nothing is tuned."""

    @abstractmethod
    def fit(self, features: np.ndarray, target: np.ndarray) -> Self:
        """Fit on training samples: features shape (sample, feature), target shape (sample,)."""

    @abstractmethod
    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return one prediction per sample, shape (sample,)."""
