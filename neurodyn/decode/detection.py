"""How well log-odds tell cases from the rest."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import average_precision_score

METRICS = ("accuracy", "balanced_accuracy", "f1", "average_precision")


def measures(odds: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Return accuracy, balanced accuracy, F1 and average precision; NaN where an answer does not occur.

    Parameters
    ----------
    odds, answers
        Log-odds, and 1 or 0, shape (case,).
    """
    said, came = odds > 0, answers > 0.5
    hits, alarms = (said & came).sum(), (said & ~came).sum()
    yes, no = came.sum(), (~came).sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        balanced = (hits / yes + (no - alarms) / no) / 2
        f1 = 2 * hits / (hits + alarms + yes)
    precision = average_precision_score(came, odds) if yes else np.nan
    return np.array([(said == came).mean(), balanced, f1, precision])
