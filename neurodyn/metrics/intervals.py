"""Confidence intervals from resampled blocks of neighbouring samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

DECODING_COVERS = "95 %, trials resampled with the fitted decoders held fixed"  # what intervals of decoding scores are


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


def bootstrap_interval(
    statistic: Callable[[np.ndarray], float],
    count: int,
    *,
    block: int = 1,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    expanded: bool = False,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a statistic of samples.

    Efron 1979, Bootstrap methods: another look at the jackknife; blocks as in `block_indices`. Of few samples the
    interval is too narrow by √((n − 1) / n) and by what t exceeds a normal quantile; the expanded one takes wider
    percentiles that make up for both (Hesterberg 2015, What teachers should know about the bootstrap, section 4.5).

    Parameters
    ----------
    statistic
        Takes sample indices, shape (sample,), and returns one number.
    count
        Number of samples, in their order in time.
    block
        Samples per block.
    level
        Coverage.
    expanded
        Take the wider percentiles, for few samples.
    """
    if count < 2:
        return float("nan"), float("nan")
    values = np.array([statistic(index) for index in block_indices(count, block, resamples, seed)])
    tail = (1 - level) / 2
    if expanded:
        tail = float(norm.cdf(np.sqrt(count / (count - 1)) * student.ppf(tail, count - 1)))
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return float(low), float(high)


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
    n = len(left_out)
    if n < 2:
        return float("nan"), float("nan")
    error = float(np.sqrt((n - 1) / n * np.sum((left_out - np.mean(left_out)) ** 2)))
    reach = float(student.ppf((1 + level) / 2, n - 1)) * error
    return value - reach, value + reach
