"""Linear discriminant analysis with analytic shrinkage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from pydantic import Field

from neurodyn.core import config
from neurodyn.decode.base import Decoder, Task

AT_ONCE = 2_000_000  # numbers of the largest array that is worked on


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
        weights, offset = _discriminants(
            features - self._centre, codes[None], self._classes.size, self.params.dimensions
        )
        self._weights, self._offset = weights[0], offset[0]
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the most probable class of each sample, shape (sample,)."""
        scores = (features - self._centre) @ self._weights + self._offset
        return self._classes[np.argmax(scores, axis=1)]

    @classmethod
    def predict_path(
        cls, candidates: Sequence[Params], task: Task, train: np.ndarray, targets: np.ndarray, test: np.ndarray
    ) -> np.ndarray:
        """Fit many columns of labels at once.

        Returns
        -------
        numpy.ndarray
            Predictions, shape (candidate, test sample, column).
        """
        (params,) = candidates
        classes, codes = np.unique(targets, return_inverse=True)
        codes = codes.reshape(targets.shape).T
        centre = train.mean(axis=0, dtype=np.float64)
        rows, tested = train - centre, test - centre
        out = np.empty((1, len(test), len(codes)), dtype=targets.dtype)
        each = rows.shape[1] * (2 * len(rows) + rows.shape[1]) + len(test) * classes.size
        step = max(1, AT_ONCE // each)
        for part in (slice(k, k + step) for k in range(0, len(codes), step)):
            weights, offset = _discriminants(rows, codes[part], classes.size, params.dimensions)
            out[0, :, part] = classes[(tested @ weights + offset[:, None]).argmax(axis=2)].T
        return out


def _discriminants(
    rows: np.ndarray, codes: np.ndarray, classes: int, dimensions: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights, shape (column, feature, class), and offsets, shape (column, class), of centred rows.

    Parameters
    ----------
    rows
        Shape (sample, feature).
    codes
        Class of each sample, shape (column, sample). A class without samples in a column is never the most probable there.
    """
    columns, samples = codes.shape
    padded = np.concatenate([rows, np.zeros((1, rows.shape[1]))])
    means = np.zeros((columns, classes, rows.shape[1]))
    counts = np.zeros((columns, classes))
    parts: list[np.ndarray] = []
    diagonal = np.zeros((columns, rows.shape[1]))
    for k in range(classes):
        slots = _slots(codes == k)
        counts[:, k] = (slots < samples).sum(axis=1)
        own = padded[slots]  # (column, slot, feature)
        means[:, k] = own.sum(axis=1) / np.maximum(counts[:, k, None], 1)
        own -= means[:, None, k]
        own[slots == samples] = 0.0
        shrunk, added = _shrunk(own, counts[:, k], dimensions)
        parts.append(shrunk)
        diagonal += counts[:, k, None] / samples * added
    pooled = np.concatenate(parts, axis=1) / np.sqrt(samples)
    covariance = pooled.transpose(0, 2, 1) @ pooled
    covariance[:, np.arange(rows.shape[1]), np.arange(rows.shape[1])] += diagonal
    weights = _solve(covariance, means.transpose(0, 2, 1))
    with np.errstate(divide="ignore"):
        prior = np.log(counts / samples)
    return weights, prior - 0.5 * np.einsum("bkp,bpk->bk", means, weights)


def _slots(mine: np.ndarray) -> np.ndarray:
    """Return the samples of a class, shape (column, slot), and one past the last sample where there are no more.

    Parameters
    ----------
    mine
        Whether a sample is of the class, shape (column, sample).
    """
    order = np.argsort(~mine, axis=1, kind="stable")
    count = mine.sum(axis=1, keepdims=True)
    rank = np.arange(int(count.max()))
    return np.where(rank < count, order[:, : rank.size], mine.shape[1])


def _shrunk(own: np.ndarray, counts: np.ndarray, dimensions: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Shrink the covariance of one class by the Ledoit-Wolf formula.

    Parameters
    ----------
    own
        Centred rows, shape (column, slot, feature), 0 where a slot is empty; shrunk as if standardised, unless they lie in
        a space of so many `dimensions`.
    counts
        Samples of the class, shape (column,).

    Returns
    -------
    tuple
        Rows whose products, over the number of samples, are what is left of the covariance, shape of `own`, and what is
        added to its diagonal, shape (column, feature).
    """
    held = np.maximum(counts, 1)
    spread = np.ones((len(own), own.shape[2]))
    if dimensions is None:
        spread = np.sqrt(np.einsum("bnp,bnp->bp", own, own) / held[:, None])
        spread[spread <= 1e-12 * np.maximum(spread.max(axis=1, keepdims=True), 1e-300)] = 1.0  # constant in this class
    share, level = _shrinkage(own / spread[:, None], held, dimensions or own.shape[2])
    return own * np.sqrt(1 - share)[:, None, None], (share * level)[:, None] * spread**2


def _shrinkage(own: np.ndarray, held: np.ndarray, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how far a covariance is shrunk, and the mean variance towards which, both shape (column,)."""
    length = np.einsum("bnp,bnp->bn", own, own)
    mean = length.sum(axis=1) / (held * dimensions)
    turned = own.transpose(0, 2, 1)
    products = own @ turned if own.shape[1] <= own.shape[2] else turned @ own
    squared = np.einsum("bij,bij->b", products, products) / held**2
    apart = squared - dimensions * mean**2
    noise = np.minimum(((length**2).sum(axis=1) / held - squared) / held, apart)
    some = (noise > 0) & (dimensions > 1)
    return np.where(some, noise / np.where(some, apart, 1.0), 0.0), mean


def _solve(matrices: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve with covariance matrices, shape (column, feature, feature); the shortest solution where one is singular."""
    scale = np.sqrt(np.maximum(np.einsum("bpp->bp", matrices), 1e-300))
    try:
        np.linalg.cholesky(matrices / scale[:, None] / scale[:, :, None])
    except np.linalg.LinAlgError:
        if len(matrices) == 1:
            return np.linalg.lstsq(matrices[0], right[0], rcond=None)[0][None]
        return np.concatenate([_solve(matrices[k : k + 1], right[k : k + 1]) for k in range(len(matrices))])
    return np.linalg.solve(matrices, right)
