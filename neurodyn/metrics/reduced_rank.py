"""What of the past tells the future: reduced-rank regression, and the sparse sources of what it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
HELD_OUT = 0.15
ROUNDS = 400
SETTLED = 1e-6
LEAST_KURTOSIS = 0.05


@dataclass(frozen=True)
class ReducedRank:
    r"""The directions of the past in which the future can be told, least squares of a low rank.

    .. math:: c = W^\top (x_{\mathrm{past}} - m), \qquad \hat y_{\mathrm{future}} = \bar y + U c

    W = B U with B the ridge regression of the future on the past and U the leading principal axes of its fitted values
    (Izenman 1975, J Multivar Anal 5:248-264). Distances between codes are those between forecasts.

    Parameters
    ----------
    mean
        m, shape (lag × component,), the last `lag` frames of a window in order.
    weights
        W, shape (lag × component, rank).
    axes
        U, orthonormal, shape (ahead × component, rank).
    future
        Mean of the future, shape (ahead × component,).
    lag
        Frames of the past that are used.
    penalty
        Of the ridge, as a share of the past's mean variance.
    explained
        Share of the held-out future's variance that is told.
    """

    mean: np.ndarray
    weights: np.ndarray
    axes: np.ndarray
    future: np.ndarray
    lag: int
    penalty: float
    explained: float

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Return the code of every frame from it and those before it, shape (window, time, rank).

        Parameters
        ----------
        scores
            Shape (window, time, component); before its first frame a window is taken to have stood still.
        """
        held = np.repeat(scores[:, :1], self.lag - 1, axis=1)
        past = np.lib.stride_tricks.sliding_window_view(np.concatenate([held, scores], axis=1), self.lag, axis=1)
        flat = past.swapaxes(2, 3).reshape(*scores.shape[:2], -1)
        return (flat - self.mean) @ self.weights


def fit_reduced_rank(
    past: np.ndarray, future: np.ndarray, ranks: Sequence[int] = (8, 16, 32), lags: Sequence[int] | None = None
) -> ReducedRank:
    """Regress what follows on what came before; rank, lag and penalty are those that tell held-out futures best.

    The last 15 % of the samples are held out, less those that share frames with the others.

    Parameters
    ----------
    past
        Consecutive windows in order of time, shape (sample, time, component).
    future
        Shape (sample, ahead, component).
    lags
        Frames of the past to try (default: all of them, and half).
    """
    count, frames = past.shape[:2]
    edge = max(2, int((1 - HELD_OUT) * count))
    fit, held = slice(0, max(2, edge - frames - future.shape[1])), slice(edge, count)
    if edge >= count:
        fit = held = slice(0, count)
    best: ReducedRank | None = None
    for lag in lags or sorted({frames, -(-frames // 2)}):
        x, y = past[:, frames - lag :].reshape(count, -1), future.reshape(count, -1)
        for found in _candidates(x, y, fit, held, ranks, lag):
            if best is None or found.explained > best.explained:
                best = found
    assert best is not None
    return best


def _candidates(
    x: np.ndarray, y: np.ndarray, fit: slice, held: slice, ranks: Sequence[int], lag: int
) -> list[ReducedRank]:
    mean, level = x[fit].mean(axis=0), y[fit].mean(axis=0)
    before, after = (x[fit] - mean).astype(np.float64), (y[fit] - level).astype(np.float64)
    gram, cross = before.T @ before / len(before), before.T @ after / len(before)
    unit = max(np.trace(gram) / len(gram), 1e-30)
    told, truth = (x[held] - mean).astype(np.float64), (y[held] - level).astype(np.float64)
    found = []
    for penalty in PENALTIES:
        slope = np.linalg.solve(gram + penalty * unit * np.eye(len(gram)), cross)
        axes = np.linalg.eigh(slope.T @ gram @ slope)[1][:, ::-1]
        code = told @ slope @ axes
        power = max(float((truth**2).sum()), 1e-30)
        for rank in sorted({min(rank, axes.shape[1], len(gram)) for rank in ranks}):
            error = ((truth - code[:, :rank] @ axes[:, :rank].T) ** 2).sum()
            kept = np.ascontiguousarray(axes[:, :rank])
            found.append(ReducedRank(mean, slope @ kept, kept, level, lag, penalty, 1 - float(error) / power))
    return found


def sparse_sources(values: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    r"""Turn values into independent sources, each as long as it is sparse.

    .. math:: s = A^\top (v - m), \qquad \operatorname{sd}(s_k) = \sqrt{\max(\kappa_k, 0.05)}

    Symmetric FastICA with the contrast log cosh (Hyvärinen 1999, IEEE Trans Neural Netw 10:626-634) on whitened values; a
    source of excess kurtosis κ, which is mostly quiet and sometimes far from it, as a response among blanks is, counts the
    more in distances, and one that is Gaussian, as ongoing activity of many causes is, hardly.

    Parameters
    ----------
    values
        Shape (sample, feature).
    seed
        Of the rotation to begin with.

    Returns
    -------
    mean
        m, shape (feature,).
    matrix
        A, shape (feature, source), sparsest source first, its tail positive.
    """
    mean = values.mean(axis=0)
    centred = (values - mean).astype(np.float64)
    variance, axes = np.linalg.eigh(centred.T @ centred / max(1, len(centred)))
    kept = variance > 1e-10 * max(variance.max(), 1e-300)
    whiten = axes[:, kept] / np.sqrt(variance[kept])
    white = centred @ whiten
    rotation = _rotate(white, np.random.default_rng(seed).standard_normal((white.shape[1], white.shape[1])))
    sources = white @ rotation
    kurtosis = (sources**4).mean(axis=0) - 3
    order = np.argsort(-kurtosis, kind="stable")
    size = np.sqrt(np.maximum(kurtosis, LEAST_KURTOSIS)) * np.where((sources**3).mean(axis=0) < 0, -1.0, 1.0)
    return mean, np.ascontiguousarray((whiten @ rotation * size)[:, order])


def _rotate(white: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return the rotation to independent sources, columns orthonormal."""
    rotation = _orthonormal(start)
    for _ in range(ROUNDS):
        bent = np.tanh(white @ rotation)
        slope = (1 - bent**2).mean(axis=0)
        turned = _orthonormal(white.T @ bent / len(white) - rotation * slope)
        moved = 1 - np.abs((turned * rotation).sum(axis=0)).min(initial=1.0)
        rotation = turned
        if moved < SETTLED:
            break
    return rotation


def _orthonormal(matrix: np.ndarray) -> np.ndarray:
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    return left @ right
