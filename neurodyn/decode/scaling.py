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


WIDTH = 0.1  # of the recording: standard deviation of the weights of neighbours that make a trend


def without_trend(features: np.ndarray, times: np.ndarray, train: np.ndarray) -> np.ndarray:
    r"""Subtract from each feature its slow course, as training samples alone tell it.

    .. math:: x'_i = x_i - \frac{\sum_{j \in \mathrm{train}} w_{ij} x_j}{\sum_{j \in \mathrm{train}} w_{ij}},
        \quad w_{ij} = \exp\left(-\tfrac12 \left(\frac{t_i - t_j}{0.1 \, T}\right)^2\right)

    (Nadaraya-Watson), T the time from the first sample to the last. No test sample plays a part in another one's features.

    Parameters
    ----------
    features
        Shape (sample, feature) or (sample, time, feature).
    times
        s, shape (sample,).
    train
        Rows of the training samples.

    Returns
    -------
    numpy.ndarray
        Shape of `features`.
    """
    scale = WIDTH * max(float(np.ptp(times)), 1e-300)
    square = 0.5 * ((times[:, None] - times[train]) / scale) ** 2
    weight = np.exp(square.min(axis=1, keepdims=True) - square)
    weight /= weight.sum(axis=1, keepdims=True)
    flat = features.reshape(len(features), -1)
    return (flat - (weight @ flat[train])).reshape(features.shape).astype(features.dtype, copy=False)
