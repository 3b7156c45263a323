"""The one paired test of scores, of two models on the same units, and its correction for several comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import false_discovery_control, wilcoxon
from scipy.stats import t as student

BLOCKS = 20  # of neighbouring samples: long enough to lose most of their correlation, enough for a t-test
FEWEST = 6  # units in effect below which nothing is told: no signed-rank test reaches .05 either
CORRECTED = "two-sided, corrected for the number of rows (Benjamini & Yekutieli)"
PAIRED_TEST = f"Wilcoxon's signed-rank test, {CORRECTED}"
BLOCK_TEST = f"the t-test of as many blocks as their correlation leaves, {CORRECTED}"


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


@dataclass(frozen=True)
class MeanTest:
    """The mean of units, tested against 0.

    Parameters
    ----------
    low, high
        95 % interval of the mean; NaN for too few units.
    p
        Two-sided; NaN for too few units.
    effective
        Independent units that tell as much of the mean.
    """

    low: float
    high: float
    p: float
    effective: float


def block_means(values: np.ndarray) -> np.ndarray:
    """Return means of at most 20 blocks of neighbours, all but equally long, shape (block,).

    Parameters
    ----------
    values
        In order of time, shape (sample,).
    """
    return np.array([part.mean() for part in np.array_split(values, min(BLOCKS, values.size))])


def mean_test(units: np.ndarray) -> MeanTest:
    r"""Return the t-test and the 95 % interval of the mean of independent units, shape (unit,)."""
    return _student(units, float(units.size), 2)


def correlated_mean_test(units: np.ndarray) -> MeanTest:
    r"""Return the t-test and the 95 % interval of the mean of neighbours that may be correlated.

    .. math:: n' = n \frac{1 - r}{1 + r}, \quad r = \max\left(0, \frac{n \hat r_1 + 1}{n - 3}\right)

    the effective number of a first-order autoregression, whose lag-1 correlation is freed of its bias. Nothing is told of
    fewer than 6.

    Parameters
    ----------
    units
        In order of time, shape (unit,).

    References
    ----------
    Bayley GV, Hammersley JM (1946). The "effective" number of independent observations in an autocorrelated time series.
    J R Stat Soc Suppl 8:184-197. Kendall MG (1954). Note on bias in the estimation of autocorrelation. Biometrika 41:403-404.
    """
    n, rest = units.size, units - units.mean()
    square = float(rest @ rest)
    if n < FEWEST or square == 0:
        return _student(units, float(n), FEWEST)
    found = (n * float(rest[1:] @ rest[:-1]) / square + 1) / (n - 3)
    r = min(max(found, 0.0), 1 - 1e-9)
    return _student(units, n * (1 - r) / (1 + r), FEWEST)


def _student(units: np.ndarray, effective: float, fewest: int) -> MeanTest:
    mean, variance, freedom = float(units.mean()), float(units.var()), effective - 1
    if effective < fewest:
        return MeanTest(float("nan"), float("nan"), float("nan"), effective)
    error = float(np.sqrt(variance / freedom))
    reach = float(student.ppf(0.975, freedom)) * error
    p = 2 * float(student.sf(abs(mean) / error, freedom)) if error > 0 else float("nan")
    return MeanTest(mean - reach, mean + reach, p, effective)


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
