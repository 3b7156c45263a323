"""Linear discriminant analysis with analytic shrinkage."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import Field

from neurodyn.core import config
from neurodyn.decode.base import Decoder


class LDA(Decoder):
    r"""Linear discriminant analysis, its covariance shrunk by the Ledoit-Wolf formula; nothing to tune.

    .. math:: \hat y(x) = \arg\max_k \; x^\top \Sigma^{-1} \mu_k - \tfrac12 \mu_k^\top \Sigma^{-1} \mu_k + \log \pi_k

    Every class's covariance is estimated from its own samples, standardised, shrunk towards the unit matrix, and scaled
    back; Σ is their mean, weighted by the shares π of the classes. Written for the many label sets of a null: the same
    classifier as scikit-learn's `LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")`, without its cost per fit.
    With `dimensions`, for features that share one scale, covariances are not standardised but shrunk towards the mean
    variance of so many directions.

    References
    ----------
    Ledoit O, Wolf M (2004). Honey, I shrunk the sample covariance matrix. J Portfolio Management 30:110-119.
    """

    class Params(config.Params):
        """Settings of the discriminant analysis."""

        dimensions: int | None = Field(
            default=None,
            ge=1,
            description="shrink without standardising each class, as if the features were so many directions of one scale",
        )

    tasks = frozenset({"classify"})
    citation = "Ledoit & Wolf (2004), J Portfolio Management 30:110-119, doi:10.3905/jpm.2004.110"

    params: Params

    @classmethod
    def candidates(cls, params: Params) -> list[Params]:
        """Return the one setting there is."""
        return [params]

    @classmethod
    def on_rotated(cls, params: Params, dimensions: int) -> Params:
        """Return the settings for rows turned to other axes: shrunk evenly over all directions, seen and unseen."""
        return params.model_copy(update={"dimensions": dimensions})

    def fit(self, features: np.ndarray, target: np.ndarray) -> Self:
        """Estimate class means and the shared covariance: features shape (sample, feature), target shape (sample,)."""
        self._classes, codes = np.unique(target, return_inverse=True)
        self._centre = features.mean(axis=0, dtype=np.float64)
        self._weights, self._offset = _discriminants(features - self._centre, codes, self.params.dimensions)
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the most probable class of each sample, shape (sample,)."""
        scores = (features - self._centre) @ self._weights + self._offset
        return self._classes[np.argmax(scores, axis=1)]


def _discriminants(rows: np.ndarray, codes: np.ndarray, dimensions: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return weights, shape (feature, class), and offsets, shape (class,), of centred rows; every class has samples."""
    counts = np.bincount(codes)
    ordered = np.split(rows[np.argsort(codes, kind="stable")], np.cumsum(counts)[:-1])
    means = np.stack([own.mean(axis=0) for own in ordered])
    covariance = np.zeros((rows.shape[1], rows.shape[1]))
    for count, own, mean in zip(counts, ordered, means, strict=True):
        shrunk = _standardised_shrunk(own - mean) if dimensions is None else _shrunk(own - mean, dimensions)
        covariance += count / len(rows) * shrunk
    weights = _solve(covariance, means.T)
    return weights, np.log(counts / len(rows)) - 0.5 * np.einsum("kp,pk->k", means, weights)


def _standardised_shrunk(rows: np.ndarray) -> np.ndarray:
    """Return the shrunk covariance of centred rows that are standardised first, in the rows' unit squared."""
    spread = np.sqrt(np.einsum("np,np->p", rows, rows) / len(rows))
    spread[spread <= 1e-12 * max(float(spread.max()), 1e-300)] = 1.0  # constant in this class
    return _shrunk(rows / spread, rows.shape[1]) * spread * spread[:, None]


def _shrunk(rows: np.ndarray, dimensions: int) -> np.ndarray:
    """Return the Ledoit-Wolf covariance of centred rows in a space of so many dimensions, most of them without variance."""
    count, width = rows.shape
    covariance = rows.T @ rows / count
    if dimensions > 1:
        length = np.einsum("np,np->n", rows, rows)
        mean = float(length.sum()) / (count * dimensions)
        squared = float(np.einsum("pq,pq->", covariance, covariance))
        apart = squared - dimensions * mean**2
        noise = min((float(length @ length) / count - squared) / count, apart)
        share = noise / apart if noise > 0 else 0.0
        covariance *= 1 - share
        covariance.flat[:: width + 1] += share * mean
    return covariance


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve with a covariance matrix; the shortest solution where it is singular."""
    scale = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    try:
        np.linalg.cholesky(matrix / scale / scale[:, None])
    except np.linalg.LinAlgError:
        return np.linalg.lstsq(matrix, right, rcond=None)[0]
    return np.linalg.solve(matrix, right)
