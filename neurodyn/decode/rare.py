"""Classes with too few trials to be divided into training and test."""

from __future__ import annotations

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.decode.splits import Fold

LISTED = 5


def require_divisible(name: str, classes: np.ndarray, encoded: np.ndarray, groups: np.ndarray) -> None:
    """Refuse classes of which no two have two trials: one to train on, one to test.

    Parameters
    ----------
    name
        Of the target.
    classes
        Their names, shape (class,).
    encoded
        Class of each sample, shape (sample,).
    groups
        Trial of each sample, shape (sample,).

    Raises
    ------
    DataError
        If nothing could be learned of one trial and tested on another.
    """
    trials = trials_per_class(encoded, groups, classes.size)
    if (trials >= 2).sum() < 2:
        raise DataError(
            f"The classes of '{name}' have too few trials to be divided.",
            f"Found {_listed(classes, trials)}; expected at least two classes of two trials.",
            "Choose another target, or take it as a quantity: --set task=regress",
        )


def few_trials(classes: np.ndarray, encoded: np.ndarray, groups: np.ndarray, folds: list[Fold]) -> str:
    """Say which classes have fewer trials than there are folds, and how many tests can only fail; "" for none."""
    trials = trials_per_class(encoded, groups, classes.size)
    number = len({fold.number for fold in folds})
    words = []
    if (trials < number).any():
        rare = trials < number
        words.append(f"classes with fewer trials than the {number} folds: {_listed(classes[rare], trials[rare])}")
    unseen = [np.unique(groups[fold.test][~np.isin(encoded[fold.test], encoded[fold.train])]).size for fold in folds]
    tested = [np.unique(groups[fold.test]).size for fold in folds]
    if sum(unseen):
        words.append(f"{sum(unseen)} of {sum(tested)} tests are sure misses: no trial of their class is in training")
    return "; ".join(words)


def trials_per_class(encoded: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """Count the trials in which each class occurs, shape (class,)."""
    pairs = np.unique(np.stack([encoded, groups]), axis=1)
    return np.bincount(pairs[0].astype(int), minlength=count)


def _listed(classes: np.ndarray, trials: np.ndarray) -> str:
    names = [f"{name} ({count} trial{'s' if count != 1 else ''})" for name, count in zip(classes, trials, strict=True)]
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
