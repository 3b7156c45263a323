"""Standardisation that knows training samples only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Standardiser:
    """Subtract a mean and divide by a standard deviation, both of the training samples.

    Parameters
    ----------
    mean, scale
        Per feature, shape (feature,), in the feature's unit.
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray, enabled: bool = True) -> Self:
        """Learn mean and scale from training samples, shape (sample, feature); only the mean when not enabled.

        A feature that does not vary in training is left out: its scale is infinite.
        """
        features = features.astype(np.float64, copy=False)
        mean, spread = features.mean(axis=0), features.std(axis=0)
        floor = 1e-10 * np.maximum(np.abs(mean), 1e-30)
        scale = np.where(spread > floor, spread, np.inf) if enabled else np.ones_like(mean)
        return cls(mean, scale)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return standardised features, shape (sample, feature), dimensionless."""
        return (features - self.mean) / self.scale
