r"""Responses grouped by condition: means, intervals, and whether they differ by more than labels without meaning would make.

Responses have shape (event, cell), NaN where a cell has no datum; `codes` number the condition of each event from 0, -1 for
none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from scipy.stats import false_discovery_control

from neurodyn.metrics.intervals import widening
from neurodyn.metrics.tuning import spatial_information

BATCH_BYTES = 2**26
LEVELS = 4  # of a response, for its information


def members(codes: np.ndarray, count: int) -> np.ndarray:
    """Return which events are of which condition, float32, shape (..., condition, event), of codes (..., event)."""
    return (codes[..., None, :] == np.arange(count)[:, None]).astype(np.float32)


def group_means(values: np.ndarray, codes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean and variance of the responses to each condition, and how many there are, each shape (condition, cell)."""
    chosen, there = members(codes, count), np.isfinite(values)
    clean = np.where(there, values, 0).astype(np.float64)
    number = chosen @ there.astype(np.float32)
    mean = _divided(chosen @ clean, number)
    apart = np.where(there & (codes >= 0)[:, None], clean - np.nan_to_num(mean)[codes], 0)
    return mean, _divided(chosen @ apart**2, number - 1), number


def permutation_p(values: np.ndarray, codes: np.ndarray, columns: np.ndarray, count: int) -> np.ndarray:
    r"""Test whether the means of conditions differ; returns p of every cell.

    .. math:: \mathrm{SS} = \sum_k n_k (\bar r_k - \bar r)^2, \quad p = \frac{1 + \#\{b : \mathrm{SS}_b \ge \mathrm{SS}\}}{1 + B}

    of B null codes: SS over what is left of the total is F, and rises with it, as the total is the same for all.

    Parameters
    ----------
    columns
        Null codes, shape (event, shuffle), as of `neurodyn.metrics.nulls.make_null`; without a column p is NaN.
    """
    if not columns.shape[1]:
        return np.full(values.shape[1], np.nan)
    clean, there = _standard(values)  # so that single precision, in which the products are twice as fast, is enough
    truth = _between(clean, there, codes[None], count)[0]
    above = np.zeros(values.shape[1])
    for batch in _batches(columns.T.astype(np.int64), count):
        above += as_large(_between(clean, there, batch, count), truth).sum(axis=0)
    p = (1 + above) / (1 + columns.shape[1])
    return np.where(clean.any(axis=0), p, np.nan)


def shift_p(
    values: np.ndarray, code: np.ndarray, steps: np.ndarray, count: int, rates: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Test whether bins of a slow behaviour differ, by shifts of it along the recording; returns p and information.

    Parameters
    ----------
    code
        Bin of each frame, -1 for none, shape (time,).
    steps
        Frames by which it is shifted, round and round, shape (shuffle,).
    rates
        What is not negative and may be told of as events, shape (time, cell); None where nothing is.

    Returns
    -------
    p
        Of the sum of squares between bins, as `permutation_p` has it; and of spatial information, NaN without `rates`;
        shape (2, cell).
    information
        Skaggs' information, bits per event, less its mean over shifts, which is what few events seem to tell of anything
        (Sheintuch et al. 2022, Bias-free estimation of information content in temporally sparse neuronal activity).
    """
    clean, there = _standard(values)
    truth = _shifted(clean, there, rates, code[None], count)[:, 0]
    above, mean, step = np.zeros(truth.shape), np.zeros(values.shape[1]), _rows(count, code.size)
    for begin in range(0, steps.size, step):
        rolled = np.stack([np.roll(code, by) for by in steps[begin : begin + step]])
        found = _shifted(clean, there, rates, rolled, count)
        above += as_large(found, truth[:, None]).sum(axis=1)
        mean += found[1].sum(axis=0) / steps.size
    known = clean.any(axis=0) & np.isfinite(truth) & (steps.size > 0)
    return np.where(known, (1 + above) / (1 + steps.size), np.nan), truth[1] - mean


def _shifted(
    clean: np.ndarray, there: np.ndarray | None, rates: np.ndarray | None, codes: np.ndarray, count: int
) -> np.ndarray:
    """Return the sum of squares between bins, and the information in them, shape (2, shuffle, cell)."""
    between = _between(clean, there, codes, count)
    if rates is None:
        return np.stack([between, np.full(between.shape, np.nan)])
    chosen = members(codes, count)
    occupancy = chosen.sum(axis=2)
    sums = (chosen.reshape(-1, chosen.shape[-1]) @ rates).reshape(*occupancy.shape, -1)
    return np.stack([between, spatial_information(sums / np.maximum(occupancy, 1)[..., None], occupancy)])


def as_large(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Say where a null statistic is not smaller than the true one, but for rounding."""
    return found >= truth - 1e-4 * np.maximum(np.abs(truth), 1e-3)


def _standard(values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return responses of mean 0 and standard deviation 1, 0 where there is no datum, and where there is; None for all."""
    there = np.isfinite(values)
    number = np.maximum(there.sum(axis=0), 1)
    clean = np.where(there, values, 0).astype(np.float64)
    clean = np.where(there, clean - clean.sum(axis=0) / number, 0)
    spread = np.sqrt((clean**2).sum(axis=0) / number)
    clean = np.where(spread > 1e-12, clean / np.where(spread > 0, spread, 1), 0).astype(np.float32)
    return clean, None if there.all() else there.astype(np.float32)


def _between(clean: np.ndarray, there: np.ndarray | None, codes: np.ndarray, count: int) -> np.ndarray:
    """Return the sum of squares between conditions for each row of codes, shape (shuffle, cell)."""
    chosen = members(codes, count)
    shape = (len(codes), count, clean.shape[1])
    sums = (chosen.reshape(-1, chosen.shape[-1]) @ clean).reshape(shape)
    if there is None:
        return _divided(sums**2, chosen.sum(axis=2)[..., None]).sum(axis=1)
    number = (chosen.reshape(-1, chosen.shape[-1]) @ there).reshape(shape)
    return _divided(sums**2, number, 0.0).sum(axis=1)


def _batches(rows: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """Yield rows of codes, as many at once as a table of members may be large."""
    step = _rows(count, rows.shape[1])
    for begin in range(0, len(rows), step):
        yield rows[begin : begin + step]


def _rows(count: int, size: int) -> int:
    """Return how many rows of codes are looked at at once."""
    return max(1, BATCH_BYTES // (4 * count * max(1, size)))


def _divided(one: np.ndarray, other: np.ndarray, missing: float = np.nan) -> np.ndarray:
    shape = np.broadcast_shapes(one.shape, other.shape)
    return np.divide(one, other, out=np.full(shape, missing), where=np.broadcast_to(other, shape) > 0)


def sign_flip_p(change: np.ndarray, codes: np.ndarray, count: int, flips: int, rng: np.random.Generator) -> np.ndarray:
    r"""Test whether responses to any condition differ from the baseline before them; returns p of every cell.

    .. math:: T = \max_k \frac{|\bar d_k| \sqrt{n_k}}{s}, \quad s^2 = \frac{\sum_i d_i^2 - \sum_k n_k \bar d_k^2}{n - K}

    where d is response less baseline of a trial. Without a response baseline and response may be exchanged, which turns the
    sign of d: T is compared to its values after random signs. Paired, two-sided, and corrected for the conditions.

    Parameters
    ----------
    change
        d, shape (event, cell).
    flips
        Draws of signs.

    References
    ----------
    Westfall PH, Young SS (1993). Resampling-based multiple testing. Wiley.
    """
    there = np.isfinite(change) & (codes >= 0)[:, None]
    clean = np.where(there, change, 0).astype(np.float32)
    rows = [np.flatnonzero(codes == k) for k in range(count)]
    number = np.stack([there[row].sum(axis=0) for row in rows])
    total = (clean.astype(np.float64) ** 2).sum(axis=0)
    truth = _largest_t([clean[row].sum(axis=0) for row in rows], number, total)
    above = np.zeros(change.shape[1])
    # Signs leave the sum of squares as it is, so that a draw needs the sums of conditions alone, each of its own trials.
    step = max(1, BATCH_BYTES // (8 * (codes.size + change.shape[1])))
    for begin in range(0, flips, step):
        signs = rng.choice(np.array([-1, 1], np.float32), (min(step, flips - begin), codes.size))
        sums = (signs[:, row] @ clean[row] for row in rows)
        above += (_largest_t(sums, number, total) >= truth * (1 - 1e-5)).sum(axis=0)
    return np.where(total > 0, (1 + above) / (1 + flips), np.nan)


def _largest_t(sums: Iterable[np.ndarray], number: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Return the largest t of conditions, of one sum for each, of shape (..., cell) as is what is returned."""
    largest, rest = np.float64(0), total
    for one, count in zip(sums, number, strict=True):
        square = one.astype(np.float64) ** 2 / np.maximum(count, 1)
        largest, rest = np.maximum(largest, square), rest - square
    freedom = np.maximum(number.sum(axis=0) - (number > 0).sum(axis=0), 1)
    return np.sqrt(largest * freedom / np.maximum(rest, 1e-9 * np.maximum(total, 1e-300)))


def mean_intervals(
    sums: Sequence[np.ndarray], numbers: Sequence[np.ndarray], resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Return 95 % intervals of the mean of every condition by bootstrap over its units, shape (2, condition, cell).

    Efron 1979, Bootstrap methods: another look at the jackknife; widened for few units (Hesterberg 2015).

    Parameters
    ----------
    sums, numbers
        Per condition the sum and the number of values of each unit, trials or stretches of time, shape (unit, cell).
    resamples
        Bootstrap samples of units.
    """
    out = np.full((2, len(sums), sums[0].shape[1]), np.nan)
    for k, (total, number) in enumerate(zip(sums, numbers, strict=True)):
        units = len(total)
        if units < 2:
            continue
        draws = rng.multinomial(units, np.full(units, 1 / units), resamples).astype(np.float64)
        mean = _divided(total.sum(axis=0), number.sum(axis=0))
        drawn = draws @ number
        means = np.where(drawn > 0, draws @ total / np.maximum(drawn, 1e-300), mean)
        out[:, k] = mean + widening(units) * (np.quantile(means, [0.025, 0.975], axis=0) - mean)
    return out


def half_means(
    sums: Sequence[np.ndarray], numbers: Sequence[np.ndarray], splits: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the means of every condition over a random half of its units, and over the other, each (condition, cell)."""
    for _ in range(splits):
        first, second = [], []
        for total, number in zip(sums, numbers, strict=True):
            half = rng.permutation(len(total)) < (len(total) + rng.integers(2)) // 2
            first.append(_divided(total[half].sum(axis=0), number[half].sum(axis=0)))
            second.append(_divided(total[~half].sum(axis=0), number[~half].sum(axis=0)))
        yield np.stack(first), np.stack(second)


def correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation along the first axis where both have values; NaN where one is constant."""
    there = np.isfinite(one) & np.isfinite(other)
    number = np.maximum(there.sum(axis=0), 1)
    left, right = (np.where(there, part, 0.0) for part in (one, other))
    left, right = (np.where(there, part - part.sum(axis=0) / number, 0.0) for part in (left, right))
    spread = np.sqrt((left**2).sum(axis=0) * (right**2).sum(axis=0))
    return _divided((left * right).sum(axis=0), spread)


def information(values: np.ndarray, codes: np.ndarray, columns: np.ndarray, count: int) -> np.ndarray:
    r"""Return what a response tells of its condition, bits per event, less what it seems to tell of null labels.

    .. math:: I = \sum_{k, b} p_{kb} \log_2 \frac{p_{kb}}{p_k p_b} - \frac1B \sum_{\mathrm{nulls}} I_{\mathrm{null}}

    of responses in four classes of about equal size, b. The mean over null labels is the bias of few events (Panzeri et al.
    2007, Correcting for the sampling bias problem in spike train information measures).

    Parameters
    ----------
    columns
        Null codes, shape (event, shuffle); without a column NaN.
    """
    if not columns.shape[1]:
        return np.full(values.shape[1], np.nan)
    clean = np.where(np.isfinite(values).any(axis=0), values, 0.0)  # of cells without any datum no quantile can be told
    edges = np.nanquantile(clean, np.arange(1, LEVELS) / LEVELS, axis=0)
    level = np.where(np.isfinite(values), (values[None] > edges[:, None]).sum(axis=0), -1)
    own = _bits(level, codes[None], count)[0]
    nulls = [_bits(level, batch, count) for batch in _batches(columns.T.astype(np.int64), count)]
    return own - np.concatenate(nulls).mean(axis=0)


def _bits(level: np.ndarray, codes: np.ndarray, count: int) -> np.ndarray:
    """Return plug-in information for each row of codes, bits, shape (shuffle, cell)."""
    chosen = members(codes, count).reshape(-1, codes.shape[1])
    joint = np.stack([chosen @ (level == b).astype(np.float32) for b in range(LEVELS)])
    joint = joint.reshape(LEVELS, len(codes), count, -1)
    joint = joint / np.maximum(joint.sum(axis=(0, 2), keepdims=True), 1)
    apart = joint.sum(axis=0, keepdims=True) * joint.sum(axis=2, keepdims=True)
    return (joint * np.log2(np.where(joint > 0, joint / np.where(apart > 0, apart, 1), 1))).sum(axis=(0, 2))


def without_drift(values: np.ndarray, waves: int) -> np.ndarray:
    """Return responses without a line and slow cosines over the events, their mean kept, shape of `values`.

    Parameters
    ----------
    waves
        Cosines, the fastest of which has `waves` half periods; 0 takes nothing off.
    """
    if not waves or len(values) < 2 * waves + 4:
        return values
    place = (np.arange(len(values)) + 0.5) / len(values)
    slow = np.column_stack([place - 0.5, *(np.cos(np.pi * k * place) for k in range(1, waves + 1))])
    slow = np.linalg.qr(slow - slow.mean(axis=0))[0]
    there = np.isfinite(values)
    mean = np.where(there, values, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    return values - slow @ (slow.T @ np.where(there, values - mean, 0))


def without_baseline(values: np.ndarray, level: np.ndarray) -> np.ndarray:
    r"""Return responses less what of the level before them they share, :math:`r - \beta (b - \bar b)`, shape of `values`.

    The share of each cell is told by all its trials, whatever their condition. Subtracting the whole level, as tuning curves
    have it, adds its noise to every trial; this takes no more off than is there (Vickers & Altman 2001, Analysing controlled
    trials with baseline and follow up measurements).

    Parameters
    ----------
    level
        Mean before each event, shape (event, cell).
    """
    there = np.isfinite(values) & np.isfinite(level)
    number = np.maximum(there.sum(axis=0), 1)
    own, before = (np.where(there, part, 0.0) for part in (values, level))
    own, before = (np.where(there, part - part.sum(axis=0) / number, 0.0) for part in (own, before))
    share = _divided((own * before).sum(axis=0), (before**2).sum(axis=0), 0.0)
    return values - share * before


def corrected(p: np.ndarray) -> np.ndarray:
    """Return q, p corrected for the number of cells by false discovery rate; NaN stays.

    Benjamini & Hochberg 1995, Controlling the false discovery rate.
    """
    q, known = np.full(p.shape, np.nan), np.isfinite(p)
    q[known] = false_discovery_control(p[known]) if known.any() else 1.0
    return q
