"""Tuning curves of a shape with a name, fitted to all cells at once.

Each curve is linear in its heights and not in its place and width: for every place and width on a grid the heights follow by
least squares (Golub & Pereyra 1973, variable projection), and the best of the grid is taken. Nothing has to be started, and
nothing gets stuck.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CELLS = 256  # fitted at once
WIDEST, WIDTHS = 0.4, 14  # lowest concentration of a von Mises peak, and how many are tried


@dataclass(frozen=True)
class Curve:
    """The best curve of every cell.

    Parameters
    ----------
    place, width
        Non-linear parameters, shape (cell,).
    heights
        Linear ones: baseline, then the height of each peak, shape (height, cell).
    explained
        Share of the variance between conditions that the curve explains, shape (cell,).
    """

    place: np.ndarray
    width: np.ndarray
    heights: np.ndarray
    explained: np.ndarray


def von_mises(mean: np.ndarray, number: np.ndarray, radians: np.ndarray, peaks: int) -> Curve:
    r"""Fit a von Mises curve, with a second peak half a turn away where there are directions.

    .. math:: r(\theta) = b + a_1 e^{\kappa (\cos(\theta - \mu) - 1)} + a_2 e^{\kappa (-\cos(\theta - \mu) - 1)},
        \quad a_1 \ge a_2 \ge 0

    Parameters
    ----------
    mean, number
        Responses to each condition and their number, shape (condition, cell).
    radians
        Of a whole turn, shape (condition,).
    peaks
        1 or 2.
    """
    places, widths = np.deg2rad(np.arange(0, 360, 2.0)), _concentrations(radians)
    cosine = np.cos(radians - places[:, None])  # (place, condition)
    one, two = (np.exp(widths[:, None, None] * (sign * cosine - 1)) for sign in (1, -1))
    ones = np.ones_like(one)
    shapes = [np.stack([ones, one, 0 * one], -1)] + ([np.stack([ones, one, two], -1)] if peaks == 2 else [])
    grid = np.stack(shapes)  # (kind, width, place, condition, height)
    index, heights, explained = _best(grid.reshape(-1, *grid.shape[3:]), mean, number)
    _, width, place = np.unravel_index(index, grid.shape[:3])
    return Curve(places[place], widths[width], heights, explained)


def _concentrations(radians: np.ndarray) -> np.ndarray:
    """Return concentrations up to where a peak is as wide at half height as conditions are apart: nothing tells narrower ones."""
    around = np.sort(np.mod(radians, 2 * np.pi))
    apart = float(np.median(np.diff(np.append(around, around[0] + 2 * np.pi))))
    return np.geomspace(WIDEST, max(2 * WIDEST, np.log(2) / (1 - np.cos(apart / 2))), WIDTHS)


def half_width(concentration: np.ndarray) -> np.ndarray:
    """Return the half width at half height of a von Mises peak, radians of a whole turn; π where it never falls so far."""
    return np.arccos(np.clip(1 + np.log(0.5) / concentration, -1, 1))


def naka_rushton(mean: np.ndarray, number: np.ndarray, contrast: np.ndarray) -> Curve:
    r"""Fit the contrast response of Naka & Rushton (1966): `place` is c50, `width` the exponent n.

    .. math:: r(c) = b + r_{\max} \frac{c^n}{c^n + c_{50}^n}

    Parameters
    ----------
    contrast
        Not negative, shape (condition,).
    """
    positive = contrast[contrast > 0]
    halves = np.geomspace(positive.min() / 2, positive.max() * 1.5, 100)
    exponents = np.geomspace(0.6, 6, 40)
    ratio = (contrast / halves[:, None])[None] ** exponents[:, None, None]
    rise = ratio / (1 + ratio)
    grid = np.stack([np.ones_like(rise), rise], -1)  # (exponent, half, condition, height)
    index, heights, explained = _best(grid.reshape(-1, *grid.shape[2:]), mean, number)
    exponent, half = np.unravel_index(index, grid.shape[:2])
    return Curve(halves[half], exponents[exponent], heights, explained)


def gaussian(mean: np.ndarray, number: np.ndarray, values: np.ndarray) -> Curve:
    r"""Fit a Gaussian peak: `place` is its centre, `width` its standard deviation, in the unit of the values.

    .. math:: r(x) = b + a e^{-(x - \mu)^2 / 2 \sigma^2}, \quad a \ge 0
    """
    span = float(np.ptp(values))
    places = np.linspace(values.min(), values.max(), 121)
    widths = span * np.geomspace(0.05, 1.0, 16)
    apart = (values - places[:, None])[None] / widths[:, None, None]
    peak = np.exp(-0.5 * apart**2)
    grid = np.stack([np.ones_like(peak), peak], -1)
    index, heights, explained = _best(grid.reshape(-1, *grid.shape[2:]), mean, number)
    width, place = np.unravel_index(index, grid.shape[:2])
    return Curve(places[place], widths[width], heights, explained)


def _best(shapes: np.ndarray, mean: np.ndarray, number: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the best shape of every cell, its heights, and the share of variance explained.

    Parameters
    ----------
    shapes
        (shape, condition, height); the first height is the baseline's, and those of peaks fall and are not negative.
    """
    found = [_best_of(shapes, mean[:, k : k + CELLS], number[:, k : k + CELLS]) for k in range(0, mean.shape[1], CELLS)]
    index, heights, explained = zip(*found, strict=True)
    return np.concatenate(index), np.concatenate(heights, axis=1), np.concatenate(explained)


def _best_of(shapes: np.ndarray, mean: np.ndarray, number: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    weight = np.sqrt(np.maximum(number.mean(axis=1), 1e-9))[:, None]
    known = np.nan_to_num(mean) * weight
    design = shapes * weight
    heights = np.linalg.pinv(design) @ known  # (shape, height, cell)
    left = (known**2).sum(axis=0) - (heights * (design.swapaxes(1, 2) @ known)).sum(axis=1)
    falls = (heights[:, 1:-1] >= heights[:, 2:] - 1e-9).all(axis=1) & (heights[:, 1:] >= -1e-9).all(axis=1)
    index = np.where(falls, left, np.inf).argmin(axis=0)
    cell = np.arange(mean.shape[1])
    flat = known - weight * ((weight * known).sum(axis=0) / (weight**2).sum())
    total = (flat**2).sum(axis=0)
    fits = falls[index, cell] & (total > 0)
    explained = np.where(fits, 1 - left[index, cell] / np.where(total > 0, total, 1), np.nan)
    return index, np.where(fits, heights[index, :, cell].T, np.nan), explained
