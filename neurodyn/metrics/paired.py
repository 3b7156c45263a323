"""The one paired test of scores, of two models on the same units, and its correction for several comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import false_discovery_control, wilcoxon
from scipy.stats import t as student

from neurodyn.metrics.intervals import alike, long_run

BLOCKS = 20  # of neighbouring samples, to count in how many a model is better
PER_COSINE = 3  # independent samples
COSINES = (4, 8)  # fewest and most
FEWEST = 6  # units below which no signed-rank test reaches .05
FEWEST_IN_EFFECT = 8  # independent samples below which nothing is told: of fewer, none sees how alike neighbours are
MOST_ALIKE = 0.95  # autocorrelation of neighbours
CORRECTED = "two-sided, corrected for the number of rows (Benjamini & Yekutieli)"
PAIRED_TEST = f"Wilcoxon's signed-rank test, {CORRECTED}"
BLOCK_TEST = f"the t-test of correlated neighbours by their slow cosines, {CORRECTED}"


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
    if units.size < 2:
        return _untold(float(units.size))
    error = float(units.std(ddof=1) / np.sqrt(units.size))
    return _student(float(units.mean()), error, units.size - 1, float(units.size))


def correlated_mean_test(values: np.ndarray) -> MeanTest:
    r"""Return the t-test and the 95 % interval of the mean of neighbours that may be correlated.

    .. math:: t = \frac{\sqrt n \, \bar x}{\sqrt{\frac1B \sum_{j=1}^B w_j \Lambda_j^2}}, \quad
        \Lambda_j = \sqrt{\frac2n} \sum_i x_i \cos\frac{\pi j (i + \frac12)}{n}, \quad
        w_j = \frac{1 - 2 r \cos(\pi j / n) + r^2}{(1 - r)^2}

    compared to Student's t of B degrees of freedom: slow cosines hold nearly as much of the mean's variance as the mean
    does. How much less is that of a process of first order, where r is the autocorrelation of neighbours (Andrews &
    Monahan 1992, Econometrica 60:953-966: prewhitening). One cosine per 3 samples in effect, but at least 4 and at most 8.
    Nothing is told of fewer than 8 samples in effect.

    Parameters
    ----------
    values
        In order of time, shape (sample,).

    References
    ----------
    Lazarus E, Lewis DJ, Stock JH, Watson MW (2018). HAR inference: recommendations for practice. J Bus Econ Stat 36:541-559.
    """
    n, effective = values.size, effective_number(values)
    if effective < FEWEST_IN_EFFECT:
        return _untold(effective)
    r = alike(values, MOST_ALIKE)
    frequency = np.pi * np.arange(1, int(np.clip(effective // PER_COSINE, *COSINES)) + 1) / n
    waves = np.cos(frequency[:, None] * (np.arange(n) + 0.5)) @ values
    weights = (1 - 2 * r * np.cos(frequency) + r**2) / (1 - r) ** 2
    error = float(np.sqrt(2 * np.mean(weights * waves**2))) / n
    return _student(float(values.mean()), error, frequency.size, effective)


def effective_number(values: np.ndarray) -> float:
    r"""Return how many independent samples would tell as much of the mean.

    .. math:: n' = n \frac{1 - r}{1 + r}

    where r is the autocorrelation of neighbours, between 0 and 0.95.

    Parameters
    ----------
    values
        In order of time, shape (sample,).

    References
    ----------
    Bayley GV, Hammersley JM (1946). The "effective" number of independent observations in an autocorrelated time series.
    J R Stat Soc Suppl 8:184-197.
    """
    return values.size / long_run(alike(values, MOST_ALIKE), 1)[0]


def _student(mean: float, error: float, freedom: int, effective: float) -> MeanTest:
    reach = float(student.ppf(0.975, freedom)) * error
    p = 2 * float(student.sf(abs(mean) / error, freedom)) if error > 0 else float("nan")
    return MeanTest(mean - reach, mean + reach, p, effective)


def _untold(effective: float) -> MeanTest:
    return MeanTest(float("nan"), float("nan"), float("nan"), effective)


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
