"""Factor analysis by maximum likelihood, where any entries may be missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

ROUNDS = 300
SETTLED = 1e-4
LEAST_NOISE = 5e-3


@dataclass(frozen=True)
class FactorAnalysis:
    r"""Cells that share a few factors, each with noise of its own.

    .. math:: x_i = \mu_i + w_i^\top z + \epsilon_i, \quad z \sim N(0, I), \quad \epsilon_i \sim N(0, \psi_i)

    Everitt 1984, An introduction to latent variable models; fitted by expectation maximisation (Rubin & Thayer 1982,
    EM algorithms for ML factor analysis, Psychometrika 47:69-76), from probabilistic principal components on.

    Parameters
    ----------
    mean
        μ, in the data's unit, shape (cell,).
    loadings
        W, in the data's unit, shape (cell, factor).
    noise
        ψ, variances, in the data's unit squared, shape (cell,).
    """

    mean: np.ndarray
    loadings: np.ndarray
    noise: np.ndarray

    @classmethod
    def fit(cls, values: np.ndarray, factors: int, rounds: int = ROUNDS) -> Self:
        """Fit to samples until no noise changes by more than 1e-4 of its cell's variance in a round.

        Parameters
        ----------
        values
            Shape (sample, cell), NaN where there is no datum.
        factors
            At most one less than there are cells.
        rounds
            Most rounds of expectation maximisation.
        """
        mean, scale, standard = standardised(values)
        known = np.isfinite(values)
        patterns = _patterns(standard, known)
        found = principal(standard, factors)
        loadings, noise = found.loadings, found.noise
        total, number = (standard**2).sum(0), np.maximum(known.sum(0), 1)
        for _ in range(rounds):
            before = noise
            loadings, noise = _round(loadings, noise, patterns, total, number)
            if np.abs(noise - before).max() < SETTLED:
                break
        return cls(mean, loadings * scale[:, None], noise * scale**2)

    @property
    def weights(self) -> np.ndarray:
        """What gives the posterior mean of the factors from all cells less their means, shape (cell, factor)."""
        return (self.loadings / self.noise[:, None]) @ self.covariance()

    def covariance(self, cells: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return the posterior covariance of the factors where these cells are seen, shape (factor, factor)."""
        weighted = self.loadings[cells] / self.noise[cells, None]
        return np.linalg.inv(np.eye(self.loadings.shape[1]) + self.loadings[cells].T @ weighted)

    def posterior(self, values: np.ndarray, cells: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return the posterior mean of the factors from cells that are seen, shape (..., factor).

        Parameters
        ----------
        values
            Of these cells, shape (..., cell).
        """
        weighted = self.loadings[cells] / self.noise[cells, None]
        return (values - self.mean[cells]) @ (weighted @ self.covariance(cells))

    def hidden(self, values: np.ndarray, group: np.ndarray) -> np.ndarray:
        """Return cells of a group told from the others, frame by frame, shape (..., hidden).

        Parameters
        ----------
        values
            Of all cells, in the data's unit, shape (..., cell); those that are missing, NaN, count as their cells' means.
        """
        seen = np.delete(np.arange(values.shape[-1]), group)
        known = np.where(np.isfinite(values[..., seen]), values[..., seen], self.mean[seen])
        return self.mean[group] + self.posterior(known, seen) @ self.loadings[group].T


def standardised(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, standard deviation, and values with mean 0 and variance 1, missing ones 0; constant cells keep their scale.

    Parameters
    ----------
    values
        Shape (..., cell), NaN where there is no datum.
    """
    known = np.isfinite(values)
    axes = tuple(range(values.ndim - 1))
    number = np.maximum(known.sum(axes), 1)
    mean = np.where(known, values, 0.0).sum(axes, dtype=np.float64) / number
    centred = np.where(known, values - mean, 0.0)
    scale = np.sqrt((centred**2).sum(axes) / number)
    scale = np.where(scale > 0, scale, 1.0)
    return mean, scale, centred / scale


def principal(standard: np.ndarray, factors: int) -> FactorAnalysis:
    r"""Return probabilistic principal components: factor analysis with one noise σ² for all cells, in closed form.

    .. math:: W = U (\Lambda - \sigma^2 I)^{1/2}, \quad \sigma^2 = \text{mean of the other eigenvalues}

    Tipping & Bishop 1999, Probabilistic principal component analysis.

    Parameters
    ----------
    standard
        Values of mean 0, none missing, shape (sample, cell).
    """
    flat = standard.reshape(-1, standard.shape[-1])
    cells = flat.shape[1]
    variance, axes = np.linalg.eigh(flat.T @ flat / max(1, len(flat)))
    kept = min(factors, cells - 1)
    level = max(float(variance[: cells - kept].mean()), LEAST_NOISE)
    loadings = axes[:, ::-1][:, :kept] * np.sqrt(np.maximum(variance[::-1][:kept] - level, 0.0))
    return FactorAnalysis(np.zeros(cells), loadings, np.full(cells, level))


def most_factors(cells: int) -> int:
    """Return how many factors so many cells can tell apart, at least 1: (n − k)² ≥ n + k (Ledermann 1937)."""
    return max(1, int(cells + 0.5 - np.sqrt(2 * cells + 0.25)))


class _Pattern(NamedTuple):
    """Samples in which the same cells are seen.

    Parameters
    ----------
    seen
        Those cells, 0 or 1, shape (cell,).
    values
        Rows with the samples' products XᵀX, at most as many as cells, shape (row, cell).
    count
        Number of samples.
    """

    seen: np.ndarray
    values: np.ndarray
    count: int


def _patterns(standard: np.ndarray, known: np.ndarray) -> list[_Pattern]:
    kinds, which = np.unique(known, axis=0, return_inverse=True)
    found = []
    for kind, seen in enumerate(kinds):
        rows = standard[which.ravel() == kind]
        # the likelihood knows samples by their products alone, and a triangle of as many rows as cells has the same
        short = np.asarray(np.linalg.qr(rows, mode="r")) if len(rows) > rows.shape[1] else rows
        found.append(_Pattern(seen.astype(float), short, len(rows)))
    return found


def _round(
    loadings: np.ndarray, noise: np.ndarray, patterns: list[_Pattern], total: np.ndarray, number: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return loadings and noise after one round of expectation maximisation."""
    cells, factors = loadings.shape
    cross = np.zeros((cells, factors))
    squares = np.zeros((cells if len(patterns) > 1 else 1, factors, factors))
    for seen, values, count in patterns:
        weighted = loadings * (seen / noise)[:, None]
        covariance = np.linalg.inv(np.eye(factors) + loadings.T @ weighted)
        factor = values @ weighted @ covariance
        cross += values.T @ factor
        moment = count * covariance + factor.T @ factor
        squares += moment if len(patterns) == 1 else seen[:, None, None] * moment
    squares = squares + 1e-9 * np.eye(factors)  # a cell that is never seen has loadings of 0
    loadings = np.linalg.solve(squares, cross[..., None])[..., 0]
    return loadings, np.maximum((total - (loadings * cross).sum(1)) / number, LEAST_NOISE)
