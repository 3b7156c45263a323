"""Multinomial logistic regression of many label sets on the same samples, all at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TOLERANCE = 1e-8  # of the mean loss's gradient, in units in which no curvature is above 1
MOST_STEPS = 500
MEMORY = 8


@dataclass
class SoftmaxFits:
    r"""Weights of one label set per column, found by one quasi-Newton search with a step length for each column.

    .. math:: \min_{W, b} \tfrac12 \lVert W \rVert^2 - C \sum_i \log \mathrm{softmax}(W x_i + b)_{y_i}

    Rows are turned to their principal axes, where the matrix that bounds the Hessian for any labels (Böhning 1992) is
    diagonal; measured in its units the search takes tens of steps, and products of rows and weights serve all columns.
    A class that a column lacks is never predicted there. With two classes :math:`\lVert W \rVert^2` is
    :math:`\lVert w_1 - w_2 \rVert^2`, as is usual for binary labels.

    Parameters
    ----------
    rows
        Training samples, shape (sample, feature).
    labels
        Classes from 0, shape (sample, column).

    References
    ----------
    Böhning D (1992). Multinomial logistic regression algorithm. Ann Inst Stat Math 44:197-200.
    Liu DC, Nocedal J (1989). On the limited memory BFGS method for large scale optimization. Math Program 45:503-528.
    """

    rows: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        self._centre = self.rows.mean(axis=0, dtype=np.float64)
        left, spread, self._axes = np.linalg.svd(self.rows - self._centre, full_matrices=False)
        self._spread = np.append(spread, np.sqrt(len(self.rows)))
        self._scores = np.column_stack([left * spread, np.ones(len(self.rows))])
        names = np.arange(self.labels.max() + 1)
        self._hot = self.labels[..., None] == names
        self._weights = np.zeros((len(self._spread), *self._hot.shape[1:]))

    def fit(self, strength: float) -> None:
        """Find the weights for C = `strength`, from those of the last one."""
        penalised = np.append(np.ones(len(self._spread) - 1), 0.0)[:, None, None]
        binary = self._hot.any(axis=0).sum(axis=1) == 2
        penalty = penalised * np.where(binary, 2.0, 1.0)[:, None]  # (w1 - w2)² is twice w1² + w2², w2 being -w1
        unit = np.sqrt(strength / 2 * self._spread[:, None, None] ** 2 + penalised)
        search = _Search(self._scores / unit[:, 0, 0], self._hot, strength, penalty / unit**2)
        self._weights = search.run(self._weights * unit) / unit

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Return the most probable class of samples, shape (sample, column)."""
        scores = np.column_stack([(rows - self._centre) @ self._axes.T, np.ones(len(rows))])
        logits = np.tensordot(scores, self._weights, 1)
        return np.where(self._hot.any(axis=0), logits, -np.inf).argmax(axis=-1)


class _Search:
    """The search in units where no curvature is above 1: points have the shape (feature, column, class)."""

    def __init__(self, scores: np.ndarray, hot: np.ndarray, strength: float, penalty: np.ndarray) -> None:
        self._scores, self._hot, self._strength, self._penalty = scores, hot, strength, penalty
        self._absent = np.where(hot.any(axis=0), 0.0, -np.inf)

    def run(self, point: np.ndarray) -> np.ndarray:
        """Go down from a point until each column's gradient is nothing; columns that have arrived are left alone."""
        point = point.copy()
        active, here = np.arange(point.shape[1]), point
        loss, slope = self._loss(here, active)
        history: list[tuple[np.ndarray, np.ndarray]] = []
        for _ in range(MOST_STEPS):
            going = np.abs(slope).max(axis=(0, 2)) > TOLERANCE * self._strength * len(self._scores)
            if not going.all():
                point[:, active] = here
                active, here, loss, slope = active[going], here[:, going], loss[going], slope[:, going]
                history = [(step[:, going], change[:, going]) for step, change in history]
                if not active.size:
                    return point
            there, loss, new = self._step(here, loss, slope, _direction(slope, history), active)
            history = [*history, (there - here, new - slope)][-MEMORY:]
            here, slope = there, new
        raise RuntimeError(f"{active.size} logistic regressions had not converged after {MOST_STEPS} steps")

    def _step(
        self, here: np.ndarray, loss: np.ndarray, slope: np.ndarray, way: np.ndarray, active: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take the longest of the steps 1, 1/2, 1/4 … that lowers a column's loss as it should."""
        down, length = _dot(slope, way), np.ones(active.size)
        while True:
            there = here + length[:, None] * way
            found, new = self._loss(there, active)
            short = found > loss + 1e-4 * length * down + 1e-12 * np.abs(loss)
            if not short.any():
                return there, found, new
            length[short] /= 2

    def _loss(self, point: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits = np.tensordot(self._scores, point, 1) + self._absent[active]
        logits -= logits.max(axis=-1, keepdims=True)
        shares = np.exp(logits)
        total = shares.sum(axis=-1, keepdims=True)
        hot, penalty = self._hot[:, active], self._penalty[:, active]
        surprise = np.log(total[..., 0]) - np.where(hot, logits, 0.0).sum(axis=-1)
        slope = penalty * point + self._strength * np.tensordot(self._scores.T, shares / total - hot, 1)
        return self._strength * surprise.sum(axis=0) + 0.5 * _dot(penalty * point, point), slope


def _direction(slope: np.ndarray, history: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return the limited-memory BFGS direction of every column."""
    way, kept = -slope, []
    for step, change in reversed(history):
        curvature = np.maximum(_dot(step, change), 1e-300)
        along = _dot(step, way) / curvature
        way = way - along[:, None] * change
        kept.append((step, change, curvature, along))
    if history:
        step, change = history[-1]
        way = way * (_dot(step, change) / np.maximum(_dot(change, change), 1e-300)).clip(1.0)[:, None]
    for step, change, curvature, along in reversed(kept):
        way = way + (along - _dot(change, way) / curvature)[:, None] * step
    return way


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.einsum("fck,fck->c", one, other)
