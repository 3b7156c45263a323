"""Which samples train and which are tested: by trial, by blocks of time, or at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.decode.settings import Protocol


@dataclass(frozen=True)
class Fold:
    """One division into training and test samples.

    Parameters
    ----------
    repeat, number
        Which repeat of the cross-validation, and which fold of it.
    train, test
        Rows, shape (sample,).
    """

    repeat: int
    number: int
    train: np.ndarray
    test: np.ndarray


def order_groups(groups: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Number the groups from 0 in the order of their first sample.

    Parameters
    ----------
    groups
        Trial of each sample, shape (sample,).
    times
        Time of each sample, s, shape (sample,).
    """
    codes = np.unique(groups, return_inverse=True)[1]
    begin = np.full(codes.max() + 1, np.inf)
    np.minimum.at(begin, codes, times)
    rank = np.empty(begin.size, dtype=int)
    rank[np.argsort(begin, kind="stable")] = np.arange(begin.size)
    return rank[codes]


def make_folds(groups: np.ndarray, protocol: Protocol) -> list[Fold]:
    """Divide samples into folds.

    Parameters
    ----------
    groups
        Trials numbered in order of time, shape (sample,).
    protocol
        Kind of split, folds or test share, repeats, gap and seed. The labels play no part.

    Raises
    ------
    DataError
        If there are fewer trials than folds, or a fold would have nothing to train on.
    """
    count = int(groups.max()) + 1
    if not _possible(count, protocol):
        raise _too_few(count, protocol)
    rng = np.random.default_rng(protocol.seed)
    folds = []
    for repeat in range(protocol.repeats):
        for number, (train, test) in enumerate(_divide(groups, count, repeat, protocol, rng)):
            if np.unique(groups[train]).size < 2 or not test.size:
                raise _too_few(count, protocol)
            folds.append(Fold(repeat, number, train, test))
    return folds


def _possible(count: int, protocol: Protocol) -> bool:
    """Say whether every fold of so many trials has trials to test on, and two at least to train on."""
    if count < (protocol.folds if protocol.test_fraction is None else 4):
        return False
    if protocol.split == "random":
        return True
    trials, rng = np.arange(count), np.random.default_rng(protocol.seed)
    parts = (part for repeat in range(protocol.repeats) for part in _divide(trials, count, repeat, protocol, rng))
    return all(train.size >= 2 and test.size for train, test in parts)


def _too_few(count: int, protocol: Protocol) -> DataError:
    """Tell what is missing, and the nearest division that so many trials can bear."""
    asked = f"{protocol.folds} folds" if protocol.test_fraction is None else "a test share"
    beside = f", {protocol.gap} dropped on each side of a test block" if protocol.split == "blocked" else ""
    fix = "Decode a longer recording."
    if protocol.test_fraction is None:
        nearer = (protocol.model_copy(update={"folds": k, "gap": g}) for g, k in _nearer(count, protocol))
        found = next((each for each in nearer if _possible(count, each)), None)
        if found is not None:
            gap = f" --set gap={found.gap}" if found.gap != protocol.gap else ""
            fix = f"Use fewer folds: --folds {found.folds}{gap}"
    return DataError(
        f"There are too few trials for {asked} of the {protocol.split} split.",
        f"Found {count} trials{beside}; every fold needs one to test and two to train on.",
        fix,
    )


def _nearer(count: int, protocol: Protocol) -> list[tuple[int, int]]:
    """Return gaps and numbers of folds to try, the asked gap first, more folds first."""
    gaps = dict.fromkeys([protocol.gap, 0])
    return [(gap, folds) for gap in gaps for folds in range(min(count, protocol.folds), 1, -1)]


def _divide(
    groups: np.ndarray, count: int, repeat: int, protocol: Protocol, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    if protocol.split == "random":
        owner, units = np.arange(groups.size), rng.permutation(groups.size)
    elif protocol.split == "trial":
        owner, units = groups, rng.permutation(count)
    else:
        owner, units = groups, np.arange(count)
    gap = protocol.gap if protocol.split == "blocked" else -1
    return [_part(owner, part, gap) for part in _parts(units, repeat, protocol)]


def _parts(units: np.ndarray, repeat: int, protocol: Protocol) -> list[np.ndarray]:
    """Cut the units into test parts: every fold, or one share of them."""
    if protocol.test_fraction is None:
        return np.array_split(units, protocol.folds)
    size = max(1, round(protocol.test_fraction * units.size))
    first = 0
    if protocol.split == "blocked":
        first = round(repeat * (units.size - size) / max(1, protocol.repeats - 1))
    return [units[first : first + size]]


def _part(owner: np.ndarray, part: np.ndarray, gap: int) -> tuple[np.ndarray, np.ndarray]:
    tested = np.isin(owner, part)
    kept = ~tested if gap < 0 else (owner < part.min() - gap) | (owner > part.max() + gap)
    return np.flatnonzero(kept), np.flatnonzero(tested)


def inner_folds(groups: np.ndarray, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Divide training samples for tuning, whole trials together; rows index the training samples."""
    names = np.random.default_rng(seed).permutation(np.unique(groups))
    parts = np.array_split(names, min(folds, names.size))
    return [_part(groups, part, -1) for part in parts]
