"""How sharply cells are tuned: selectivity on a circle without the bias of noise, and information about a place."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

EVEN = 0.05  # length of the mean vector of angles that are spread evenly


def evenly_spread(radians: np.ndarray, harmonic: int = 1) -> bool:
    """Say whether angles cover the circle evenly, so that an untuned cell has no vector, shape (condition,)."""
    return radians.size > 2 and bool(np.abs(np.exp(1j * harmonic * radians).mean()) < EVEN)


def vector_selectivity(
    mean: np.ndarray, squared_error: np.ndarray, radians: np.ndarray, harmonic: int
) -> tuple[np.ndarray, np.ndarray]:
    r"""Return 1 - circular variance without the bias of noise, and the preferred angle, each shape (cell,).

    .. math:: L = \frac{\sqrt{\max(0, |\sum_k \bar r_k e^{i h \theta_k}|^2 - \sum_k \mathrm{SE}_k^2)}}{\sum_k \bar r_k}

    with h = 1 for directions, h = 2 for orientations. Noise lengthens the vector; what it adds to its square is known, and
    taken off. NaN where the cell's responses are not positive on the whole.

    Parameters
    ----------
    mean, squared_error
        Of the responses to each condition: mean, and squared standard error of it, shape (condition, cell).
    radians
        Angle of each condition, shape (condition,).
    harmonic
        h.

    Returns
    -------
    selectivity
        From 0 to 1.
    preferred
        Radians, from 0 to 2π / h.

    References
    ----------
    Mazurek M, Kager M, Van Hooser SD (2014). Robust quantification of orientation selectivity and direction selectivity.
    Front Neural Circuits 8:92.
    """
    vector = (np.exp(1j * harmonic * radians)[:, None] * mean).sum(axis=0)
    total = mean.sum(axis=0)
    length = np.sqrt(np.maximum(np.abs(vector) ** 2 - np.nan_to_num(squared_error).sum(axis=0), 0))
    ratio = np.divide(length, total, out=np.full(total.shape, np.nan), where=total > 0)
    return np.minimum(ratio, 1), np.mod(np.angle(vector), 2 * np.pi) / harmonic


def peak_selectivity(halves: Iterable[tuple[np.ndarray, np.ndarray]], radians: np.ndarray, harmonic: int) -> np.ndarray:
    r"""Return DSI (harmonic 1) or OSI (harmonic 2), the preferred angle chosen on trials that do not measure it; shape (cell,).

    .. math:: \frac{R_p - R_o}{R_p + R_o}

    where :math:`R_p` is the response to the preferred angle and :math:`R_o` to the one half a turn, of an orientation a quarter
    of a turn, away; of orientations each is the mean of both directions. Noise makes the largest of several responses too
    large; so the angle is chosen on one half of the trials, the responses are those of the other, and both are averaged over
    random halves before they are divided. NaN where the sum is not positive, or no condition lies opposite.

    Parameters
    ----------
    halves
        Means of conditions over a half of the trials, and over the other, shape (condition, cell).
    """
    away = _shifted_places(radians, np.pi / harmonic)
    same = _shifted_places(radians, 2 * np.pi / harmonic)
    if away is None or same is None:
        return np.full(next(iter(halves))[0].shape[1], np.nan)
    over, under = 0.0, 0.0
    for chosen, measured in halves:
        chosen, measured = (np.nan_to_num((part + part[same]) / 2) for part in (chosen, measured))
        best = chosen.argmax(axis=0)[None]
        high, low = (np.take_along_axis(part, best, axis=0)[0] for part in (measured, measured[away]))
        over, under = over + high - low, under + high + low
    over, under = np.asarray(over), np.asarray(under)
    return np.clip(np.divide(over, under, out=np.full(under.shape, np.nan), where=under > 0), -1, 1)


def _shifted_places(radians: np.ndarray, by: float) -> np.ndarray | None:
    """Return the condition that lies so far from each; None where one has none."""
    apart = np.abs(np.angle(np.exp(1j * (radians[:, None] + by - radians[None]))))
    return apart.argmin(axis=1) if (apart.min(axis=1) < 1e-3).all() else None


def spatial_information(rate: np.ndarray, occupancy: np.ndarray) -> np.ndarray:
    r"""Return the information of a place cell, bits per spike (or event), shape (..., cell).

    .. math:: \sum_i p_i \frac{\lambda_i}{\bar\lambda} \log_2 \frac{\lambda_i}{\bar\lambda}

    Parameters
    ----------
    rate
        Mean activity in each place, not negative, shape (..., place, cell).
    occupancy
        Time spent there, any unit, shape (..., place).

    References
    ----------
    Skaggs WE, McNaughton BL, Gothard KM, Markus EJ (1993). An information-theoretic approach to deciphering the hippocampal
    code. NIPS 5:1030-1037.
    """
    share = (occupancy / occupancy.sum(axis=-1, keepdims=True))[..., None]
    rate = np.nan_to_num(rate)
    mean = (share * rate).sum(axis=-2, keepdims=True)
    relative = np.divide(rate, mean, out=np.zeros(rate.shape), where=mean > 0)
    bits = (share * relative * np.log2(np.where(relative > 0, relative, 1))).sum(axis=-2)
    return np.where(mean[..., 0, :] > 0, bits, np.nan)


def half_rise(courses: np.ndarray, time: np.ndarray, stop: float) -> np.ndarray:
    """Return when a mean response has risen, or fallen, half way to its extreme, s from the onset, shape (cell,).

    Parameters
    ----------
    courses
        Less the baseline, shape (sample, cell).
    time
        s from the onset, shape (sample,).
    stop
        Where the extreme is looked for ends, s.
    """
    inside = (time >= 0) & (time <= stop)
    shown, at = np.nan_to_num(courses[inside]), time[inside]
    if not at.size:
        return np.full(courses.shape[1], np.nan)
    extreme = np.take_along_axis(shown, np.abs(shown).argmax(axis=0)[None], axis=0)[0]
    share = np.divide(shown, extreme, out=np.zeros(shown.shape), where=extreme != 0)
    first = (share >= 0.5).argmax(axis=0)
    cell = np.arange(shown.shape[1])
    high, low = share[first, cell], share[np.maximum(first - 1, 0), cell]
    back = np.where(first > 0, (high - 0.5) / np.maximum(high - low, 1e-9), 0)
    step = at[1] - at[0] if at.size > 1 else 0.0
    return np.where(extreme != 0, at[first] - step * back, np.nan)
