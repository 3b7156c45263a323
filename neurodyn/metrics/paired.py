"""The one paired test of scores, of two models on the same units, and its correction for several comparisons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import false_discovery_control, wilcoxon

PAIRED_TEST = "Wilcoxon's signed-rank test, two-sided, corrected for the number of rows (Benjamini & Yekutieli)"


def signed_rank_p(values: np.ndarray, reference: np.ndarray) -> float:
    r"""Return p of Wilcoxon's signed-rank test, two-sided, that paired values do not differ.

    .. math:: W = \min\Bigl(\sum_{d_i > 0} R_i, \sum_{d_i < 0} R_i\Bigr), \quad d_i = x_i - y_i

    where :math:`R_i` ranks :math:`|d_i|`. Exact for up to 50 units without ties and zeros.

    Parameters
    ----------
    values, reference
        One value per unit, in one order, shape (unit,).

    Returns
    -------
    float
        NaN for one unit, and where all differences are zero.

    References
    ----------
    Wilcoxon F (1945). Individual comparisons by ranking methods. Biometrics Bulletin 1:80-83.
    """
    difference = np.asarray(values) - np.asarray(reference)
    if difference.size < 2 or not difference.any():
        return float("nan")
    return float(np.asarray(wilcoxon(difference))[1])


def adjusted_p(p: Sequence[float]) -> list[float]:
    r"""Correct p for the number of comparisons: false discoveries stay below p whatever the tests' dependence.

    .. math:: p_{(i)}^* = \min_{j \ge i} \min\Bigl(1, \frac{m}{j} \sum_{k=1}^{m} \frac1k \; p_{(j)}\Bigr)

    Parameters
    ----------
    p
        Of the m comparisons of one question; NaN where nothing was tested, which counts for nothing and stays.

    References
    ----------
    Benjamini Y, Yekutieli D (2001). The control of the false discovery rate in multiple testing under dependency. Ann
    Statist 29:1165-1188.
    """
    found = np.asarray(p, dtype=np.float64)
    tested = np.isfinite(found)
    if tested.any():
        found[tested] = false_discovery_control(found[tested], method="by")
    return found.tolist()
