"""Prediction intervals that need no distribution: how far a new group's samples are off."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np


def grouped_half_width(errors: np.ndarray, groups: Sequence[Hashable], coverage: float) -> float:
    """Return within how much a sample of a new group is, with this probability or more; infinite of too few groups.

    Every group weighs the same, 1 / (K + 1), and the new one is taken for worse than all that were seen: hierarchical
    conformal prediction, Lee, Barber & Willett, arXiv:2306.06342 (2023).

    Parameters
    ----------
    errors
        Sizes of errors, shape (sample,).
    groups
        Of each sample; K different ones.
    coverage
        Share of samples, between 0 and 1.
    """
    names = list(groups)
    count = {name: names.count(name) for name in set(names)}
    weights = np.array([1 / ((len(count) + 1) * count[name]) for name in names])
    order = np.argsort(errors, kind="stable")
    place = int(np.searchsorted(np.cumsum(weights[order]), coverage - 1e-9))
    return float(errors[order][place]) if place < len(order) else float("inf")
