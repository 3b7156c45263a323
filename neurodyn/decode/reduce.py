"""Rows of each training fold: features as they are, rotated where they are wide, or principal components fitted inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import eigh
from scipy.sparse.linalg import eigsh

from neurodyn.decode.scaling import Standardiser

DENSE = 1200
CHUNK = 4096  # features whose products are added up at a time, in double precision

Inner = Sequence[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Division:
    """Rows of one fold.

    Parameters
    ----------
    train, test
        Shape (sample, feature); (sample, time, feature) for sequences.
    inner
        The training samples divided again for tuning: rows to fit, and rows held out.
    """

    train: np.ndarray
    test: np.ndarray
    inner: Iterator[tuple[np.ndarray, np.ndarray]]


class Reduction(Protocol):
    """What makes the rows of a fold from all features; it looks at training samples only."""

    def divide(self, train: np.ndarray, test: np.ndarray, inner: Inner) -> Division:
        """Return the rows of a fold: `train` and `test` number the samples, `inner` the training samples from 0."""
        ...


class Plain:
    """Features as they are, shape (sample, feature) or (sample, time, feature)."""

    def __init__(self, features: np.ndarray) -> None:
        self._features = features

    def divide(self, train: np.ndarray, test: np.ndarray, inner: Inner) -> Division:
        """Return the rows of a fold."""
        rows = self._features[train]
        return Division(rows, self._features[test], ((rows[fit], rows[held]) for fit, held in inner))


class Rotation:
    r"""Wide features on the axes that their training samples span: products and distances stay what they were.

    For a decoder that knows samples by products and differences alone, as ridge, logistic regression and nearest
    neighbours do, nothing is lost, and a fold costs the same whatever the number of features. Rows are scaled by
    :math:`\sqrt{m / p}`, as if p features of the same content were only m: one grid of penalties then serves any width.

    Parameters
    ----------
    features
        All samples, shape (sample, feature).
    standardise
        z-score each feature on the training samples of the outer fold; inner folds share its scale, no label plays a part.
    stands_for
        m, the number of features that the rows stand for.
    """

    def __init__(self, features: np.ndarray, standardise: bool, stands_for: int) -> None:
        self._features, self._standardise, self._stands_for = features, standardise, stands_for

    def divide(self, train: np.ndarray, test: np.ndarray, inner: Inner) -> Division:
        """Return the rows of a fold, without a unit; shape (sample, axis)."""
        rows, others = self._rotate(train, test)
        return Division(rows, others, ((rows[fit], rows[held]) for fit, held in inner))

    def _rotate(self, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scale = Standardiser.fit(self._features[train], self._standardise)
        factor = np.sqrt(min(1.0, self._stands_for / self._features.shape[1]))
        inner, across = np.zeros((train.size, train.size)), np.zeros((test.size, train.size))
        for part in (slice(k, k + CHUNK) for k in range(0, self._features.shape[1], CHUNK)):
            some = Standardiser(scale.mean[part], scale.scale[part] / factor)
            rows = some(self._features[train, part])
            inner += rows @ rows.T
            across += some(self._features[test, part]) @ rows.T
        variance, vectors = eigh(inner)
        keep = variance > 1e-10 * max(float(variance[-1]), 1e-300)
        axes = vectors[:, keep] / np.sqrt(variance[keep])
        return inner @ axes, across @ axes


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
    unit_variance
        Scale all scores by one factor, so that a component's variance is 1 on average over components.
    """

    def __init__(self, features: np.ndarray, components: int, unit_variance: bool = False) -> None:
        self._components, self._unit_variance = components, unit_variance
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
        if self._unit_variance:
            factor = 1 / np.sqrt(max(float(fitted.var(axis=0).mean()), 1e-300))
            fitted, tested = fitted * factor, tested * factor
        shape = (-1, *self._frames, fitted.shape[1])
        return fitted.reshape(shape), tested.reshape(shape)

    def divide(self, train: np.ndarray, test: np.ndarray, inner: Inner) -> Division:
        """Return component scores of a fold; inner folds are projected on components of their own rows to fit."""
        rows, others = self(train, test)
        return Division(rows, others, (self(train[fit], train[held]) for fit, held in inner))

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
