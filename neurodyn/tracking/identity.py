"""Identities over all sessions, from probabilities of pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product

import numpy as np
from scipy.optimize import linear_sum_assignment

from neurodyn.tracking.pairs import Pairs

BELIEVED = 0.5
Cell = tuple[int, int]  # session and row


def identities(
    counts: Sequence[int], pairs: Mapping[tuple[int, int], Pairs], probability: Mapping[tuple[int, int], np.ndarray]
) -> list[dict[int, int]]:
    """Return the cells as {session: row}, in order of the first session that has them.

    Cells of each two sessions are assigned one to one, so that the probabilities add up to the most (Kuhn 1955). The assigned
    pairs, the most probable first, then join groups that have no session in common, where the mean probability over all
    pairs between the groups is above one half: what two sessions say has to hold for all the others.

    Parameters
    ----------
    counts
        Cells of each session.
    pairs
        Near pairs by their two sessions, the lower first.
    probability
        Of being one cell, for each of these pairs.
    """
    known = _known(pairs, probability)
    group: dict[Cell, list[Cell]] = {(s, row): [(s, row)] for s, count in enumerate(counts) for row in range(count)}
    assigned = [edge for key, near in pairs.items() for edge in _assigned(key, near, probability[key], counts)]
    for one, other in sorted(assigned, key=lambda edge: -known[edge]):
        mine, theirs = group[one], group[other]
        if {s for s, _ in mine} & {s for s, _ in theirs} or mean_probability(mine, theirs, known) <= BELIEVED:
            continue
        mine += theirs
        group |= dict.fromkeys(theirs, mine)
    unique = {id(members): members for members in group.values()}
    return [dict(sorted(members)) for members in unique.values()]


def probabilities(
    cells: Sequence[Mapping[int, int]],
    pairs: Mapping[tuple[int, int], Pairs],
    probability: Mapping[tuple[int, int], np.ndarray],
) -> list[list[float]]:
    """Return for each cell the probability of each of its pairs of sessions; 0 for one that is not near."""
    known = _known(pairs, probability)
    return [[known.get(edge, 0.0) for edge in combinations(sorted(cell.items()), 2)] for cell in cells]


def _known(
    pairs: Mapping[tuple[int, int], Pairs], probability: Mapping[tuple[int, int], np.ndarray]
) -> dict[tuple[Cell, Cell], float]:
    return {
        ((a, int(i)), (b, int(j))): float(p)
        for (a, b), near in pairs.items()
        for i, j, p in zip(near.first, near.second, probability[a, b], strict=True)
    }


def mean_probability(mine: Sequence[Cell], theirs: Sequence[Cell], known: Mapping[tuple[Cell, Cell], float]) -> float:
    """Return the mean over all pairs of two groups; 0 counts for those that are not near."""
    edges = [(min(one, other), max(one, other)) for one, other in product(mine, theirs)]
    return float(np.mean([known.get(edge, 0.0) for edge in edges]))


def _assigned(
    key: tuple[int, int], near: Pairs, probability: np.ndarray, counts: Sequence[int]
) -> Iterator[tuple[Cell, Cell]]:
    gain = np.zeros((counts[key[0]], counts[key[1]]))
    gain[near.first, near.second] = np.maximum(probability - BELIEVED, 0)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    for i, j in zip(rows, columns, strict=True):
        if gain[i, j] > 0:
            yield (key[0], int(i)), (key[1], int(j))
