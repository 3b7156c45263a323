"""Confidence intervals from resampled blocks of neighbouring samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

# What the intervals of decoding scores are for.
DECODING_COVERS = (
    "95 %, for the mean score that recordings with as many trials would give, decoders trained anew on each"
)


def block_indices(count: int, block: int, resamples: int, seed: int) -> np.ndarray:
    """Draw resamples of contiguous blocks, wrapping at the end.

    Politis & Romano 1992, A circular block-resampling procedure for stationary data.

    Parameters
    ----------
    count
        Samples, in their order in time.
    block
        Samples per block; 1 is the ordinary bootstrap.

    Returns
    -------
    np.ndarray
        Indices, shape (resample, sample).
    """
    blocks = -(-count // block)
    starts = np.random.default_rng(seed).integers(0, count, (resamples, blocks, 1))
    return ((starts + np.arange(block)) % count).reshape(resamples, -1)[:, :count]


def block_length(count: int) -> int:
    """Return the usual rate-optimal order of block length, ⌈n^(1/3)⌉ (Hall, Horowitz & Jing 1995)."""
    return max(1, int(np.ceil(np.cbrt(count) - 1e-9)))


def alike(values: np.ndarray, most: float = 0.9) -> float:
    """Return the autocorrelation of neighbours, from 0 to `most`, corrected for its bias in few samples.

    Marriott & Pope 1954, Bias in the estimation of autocorrelations.

    Parameters
    ----------
    values
        In their order in time, shape (sample,).
    """
    values = values - values.mean()
    energy = float(values @ values)
    if energy == 0:
        return 0.0
    found = float(values[1:] @ values[:-1]) / energy
    return float(np.clip(found + (1 + 4 * found) / values.size, 0, most))


def _alike_where_finite(values: np.ndarray) -> float:
    """Return `alike` of a statistic that some samples leave without a value, as an R² without variance; 0 of none."""
    finite = np.isfinite(values)
    return alike(np.where(finite, values, values[finite].mean())) if finite.any() else 0.0


def long_run(rho: float, block: float) -> tuple[float, float]:
    r"""Return how much larger a sum's variance is than that of as many independent samples: of all, and of one block.

    .. math:: \frac{1 + \rho}{1 - \rho} \quad\text{and}\quad
        \frac{1 + \rho}{1 - \rho} - \frac{2 \rho (1 - \rho^b)}{b (1 - \rho)^2}

    Parameters
    ----------
    rho
        Autocorrelation of neighbours, its powers that of samples farther apart.
    block
        b, samples per block.
    """
    whole = (1 + rho) / (1 - rho)
    return whole, whole - 2 * rho * (1 - rho**block) / (block * (1 - rho) ** 2)


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float],
    count: int,
    *,
    block: int = 1,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a statistic of samples, widened where they are few or alike.

    Efron 1979, Bootstrap methods: another look at the jackknife; blocks as in `block_indices`. Of few samples, or blocks,
    the interval is too narrow by √((n − 1) / n) and by what t exceeds a normal quantile (Hesterberg 2015, What teachers
    should know about the bootstrap, section 4.5); blocks miss what their ends share with their neighbours, as `long_run`
    gives it for the statistic's autocorrelation. Both are made up for.

    Parameters
    ----------
    statistic
        Takes sample indices, shape (sample,), and returns one number.
    count
        Number of samples, in their order in time.
    block
        Samples per block; 1 for samples that know nothing of each other.
    level
        Coverage.
    """
    if count < 2:
        return float("nan"), float("nan")
    values = np.array([statistic(index) for index in block_indices(count, block, resamples, seed)])
    tail = (1 - level) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail])
    value, factor = statistic(np.arange(count)), widening(count, block, level)
    if block > 1:
        left_out = np.array([statistic(np.delete(np.arange(count), k)) for k in range(count)])
        whole, within = long_run(_alike_where_finite(left_out), block)
        factor *= float(np.sqrt(whole / within))
    return float(value - factor * (value - low)), float(value + factor * (high - value))


def widening(count: int, block: int = 1, level: float = 0.95) -> float:
    """Return by how much a bootstrap interval of so few samples, or blocks of them, is too narrow."""
    units = max(2.0, count / block)
    upper = (1 + level) / 2
    return float(np.sqrt(units / (units - 1)) * student.ppf(upper, units - 1) / norm.ppf(upper))


def jackknife_interval(value: float, left_out: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return value ± t · √((n − 1) / n · Σ (θ₋ᵢ − θ̄)²), t of n − 1 degrees of freedom.

    For statistics that doubled samples would bias, as the bootstrap doubles them. Efron & Stein 1981, The jackknife
    estimate of variance.

    Parameters
    ----------
    value
        The statistic of all samples.
    left_out
        θ₋ᵢ, the statistic without sample i, shape (sample,).
    level
        Coverage.
    """
    if len(left_out) < 2:
        return float("nan"), float("nan")
    reach = float(jackknife_reach(left_out, level))
    return value - reach, value + reach


def jackknife_reach(left_out: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Return how far the interval of `jackknife_interval` reaches to either side, shape (...,).

    Parameters
    ----------
    left_out
        Statistics without sample i, shape (sample, ...).
    """
    n = len(left_out)
    error = np.sqrt((n - 1) / n * np.sum((left_out - np.mean(left_out, axis=0)) ** 2, axis=0))
    return student.ppf((1 + level) / 2, n - 1) * error
