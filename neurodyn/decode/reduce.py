"""Principal components fitted inside each training fold, whatever the number of features."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh
from scipy.sparse.linalg import eigsh

DENSE = 1200


class FoldPCA:
    """Project samples on the leading principal components of the training samples alone.

    With more features than samples the work is done on the matrix of inner products, formed once and centred anew
    on each fold's training samples, so the cost of a fold does not depend on the number of features.

    Parameters
    ----------
    features
        All samples, shape (sample, feature). A fold's components depend on its training rows only. Of sequences, shape
        (sample, time, feature), every frame is projected on components of the training samples' frames.
    components
        Components to keep; fewer where the training samples span fewer.
    """

    def __init__(self, features: np.ndarray, components: int) -> None:
        self._components = components
        self._frames = features.shape[1:-1]
        self._features = features = features.reshape(-1, features.shape[-1])
        self._wide = features.shape[1] > features.shape[0]
        if self._wide:
            # A common shift cancels in the centring below; it only keeps the products well conditioned.
            shifted = np.asarray(features, dtype=np.float32) - features.mean(axis=0, dtype=np.float64).astype(
                np.float32
            )
            self._gram = (shifted @ shifted.T).astype(np.float64)

    def __call__(self, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return component scores of training and test samples.

        Parameters
        ----------
        train, test
            Rows, shape (sample,).

        Returns
        -------
        tuple of numpy.ndarray
            Shapes (train, component) and (test, component), in the features' unit; time between them for sequences.
        """
        rows = self._rows(train), self._rows(test)
        fitted, tested = self._from_gram(*rows) if self._wide else self._from_covariance(*rows)
        shape = (-1, *self._frames, fitted.shape[1])
        return fitted.reshape(shape), tested.reshape(shape)

    def _rows(self, samples: np.ndarray) -> np.ndarray:
        """Return the rows of samples: their frames, one after another."""
        if not self._frames:
            return samples
        return (samples[:, None] * self._frames[0] + np.arange(self._frames[0])).ravel()

    def _from_covariance(self, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean = self._features[train].mean(axis=0, dtype=np.float64)
        centred = self._features[train] - mean
        axes = _leading(centred.T @ centred, min(self._components, train.size - 1))[1]
        return centred @ axes, (self._features[test] - mean) @ axes

    def _from_gram(self, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inner = self._gram[np.ix_(train, train)]
        column = inner.mean(axis=0)
        centred = inner - column - column[:, None] + column.mean()
        across = self._gram[np.ix_(test, train)]
        across = across - across.mean(axis=1, keepdims=True) - column + column.mean()
        variance, vectors = _leading(centred, min(self._components, train.size - 1))
        keep = variance > 1e-6 * variance[0]
        axes = vectors[:, keep] / np.sqrt(variance[keep])
        return centred @ axes, across @ axes


def _leading(matrix: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest eigenvalues and their vectors of a symmetric matrix, largest first."""
    size = matrix.shape[0]
    count = min(count, size)
    if size <= DENSE or count > size // 4:
        values, vectors = eigh(matrix, subset_by_index=(size - count, size - 1))
    else:
        values, vectors = eigsh(matrix, k=count, v0=np.random.default_rng(0).standard_normal(size))
    return values[::-1], vectors[:, ::-1]
