"""How close values are to targets."""

from __future__ import annotations

import numpy as np


def mse(target: np.ndarray, predicted: np.ndarray, where: np.ndarray | bool = True) -> float:
    """Return the mean squared error Σ (y − ŷ)² / n, in squared units of the target.

    Gauss 1809, Theoria motus.

    Parameters
    ----------
    target, predicted
        Any shape.
    where
        Entries that count, bool; broadcasts against the target.
    """
    error = (np.asarray(target, dtype=np.float64) - predicted) ** 2
    return float(np.mean(error, where=where)) if np.any(np.broadcast_to(where, error.shape)) else float("nan")


def r2(target: np.ndarray, predicted: np.ndarray, where: np.ndarray | bool = True) -> float:
    """Return the coefficient of determination R² = 1 − Σ (y − ŷ)² / Σ (y − ȳ)².

    Wright 1921, Correlation and causation. The mean ȳ is taken over axis 0, entry by entry, so that differences
    between entries explain nothing. A constant target has no R²: NaN.

    Parameters
    ----------
    target, predicted
        Shape (sample, ...).
    where
        Entries that count, bool; broadcasts against the target.
    """
    target = np.asarray(target, dtype=np.float64)
    where = np.broadcast_to(where, target.shape)
    count = where.sum(0)
    mean = np.where(where, target, 0.0).sum(0) / np.maximum(count, 1)
    residual = np.sum((target - predicted) ** 2, where=where)
    total = np.sum((target - mean) ** 2, where=where)
    return float(1 - residual / total) if total > 0 else float("nan")


def pearson(target: np.ndarray, predicted: np.ndarray) -> float:
    """Return Pearson's correlation r = Σ (y − ȳ)(ŷ − ŷ̄) / √(Σ (y − ȳ)² Σ (ŷ − ŷ̄)²); NaN if either is constant.

    Pearson 1895, Note on regression and inheritance. Blind to scale and offset of the prediction.
    """
    a = np.asarray(target, dtype=np.float64).ravel()
    b = np.asarray(predicted, dtype=np.float64).ravel()
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else float("nan")


def squared_pearson(target: np.ndarray, predicted: np.ndarray) -> float:
    """Return r², which papers sometimes print as "R²"; never smaller than R², and blind to scale and offset."""
    return pearson(target, predicted) ** 2
