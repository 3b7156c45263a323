"""Which cells of two sessions lie near each other, and the probability that such two are one cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy import optimize, stats
from scipy.spatial import KDTree

from neurodyn.core.errors import DataError
from neurodyn.tracking.field import Field

REACH = 1.2
ROUNDS = 100
LEAST_PAIRS = 5
# What is expected before a pair is seen, with the weight of five pairs of either kind: few cells alone fit anything.
PRIOR = 5.0
SAME_BEFORE = np.array([0.1, 0.16, 0.22, 0.3, 0.45])
DIFFERENT_BEFORE = np.array([0.5, 0.65, 0.75, 0.85, 0.95])
GRID = np.linspace(0.0025, 0.9975, 200)
CITATION = (
    "Sheintuch et al., Tracking the same neurons across multiple days in Ca2+ imaging data, Cell Reports 21, "
    "1102-1115 (2017), doi:10.1016/j.celrep.2017.10.013"
)
Density = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Pairs:
    """Cells of two sessions that lie near each other.

    Parameters
    ----------
    first, second
        Rows of the cells, shape (pair,).
    distance
        Between their centres, in units of the longest that counts, shape (pair,).
    unlike
        1 less the correlation of their footprints, shape (pair,).
    """

    first: np.ndarray
    second: np.ndarray
    distance: np.ndarray
    unlike: np.ndarray


def near_pairs(one: Field, other: Field, reach: float) -> Pairs:
    """Return the pairs of cells whose centres lie within `reach` pixels; the fields lie in one plane.

    The correlation is that of the footprints without their means taken off: in a large plane these are next to nothing.
    """
    trees = [KDTree(np.nan_to_num(field.centres, nan=-1e6)) for field in (one, other)]
    found = trees[0].sparse_distance_matrix(trees[1], reach, output_type="coo_matrix")
    a, b = found.row.astype(int), found.col.astype(int)
    product = np.asarray(one.footprints[:, a].multiply(other.footprints[:, b]).sum(axis=0)).ravel()
    norms = [np.sqrt(np.asarray(field.footprints.power(2).sum(axis=0)).ravel()) for field in (one, other)]
    alike = product / np.maximum(norms[0][a] * norms[1][b], np.finfo(float).tiny)
    return Pairs(a, b, found.data / reach, 1 - np.clip(alike, 0, 1))


def reach_of(fields: Sequence[Field]) -> float:
    """Return how far apart the centres of one cell may lie, pixels: a little more than its diameter."""
    return REACH * float(np.median([field.diameter for field in fields]))


@dataclass(frozen=True)
class Model:
    """Probability that two near cells are one.

    Parameters
    ----------
    by
        "distance" of the centres, or "footprints": their correlation.
    curve
        Probability at each value of `GRID`.
    same, different
        Densities of the two kinds at each value of `GRID`.
    share
        Of near pairs that are one cell.
    """

    by: str
    curve: np.ndarray
    same: np.ndarray
    different: np.ndarray
    share: float

    def probability(self, pairs: Pairs) -> np.ndarray:
        """Return the probability of each pair, shape (pair,); 0 where the footprints do not touch and are what counts."""
        measured = pairs.distance if self.by == "distance" else pairs.unlike
        found = np.interp(measured, GRID, self.curve)
        return found if self.by == "distance" else np.where(pairs.unlike < 1, found, 0.0)


def fit_model(between: Sequence[Pairs], within: Sequence[Pairs]) -> Model:
    """Fit the two models of CellReg (Sheintuch et al. 2017) and return the one that doubts less.

    Each is a mixture of two kinds of near pairs: one cell seen twice, and two cells. Of one cell, distance and
    dissimilarity are lognormal. Of two cells, the density of distances grows in proportion to them, as a plane's does, from where
    cells no longer cover each other (a logistic function); that of correlations is a beta density. Both are fitted by
    expectation and maximisation; pairs within a session, which are two cells for certain, stand in for these, and a prior of
    the weight of a few pairs keeps the fit to few cells sound.

    Parameters
    ----------
    between
        Near pairs of each two sessions.
    within
        Near pairs of each session with itself, each cell's own left out.

    Raises
    ------
    DataError
        If there are too few pairs.
    """
    count = sum(pairs.first.size for pairs in between)
    if count < LEAST_PAIRS:
        raise DataError(
            "Too few cells lie near one of another session.",
            f"Found {count} such pairs; {LEAST_PAIRS} at least for a probability.",
            "Give the cells ids in a column 'cell': neurodyn match --by ids",
        )
    distance = [np.concatenate([pairs.distance for pairs in some]) for some in (between, within)]
    unlike = [np.concatenate([pairs.unlike for pairs in some]) for some in (between, within)]
    touching = [values[values < 1] for values in unlike]
    models = [_fitted("distance", distance[0], distance[1], _ring)]
    if touching[0].size >= LEAST_PAIRS:
        models.append(_fitted("footprints", touching[0], touching[1], _beta))
    doubts = [_doubt(model, between) for model in models]
    return models[int(np.argmin(doubts))]


def _doubt(model: Model, between: Sequence[Pairs]) -> float:
    """Return how many pairs a model is expected to judge wrongly."""
    found = np.concatenate([model.probability(pairs) for pairs in between])
    return float(np.minimum(found, 1 - found).sum() / max(found.sum(), 1e-9))


def _fitted(
    by: str, values: np.ndarray, known: np.ndarray, different_like: Callable[[np.ndarray, np.ndarray], Density]
) -> Model:
    """Fit one mixture; `known` are values of pairs of two cells."""
    values, known = (np.clip(each, GRID[0], GRID[-1]) for each in (values, known))
    both = np.concatenate([values, known])
    certain = np.full(known.size, min(1.0, values.size / max(known.size, 1)))
    belief = np.where(values < 0.35, 0.9, 0.1)
    same = different = _lognormal(values, belief)
    share = 0.5
    for _ in range(ROUNDS):
        same = _lognormal(values, belief)
        different = different_like(both, np.concatenate([1 - belief, certain]))
        share, before = float((belief.sum() + PRIOR / 2) / (belief.size + PRIOR)), belief
        belief = _posterior(values, same, different, share)
        if np.abs(belief - before).max() < 1e-4:
            break
    curve = _posterior(GRID, same, different, share)
    # Both tails of a lognormal are thin: of two that are the same to the last pixel it would say they are two.
    top = int(curve[: GRID.size // 2].argmax())
    curve = np.minimum.accumulate(np.where(np.arange(GRID.size) < top, curve[top], curve))
    return Model(by, curve, same(GRID), different(GRID), share)


def _posterior(values: np.ndarray, same: Density, different: Density, share: float) -> np.ndarray:
    one, two = share * same(values), (1 - share) * different(values)
    return one / np.maximum(one + two, np.finfo(float).tiny)


def _with_prior(weight: np.ndarray, before: np.ndarray) -> np.ndarray:
    return np.append(weight, np.full(before.size, PRIOR / before.size))


def _lognormal(values: np.ndarray, weight: np.ndarray) -> Density:
    logs, weight = np.log(np.append(values, SAME_BEFORE)), _with_prior(weight, SAME_BEFORE)
    mean = np.average(logs, weights=weight)
    spread = max(float(np.sqrt(np.average((logs - mean) ** 2, weights=weight))), 0.1)
    frozen: Any = stats.lognorm(spread, scale=np.exp(mean))
    return frozen.pdf


def _beta(values: np.ndarray, weight: np.ndarray) -> Density:
    """Fit a beta density to correlations by their moments."""
    alike, weight = 1 - np.append(values, DIFFERENT_BEFORE), _with_prior(weight, DIFFERENT_BEFORE)
    mean = np.average(alike, weights=weight)
    spread = max(float(np.average((alike - mean) ** 2, weights=weight)), 1e-4)
    total = max(mean * (1 - mean) / spread - 1, 0.1)
    frozen: Any = stats.beta(mean * total, (1 - mean) * total)
    return lambda given: frozen.pdf(1 - given)


def _ring(values: np.ndarray, weight: np.ndarray) -> Density:
    """Fit a density that grows with the distance from where a logistic function has risen."""
    values, weight = np.append(values, DIFFERENT_BEFORE), _with_prior(weight, DIFFERENT_BEFORE)
    counts, edges = np.histogram(values, GRID.size, (0, 1), weights=weight)
    places = (edges[1:] + edges[:-1]) / 2

    def density(given: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        middle, width = parameters[0], np.exp(parameters[1])
        rise = given / (1 + np.exp(-np.clip((given - middle) / width, -50, 50)))
        whole = places / (1 + np.exp(-np.clip((places - middle) / width, -50, 50)))
        return rise / max(whole.mean(), np.finfo(float).tiny)

    def surprise(parameters: np.ndarray) -> float:
        return -float(counts @ np.log(np.maximum(density(places, parameters), 1e-12)))

    found = optimize.minimize(surprise, [0.5, np.log(0.1)], method="Nelder-Mead", bounds=[(0, 1.5), (-5, 0)]).x
    return lambda given: density(given, found)


def all_pairs(fields: Sequence[Field], reach: float) -> tuple[dict[tuple[int, int], Pairs], list[Pairs]]:
    """Return the near pairs of each two sessions by their places, and those of each session with itself."""
    between = {(a, b): near_pairs(fields[a], fields[b], reach) for a, b in combinations(range(len(fields)), 2)}
    return between, [_of_two(near_pairs(field, field, reach)) for field in fields]


def _of_two(pairs: Pairs) -> Pairs:
    """Leave out each cell's pair with itself, and one of each two that are the same."""
    kept = pairs.first < pairs.second
    return Pairs(pairs.first[kept], pairs.second[kept], pairs.distance[kept], pairs.unlike[kept])
