"""How good, and how honest, predictions with uncertainty are."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

FLOOR = 1e-12


def crps_gaussian(target: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Return the continuous ranked probability score of normal distributions, in units of the target, their shape.

    CRPS = s [z (2 Φ(z) − 1) + 2 φ(z) − 1/√π], z = (x − μ)/s; lower is better, and |x − μ| where s is 0.

    Gneiting & Raftery 2007, Strictly proper scoring rules, prediction, and estimation, eq. 21.

    Parameters
    ----------
    target, mean, sd
        Of one shape, or such that broadcast.
    """
    sd = np.maximum(np.asarray(sd, dtype=np.float64), FLOOR)
    z = (np.asarray(target, dtype=np.float64) - mean) / sd
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return sd * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))


def crps_ensemble(target: np.ndarray, members: np.ndarray, *, fair: bool) -> np.ndarray:
    """Return the continuous ranked probability score of ensembles, in units of the target, its shape; lower is better.

    CRPS = 1/E Σ |yₑ − x| − 1/(2 E²) Σ |yₑ − y_f|, of the distribution that is the ensemble (Gneiting & Raftery 2007); fair,
    with E (E − 1) for E², of the distribution that the members are drawn from, however many they are (Ferro 2014, Fair
    scores for ensemble forecasts, Q. J. R. Meteorol. Soc. 140:1917).

    Parameters
    ----------
    members
        Shape (member, *target), at least two members.
    fair
        Whether the members are draws. Of members that are fixed answers, as those of linear heads, the fair score is too low.
    """
    members = np.sort(np.asarray(members, dtype=np.float64), axis=0)
    count = len(members)
    weights = (2 * np.arange(count) - count + 1).reshape(-1, *[1] * (members.ndim - 1))  # Σ|yₑ − y_f| of sorted members
    spread = 2 * (weights * members).sum(0)
    return np.abs(members - target).mean(0) - spread / (2 * count * (count - 1 if fair else count))


def spread_skill(variance: float, error: float) -> float:
    """Return √(Σ s² / Σ (x − μ)²): 1 where the stated uncertainty is that of the errors, below 1 where it is too small.

    Fortin et al. 2014, Why should ensemble spread match the RMSE of the ensemble mean?, J. Hydrometeorol. 15:1708.
    NaN without errors.

    Parameters
    ----------
    variance, error
        Stated variance and squared error, summed, or averaged, over the same entries.
    """
    return float(np.sqrt(variance / error)) if error > 0 else float("nan")


def inside(target: np.ndarray, mean: np.ndarray, sd: np.ndarray, level: float) -> np.ndarray:
    """Say whether targets lie in the central interval of normal distributions, bool, their shape.

    Parameters
    ----------
    level
        Probability of the interval, e.g. 0.9.
    """
    return np.abs(np.asarray(target, dtype=np.float64) - mean) <= ndtri((1 + level) / 2) * np.asarray(sd)


def rank_histogram(target: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Return how often the target has each rank among its ensemble, shares, shape (member + 1,); flat where both are alike.

    Hamill 2001, Interpretation of rank histograms for verifying ensemble forecasts, Mon. Weather Rev. 129:550. Ties count
    as below.

    Parameters
    ----------
    members
        Shape (member, *target).
    """
    rank = (np.asarray(members) < np.asarray(target)[None]).sum(0)
    counts = np.bincount(rank.ravel(), minlength=len(members) + 1)
    return counts / max(1, counts.sum())


def normal_quantiles(count: int) -> np.ndarray:
    """Return the middles of `count` equally likely parts of the standard normal distribution, shape (count,)."""
    return ndtri((np.arange(count) + 0.5) / count)


def psnr(error: float, span: float) -> float:
    """Return the peak signal-to-noise ratio 10 log₁₀(span² / mean squared error), dB; NaN where either is 0.

    Parameters
    ----------
    error
        Mean squared error.
    span
        Largest less smallest value that the target takes.
    """
    return float(10 * np.log10(span**2 / error)) if error > 0 and span > 0 else float("nan")
