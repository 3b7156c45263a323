"""Whether labels are in random order, or tell the time."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.stats import rankdata

PERMUTATIONS = 999
LARGEST = 1e6  # labels permuted in all: fewer permutations of more than a thousand

Kind = Literal["regress", "classify", "circular"]


def order_p(values: np.ndarray, kind: Kind, rng: np.random.Generator, neighbours: bool = False) -> float:
    r"""Test whether neighbours are more alike, or labels tell more of the time, than in random order; returns p.

    .. math:: T = \max_l z_l, \quad S_l = \sum_i s(x_i, x_{i+l}), \quad l = 1, 2, 4, \dots \le n/4

    where s is agreement of classes, product of centred ranks, or cosine of the difference of angles, and z their
    standard score over 999 permutations, to which T is compared; `follows_time` is one more such score.

    Parameters
    ----------
    values
        Classes, numbers or radians in order of time, shape (entry,).
    neighbours
        Compare next neighbours only, as of blocks, of which those of one value are one: two values then alternate.
    """
    lags = 2 ** np.arange(1 if neighbours else max(1, int(np.log2(max(2, values.size // 4))) + 1))
    lags = lags[lags < values.size]
    if lags.size == 0 or np.unique(values).size < 2:
        return 1.0
    count = int(min(PERMUTATIONS, max(99, LARGEST // values.size)))
    places = rng.permuted(np.tile(np.arange(values.size), (count, 1)), axis=1)
    drawn = _coded(values, kind)[np.concatenate([np.arange(values.size)[None], places])]
    ranks = _ranks(values, kind)[np.concatenate([np.arange(values.size)[None], places])]
    table = np.stack([*(_likeness(drawn, lag, kind) for lag in lags), _follows(ranks, kind)], axis=1)
    spread = table.std(axis=0)
    largest = ((table - table.mean(axis=0)) / np.where(spread > 1e-12, spread, np.inf)).max(axis=1)
    return float(np.mean(largest >= largest[0] - 1e-9))


def _coded(values: np.ndarray, kind: Kind) -> np.ndarray:
    return np.exp(1j * values) if kind == "circular" else _ranks(values, kind)


def _ranks(values: np.ndarray, kind: Kind) -> np.ndarray:
    if kind == "classify":
        return np.unique(values, return_inverse=True)[1]
    return rankdata(np.mod(values, 2 * np.pi) if kind == "circular" else values) - (values.size + 1) / 2


def _likeness(drawn: np.ndarray, lag: int, kind: Kind) -> np.ndarray:
    """Return how alike entries are to those `lag` further on; `drawn` of shape (permutation, entry)."""
    first, second = drawn[:, :-lag], drawn[:, lag:]
    return (first == second).sum(axis=1) if kind == "classify" else np.real(first * second.conj()).sum(axis=1)


def runs(values: np.ndarray) -> list[np.ndarray]:
    """Return the places of each stretch of equal values, one array per stretch."""
    return np.split(np.arange(values.size), np.flatnonzero(values[1:] != values[:-1]) + 1)


def follows_time(values: np.ndarray, kind: Kind) -> float:
    r"""Return how far labels tell the time: 1 where they are sorted, about 0 in random order.

    Of numbers and angles, Spearman's correlation with time over that of the same values sorted. Of classes, the square
    root of the share of time's variance between classes, over what it is where each class comes in one piece.

    Parameters
    ----------
    values
        Classes, numbers or radians in order of time, shape (entry,).
    """
    return float(_follows(_ranks(values, kind)[None], kind)[0])


def _follows(ranks: np.ndarray, kind: Kind) -> np.ndarray:
    """Return `follows_time` of permutations of centred ranks, or of classes from 0; shape (permutation, entry)."""
    place = np.arange(ranks.shape[1]) - (ranks.shape[1] - 1) / 2
    if kind != "classify":
        largest = float(np.sort(ranks[0]) @ place)
        return np.abs(ranks @ place) / largest if largest > 0 else np.ones(len(ranks))
    sizes, total = np.bincount(ranks[0]), float(place @ place)
    between = sum(((ranks == k) @ place) ** 2 / sizes[k] for k in range(sizes.size))
    return np.sqrt(between / max(total - float((sizes * (sizes**2 - 1) / 12).sum()), 1e-300))
