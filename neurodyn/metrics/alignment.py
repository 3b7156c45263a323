"""How well inferred latents, rates and spikes follow known ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

LEAST_RATE = 1e-9


@dataclass(frozen=True)
class Alignment:
    """The affine map y ≈ x W + b that brings inferred latents onto known ones.

    Latents of a model are known only up to such a map. Ordinary least squares with an intercept, on every frame of the
    windows given, as in Pandarinath et al., Nat Methods 15, 805 (2018), and Prince et al. (CaLFADS).

    Parameters
    ----------
    weights
        W, shape (feature, latent).
    intercept
        b, shape (latent,).
    """

    weights: np.ndarray
    intercept: np.ndarray

    @classmethod
    def fit(cls, inferred: np.ndarray, known: np.ndarray) -> Self:
        """Fit on windows that nothing is scored on.

        Parameters
        ----------
        inferred
            Shape (..., feature).
        known
            Shape (..., latent), leading axes as of `inferred`.
        """
        x = np.asarray(inferred, dtype=np.float64).reshape(-1, inferred.shape[-1])
        y = np.asarray(known, dtype=np.float64).reshape(-1, known.shape[-1])
        centre, mean = x.mean(axis=0), y.mean(axis=0)
        weights = np.linalg.lstsq(x - centre, y - mean, rcond=None)[0]
        return cls(weights, mean - centre @ weights)

    def __call__(self, inferred: np.ndarray) -> np.ndarray:
        """Return latents in the known ones' coordinates, shape (..., latent)."""
        return np.asarray(inferred, dtype=np.float64) @ self.weights + self.intercept


def products(target: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return what correlations and R² of any set of windows are sums of, shape (window, 6).

    Columns: the count n of finite pairs, and the sums Σ y, Σ ŷ, Σ y², Σ ŷ², Σ y ŷ over each window's entries.

    Parameters
    ----------
    target, predicted
        y and ŷ, shape (window, ...).
    """
    y = np.asarray(target, dtype=np.float64).reshape(len(target), -1)
    z = np.asarray(predicted, dtype=np.float64).reshape(len(predicted), -1)
    known = np.isfinite(y) & np.isfinite(z)
    y, z = np.where(known, y, 0.0), np.where(known, z, 0.0)
    terms = (known, y, z, y * y, z * z, y * z)
    return np.stack([term.sum(axis=1) for term in terms], axis=1)


def pooled_squared_pearson(sums: np.ndarray) -> float:
    """Return the squared correlation r² of all entries pooled, from summed `products`, shape (6,).

    Blind to scale and offset; papers print it as "R²". Pearson 1895, Note on regression and inheritance.
    """
    n, y, z, yy, zz, yz = sums
    power = (n * yy - y * y) * (n * zz - z * z)
    return float((n * yz - y * z) ** 2 / power) if power > 0 else float("nan")


def pooled_r2(sums: np.ndarray) -> float:
    """Return R² = 1 − Σ (y − ŷ)² / Σ (y − ȳ)² of all entries pooled, from summed `products`, shape (6,).

    Wright 1921, Correlation and causation.
    """
    n, y, _, yy, zz, yz = sums
    total = yy - y * y / n if n else 0.0
    return float(1 - (yy - 2 * yz + zz) / total) if total > 0 else float("nan")


def spike_likelihoods(rates: np.ndarray, counts: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return what bits per spike are a ratio of, per window, shape (window, 2).

    Columns: the gain in Poisson log-likelihood over each cell's mean rate, Σ n log(λ / λ̄) − (λ − λ̄), in nats, and
    the number of spikes Σ n.

    Parameters
    ----------
    rates
        λ, expected spikes per frame, shape (window, time, roi); 0 counts as 1e-9.
    counts
        n, spikes per frame, like `rates`.
    mean
        λ̄, each cell's mean spikes per frame, shape (roi,).
    """
    model = np.maximum(np.asarray(rates, dtype=np.float64), LEAST_RATE)
    null = np.maximum(np.asarray(mean, dtype=np.float64), LEAST_RATE)
    counts = np.asarray(counts, dtype=np.float64)
    gain = counts * np.log(model / null) - (model - null)
    return np.stack([values.reshape(len(values), -1).sum(axis=1) for values in (gain, counts)], axis=1)


def bits_per_spike(sums: np.ndarray) -> float:
    """Return (log L_model − log L_null) / (n ln 2), from summed `spike_likelihoods`, shape (2,).

    Pei et al., Neural Latents Benchmark '21 (NeurIPS 2021); the null is each cell's mean rate.
    """
    gain, spikes = sums
    return float(gain / (spikes * np.log(2))) if spikes > 0 else float("nan")


def are_counts(values: np.ndarray) -> bool:
    """Return whether all values that are there are whole numbers from 0 on."""
    known = values[np.isfinite(values)]
    return bool(known.size and (known >= 0).all() and (known == np.round(known)).all())
