r"""Regression of many cells on one design, linear or Poisson, fitted and scored by blocks of time.

A design has shape (time, column); its first `free` columns (constant and drift) bear no penalty. Values have shape (time, cell),
and every frame the number of its block, -1 in the gaps between blocks. All cells share what depends on the design alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.special import xlogy

SMALL = 1e-6  # of the penalty of free columns, so that what is singular still has an answer
STEEPEST, ROUNDS = 30.0, 500
Mean = Callable[[np.ndarray], np.ndarray]  # over bins of time


class Blocks(Protocol):
    """Frames in blocks, which models are fitted to and scored on."""

    @property
    def count(self) -> int:
        """How many blocks there are."""
        ...

    @property
    def cells(self) -> int:
        """How many cells there are."""
        ...

    def fit(self, train: np.ndarray, columns: np.ndarray, penalty: np.ndarray) -> np.ndarray:
        """Return weights, 0 where a column is left out, shape (column, cell).

        Parameters
        ----------
        train
            Blocks to fit, bool, shape (block,).
        columns
            Which to use, bool, shape (column,).
        penalty
            Of each cell, as a share of a column's variance, shape (cell,).
        """
        ...

    def deviance(self, weights: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Return the deviance of some blocks, shape (chosen block, cell)."""
        ...

    def left(self, weights: np.ndarray, mean: Mean) -> np.ndarray:
        """Return means over bins of values less what the model says of every frame, float32, shape (bin, cell)."""
        ...


@dataclass(frozen=True)
class GaussianBlocks:
    r"""Ridge regression by the normal equations of every block.

    .. math:: \hat\beta = \Bigl(\sum_b X_b^\top X_b + n \lambda D\Bigr)^{-1} \sum_b X_b^\top y_b, \quad
        \mathrm{SSE}_b = y_b^\top y_b - 2 \hat\beta^\top X_b^\top y_b + \hat\beta^\top X_b^\top X_b \hat\beta

    so that frames are read once, whatever is left out, held out or penalised; D is 0 for free columns, else 1. Deviance is
    the sum of squares.

    References
    ----------
    Hoerl AE, Kennard RW (1970). Ridge regression: biased estimation for nonorthogonal problems. Technometrics 12:55-67.
    """

    design: np.ndarray
    values: np.ndarray
    free: int
    frames: np.ndarray
    squares: np.ndarray
    inner: np.ndarray
    cross: np.ndarray

    @classmethod
    def of(cls, design: np.ndarray, values: np.ndarray, block: np.ndarray, free: int) -> Self:
        """Take the normal equations of every block; values of mean about 0 keep single precision exact enough."""
        rows = [np.flatnonzero(block == b) for b in range(int(block.max()) + 1)]
        parts = [(design[row], values[row]) for row in rows]
        frames = np.array([row.size for row in rows], dtype=np.float64)
        squares = np.stack([(y.astype(np.float64) ** 2).sum(axis=0) for _, y in parts])
        inner = np.stack([x.T.astype(np.float64) @ x for x, _ in parts])
        return cls(design, values, free, frames, squares, inner, np.stack([x.T @ y for x, y in parts]))

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return len(self.frames)

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return self.values.shape[1]

    def fit(self, train: np.ndarray, columns: np.ndarray, penalty: np.ndarray) -> np.ndarray:
        """Return weights; see `Blocks`."""
        number = self.frames[train].sum()
        inner = self.inner[train].sum(axis=0)[np.ix_(columns, columns)] / number
        cross = self.cross[train].sum(axis=0, dtype=np.float64)[columns] / number
        weights = np.zeros((columns.size, self.cells))
        for one in np.unique(penalty):
            own = penalty == one
            ridge = np.diag(np.where(np.flatnonzero(columns) < self.free, SMALL, one))
            weights[np.ix_(columns, own)] = np.linalg.solve(inner + ridge, cross[:, own])
        return weights

    def deviance(self, weights: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Return sums of squares; see `Blocks`."""
        told = [2 * self.cross[b] - self.inner[b] @ weights for b in np.flatnonzero(which)]
        return self.squares[which] - np.stack([(weights * one).sum(axis=0) for one in told])

    def left(self, weights: np.ndarray, mean: Mean) -> np.ndarray:
        """Return residuals; see `Blocks`."""
        return mean(self.values) - mean(self.design) @ weights.astype(np.float32)


@dataclass(frozen=True)
class PoissonBlocks:
    r"""Poisson regression with a logarithmic link and a ridge, all cells in one descent.

    .. math:: \ell = \frac{\sum_t (\mu_t - y_t \log \mu_t)}{\sum_t y_t} + \frac\lambda2 \beta^\top D \beta, \quad
        \log \mu_t = x_t^\top \beta

    Divided by its events, every cell's curvature is near that of the design, by whose Cholesky factor weights are therefore
    measured: one limited-memory descent (Liu & Nocedal 1989, On the limited memory BFGS method for large scale
    optimization) takes all cells down at once. Deviance is Poisson's.
    """

    design: np.ndarray
    values: np.ndarray
    block: np.ndarray
    free: int

    @classmethod
    def of(cls, design: np.ndarray, values: np.ndarray, block: np.ndarray, free: int) -> Self:
        """Take frames as they are, in double precision."""
        return cls(design.astype(np.float64), values.astype(np.float64), block, free)

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return int(self.block.max()) + 1

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return self.values.shape[1]

    def fit(self, train: np.ndarray, columns: np.ndarray, penalty: np.ndarray) -> np.ndarray:
        """Return weights; see `Blocks`."""
        rows = np.flatnonzero((self.block >= 0) & train[self.block])
        x, y = self.design[np.ix_(rows, columns)], self.values[rows]
        weights = np.zeros((columns.size, self.cells))
        for one in np.unique(penalty):
            own = penalty == one
            ridge = np.where(np.flatnonzero(columns) < self.free, SMALL, one)
            weights[np.ix_(columns, own)] = _descend(x, y[:, own], ridge)
        return weights

    def deviance(self, weights: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Return Poisson deviances; see `Blocks`."""
        return np.stack([self._of_block(weights, self.block == b) for b in np.flatnonzero(which)])

    def _of_block(self, weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
        y, log_rate = self.values[rows], np.minimum(self.design[rows] @ weights, STEEPEST)
        return 2 * (xlogy(y, y) - y * log_rate - y + np.exp(log_rate)).sum(axis=0)

    def left(self, weights: np.ndarray, mean: Mean) -> np.ndarray:
        """Return residuals; see `Blocks`."""
        return mean((self.values - np.exp(np.minimum(self.design @ weights, STEEPEST))).astype(np.float32))


def _descend(x: np.ndarray, y: np.ndarray, ridge: np.ndarray) -> np.ndarray:
    """Return the weights of cells of one penalty, shape (column, cell); see `PoissonBlocks`."""
    scale = cholesky(x.T @ x / len(x) + np.diag(ridge))
    events = np.maximum(y.sum(axis=0), 1e-12)  # of a cell without any here the constant falls as far as it may
    told = (x.T @ y) / events
    begin = np.zeros(told.shape)
    begin[0] = np.log(events / len(x))

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        beta = solve_triangular(scale, flat.reshape(begin.shape))
        rate = np.exp(np.minimum(x @ beta, STEEPEST)) / events  # a step too long must not overflow
        slope = x.T @ rate - told + ridge[:, None] * beta
        value = rate.sum() - (told * beta).sum() + (ridge[:, None] * beta**2).sum() / 2
        return float(value), solve_triangular(scale, slope, trans=1).ravel()

    options = {"maxiter": ROUNDS, "maxfun": 2 * ROUNDS, "ftol": 1e-12, "gtol": 1e-5}
    found = minimize(loss, (scale @ begin).ravel(), jac=True, method="L-BFGS-B", options=options)
    return solve_triangular(scale, found.x.reshape(begin.shape))


@dataclass(frozen=True)
class Held:
    """What models say of blocks that they were not fitted to.

    Parameters
    ----------
    deviance
        Of each model, shape (block, cell).
    weights
        Of the first model, shape (fold, column, cell).
    penalty
        Chosen, shape (fold, cell).
    """

    deviance: dict[str, np.ndarray]
    weights: np.ndarray
    penalty: np.ndarray


def held_out(blocks: Blocks, models: Mapping[str, np.ndarray], folds: int, penalties: Sequence[float]) -> Held:
    """Fit models on all folds but one, and score them on that one, each fold in turn.

    Blocks are dealt to folds in turn, so that every fold has blocks of the whole recording. The penalty is the one by which the
    first model, fitted without the next fold too, tells that one best; it is chosen for every cell and fold, and the same for
    all models, so that what they differ by is what was left out.

    Parameters
    ----------
    models
        Name -> columns used, bool, shape (column,).
    """
    fold = np.arange(blocks.count) % folds
    whole = next(iter(models.values()))
    deviance = {name: np.empty((blocks.count, blocks.cells)) for name in models}
    weights, chosen = np.empty((folds, whole.size, blocks.cells)), np.empty((folds, blocks.cells))
    for k in range(folds):
        chosen[k] = _penalty(blocks, whole, (fold != k) & (fold != (k + 1) % folds), fold == (k + 1) % folds, penalties)
        for number, (name, columns) in enumerate(models.items()):
            found = blocks.fit(fold != k, columns, chosen[k])
            deviance[name][fold == k] = blocks.deviance(found, fold == k)
            if number == 0:
                weights[k] = found
    return Held(deviance, weights, chosen)


def _penalty(
    blocks: Blocks, columns: np.ndarray, train: np.ndarray, test: np.ndarray, penalties: Sequence[float]
) -> np.ndarray:
    tried = []
    for penalty in penalties:
        found = blocks.fit(train, columns, np.full(blocks.cells, penalty))
        tried.append(blocks.deviance(found, test).sum(axis=0))
    return np.asarray(penalties)[np.argmin(tried, axis=0)]


@dataclass(frozen=True)
class ScoreTest:
    r"""How much of what others leave over a regressor tells, for the regressor as it was and as it might have been.

    .. math:: Q = u^\top (V + \kappa I)^{-1} u, \quad u = \tilde X^\top e, \quad V = \tilde X^\top \tilde X, \quad
        \tilde X = X - Z (Z^\top Z)^{-1} Z^\top X

    where Z are the columns of the other regressors, and e is what they leave of a cell. Of linear models Q is the sum of
    squares that X adds; of others it is Rao's score with equal weights. Nothing is fitted anew for a null draw.

    References
    ----------
    Rao CR (1948). Large sample tests of statistical hypotheses concerning several parameters. Math Proc Camb Philos Soc
    44:50-57. Freedman D, Lane D (1983). A nonstochastic interpretation of reported significance levels. J Bus Econ Stat
    1:292-298.
    """

    others: np.ndarray
    left: np.ndarray

    @classmethod
    def of(cls, others: np.ndarray, left: np.ndarray) -> Self:
        """Make what is left over orthogonal to the others, float32, shape (time, column) and (time, cell)."""
        basis = np.linalg.svd(others.astype(np.float64), full_matrices=False)
        kept = basis[1] > 1e-5 * basis[1][0]
        others = basis[0][:, kept].astype(np.float32)
        return cls(others, left - others @ (others.T @ left))

    def __call__(self, columns: np.ndarray) -> np.ndarray:
        """Return Q of every cell, shape (draw, cell), for a regressor of shape (draw, time, column)."""
        draws, time, width = columns.shape
        flat = np.ascontiguousarray(np.moveaxis(columns, 1, 0)).reshape(time, -1)
        shared = (self.others.T @ flat).reshape(-1, draws, width)
        told = (flat.T @ self.left).reshape(draws, width, -1).astype(np.float64)
        out = np.empty((draws, told.shape[2]))
        for k in range(draws):
            own = columns[k].T.astype(np.float64) @ columns[k]
            inner = own - shared[:, k].T.astype(np.float64) @ shared[:, k]
            ridge = KAPPA * np.trace(own) / width * np.eye(width)
            out[k] = (told[k] * np.linalg.solve(inner + ridge, told[k])).sum(axis=0)
        return out


KAPPA = 1e-2  # of a column's mean square, so that a regressor which others tell all but whole gains nothing by its rest
