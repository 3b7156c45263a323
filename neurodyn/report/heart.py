"""The heartbeat in a time course: where it is, and how far it stands out."""

from __future__ import annotations

import numpy as np
from scipy.signal import welch

LOWEST, HIGHEST = 4.0, 15.0  # Hz: mice and rats, anaesthetised to running
CLEAR = 3.0
SEGMENT = 4.0  # s
HALF_WIDTH = 0.5  # Hz
NEIGHBOURS = (0.75, 2.0)  # Hz


def heart_rate(course: np.ndarray, rate_hz: float) -> float | None:
    """Return the frequency of the heartbeat, Hz: where power most exceeds that of neighbouring frequencies.

    Parameters
    ----------
    course
        Mean of a channel that blood dims, shape (time,).

    Returns
    -------
    float or None
        None where the frame rate or the length cannot show one, or power nowhere reaches three times its neighbours'.
    """
    top = min(HIGHEST, rate_hz / 2 - HALF_WIDTH)
    if top < LOWEST + NEIGHBOURS[1] or course.size < 4 * SEGMENT * rate_hz:
        return None
    found = np.arange(LOWEST, top, 1 / SEGMENT)
    excess = np.array([power_beside(course, rate_hz, float(one)) for one in found])
    if excess.max() <= CLEAR:
        return None
    frequency, power = _spectrum(course, rate_hz)
    near = np.abs(frequency - found[excess.argmax()]) <= HALF_WIDTH
    return float(frequency[near][power[near].argmax()])


def power_beside(course: np.ndarray, rate_hz: float, at: float) -> float:
    """Return the mean power within 0.5 Hz of a frequency over the median power 0.75 to 2 Hz away; 1 is no peak.

    Parameters
    ----------
    course
        Shape (time,).
    at
        Frequency, Hz.
    """
    peak, level = _levels(course, rate_hz, at)
    return peak / level if level > 0 else float("nan")


def heartbeat_left(before: np.ndarray, after: np.ndarray, rate_hz: float, at: float) -> float | None:
    """Return the share of the heartbeat's power that a correction left; None where neither course shows one.

    Power is that within 0.5 Hz of the heart rate less that of neighbouring frequencies.

    Parameters
    ----------
    before, after
        Mean of the signal and of the corrected signal, shape (time,).
    at
        Heart rate, Hz.
    """
    (had, had_beside), (left, left_beside) = (_levels(course, rate_hz, at) for course in (before, after))
    if had <= CLEAR * had_beside and left <= CLEAR * left_beside:
        return None
    return max(0.0, left - left_beside) / max(had - had_beside, np.finfo(float).tiny)


def _levels(course: np.ndarray, rate_hz: float, at: float) -> tuple[float, float]:
    """Return the mean power at a frequency and the median power beside it."""
    frequency, power = _spectrum(course, rate_hz)
    away = np.abs(frequency - at)
    beside = (away >= NEIGHBOURS[0]) & (away <= NEIGHBOURS[1])
    return float(power[away <= HALF_WIDTH].mean()), float(np.median(power[beside]))


def _spectrum(course: np.ndarray, rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    return welch(course, rate_hz, nperseg=min(course.size, round(SEGMENT * rate_hz)))
