"""The mean of several forecasts, whose weights are those that would have been best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import nnls

TOGETHER = 1e3  # weight of the sum's being 1, in units of the forecasts' power


def mean_weights(target: np.ndarray, forecasts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the weights of the mean of forecasts with the least squared error, none negative, of sum 1, shape (forecast,).

    argmin ‖y − Σ_m w_m ŷ_m‖², each neuron in units of the spread of its target. Neurons whose target is constant do not
    count. Breiman 1996, Mach. Learn. 24:49 (stacked regressions).

    Parameters
    ----------
    target
        NaN where not valid, shape (window, horizon, neuron).
    forecasts
        Each like `target`, or with one entry along time.
    """
    valid = np.isfinite(target)
    spread = np.nanstd(np.where(valid.any(axis=(0, 1)), target, 0.0), axis=(0, 1))
    valid &= spread > 0
    scale = np.where(spread > 0, spread, 1.0)
    left = [((np.broadcast_to(each, target.shape) - target) / scale)[valid].astype(np.float64) for each in forecasts]
    count = len(left)
    products = np.array([[first @ second for second in left] for first in left])
    # of weights that sum to 1 the error is wᵀ P w, P the products of the errors
    power = max(float(np.trace(products)), np.finfo(np.float64).tiny)
    values, axes = np.linalg.eigh(products / power)
    root = np.sqrt(np.clip(values, 0, None))[:, None] * axes.T
    found, _ = nnls(np.vstack([root, TOGETHER * np.ones(count)]), np.append(np.zeros(count), TOGETHER))
    return found / found.sum()
