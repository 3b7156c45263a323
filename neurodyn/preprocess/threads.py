"""Rows shared out over processors, for compiled functions that let other threads run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from neurodyn.core.processor import processors

FEWEST_ROWS = 8


def by_rows(work: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Return work(rows), computed in as many parts as there are processors; every row is worked on alone.

    Parameters
    ----------
    rows
        Shape (row, …).
    """
    parts = min(processors(), len(rows) // FEWEST_ROWS)
    if parts < 2:
        return work(rows)
    with ThreadPoolExecutor(parts) as pool:
        return np.concatenate(list(pool.map(work, np.array_split(rows, parts))))
