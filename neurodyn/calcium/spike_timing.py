"""Deconvolved events beside what the spike network expects, both dated by how late events are after spikes."""

from __future__ import annotations

import math

import numpy as np

from neurodyn.calcium.spike_inputs import Scaled

LEAST_SHARE = 1 / 6  # of the share: slow, smooth traces have broad events
SIMILAR = (0.8, 0.95)
"""Similarity of a trace with itself .3 s later at which the share begins to fall, and at which it is least."""
TRUST = 0.9
"""How much of the difference between a cell's delay by its kinetics and by the network is taken off."""
EARLIEST, LATEST = -0.05, 0.15
"""Least and greatest delay of events after spikes, s; recordings were dated from -.02 to .11."""
SHARP = 0.015  # s, standard deviation of the Gaussian over events


def beside_events(
    cell: Scaled, network: list[np.ndarray], share: float, delay: tuple[float, float]
) -> list[np.ndarray]:
    """Return what the network expects, dated by the cell's own kinetics, a share of it replaced by deconvolved events.

    Both vary alike once they are smoothed; the number of spikes stays what the network says.

    Parameters
    ----------
    network
        Expected spikes per second of each stretch, shape (time,).
    share
        Of events, where the trace falls off fast.
    delay
        As in `SpikeNetwork`.
    """
    rate, mean = cell.rate_hz, [each.mean(axis=0) for each in cell.events]
    dated = expected_delay(cell, delay)
    found = lag(mean, network, rate)
    used = dated if found is None else found + TRUST * (dated - found)
    ours = [_earlier(each, used - (dated if found is None else found), rate) for each in network]
    theirs = [_smoothed(_earlier(each, used, rate), SHARP * rate) for each in mean]
    return _joined(ours, theirs, share * float(np.interp(cell.similar[0], SIMILAR, (1, LEAST_SHARE))), rate)


def expected_delay(cell: Scaled, delay: tuple[float, float]) -> float:
    """Return how late a cell's events are after its spikes, s, by how slowly its trace changes."""
    return delay[0] * float(cell.similar.mean()) + delay[1]


def lag(events: list[np.ndarray], course: list[np.ndarray], rate_hz: float) -> float | None:
    """Return how much later events are than another course, s: where their covariance is greatest.

    None where every stretch is too short to tell.

    Parameters
    ----------
    events, course
        Stretches, each shape (time,).
    """
    lags = np.arange(math.floor(EARLIEST * rate_hz) - 1, math.ceil(LATEST * rate_hz) + 2)
    pairs = [(a - a.mean(), b - b.mean()) for a, b in zip(events, course, strict=True) if a.size > 4 * lags.size]
    if not pairs:
        return None
    total = np.array([sum(_product(a, b, int(shift)) for a, b in pairs) for shift in lags])
    top = 1 + int(total[1:-1].argmax())
    bend = total[top - 1] - 2 * total[top] + total[top + 1]
    between = 0.5 * (total[top - 1] - total[top + 1]) / bend if bend < 0 else 0.0
    return float(np.clip((lags[top] + between) / rate_hz, EARLIEST, LATEST))


def _product(late: np.ndarray, early: np.ndarray, shift: int) -> float:
    size = late.size
    return float(late[max(0, shift) : size + min(0, shift)] @ early[max(0, -shift) : size - max(0, shift)])


def _earlier(course: np.ndarray, seconds: float, rate_hz: float) -> np.ndarray:
    """Return a course moved earlier, linear between frames; the ends are held."""
    frames = np.arange(course.size)
    return np.interp(frames + seconds * rate_hz, frames, course).astype(np.float32)


def _joined(ours: list[np.ndarray], theirs: list[np.ndarray], share: float, rate_hz: float) -> list[np.ndarray]:
    wide = [np.concatenate([_smoothed(each, 0.2 * rate_hz) for each in both]).std() for both in (ours, theirs)]
    total = sum(float(each.sum()) for each in ours)
    if not min(wide) or not total:
        return ours
    both = [(1 - share) * a / wide[0] + share * b / wide[1] for a, b in zip(ours, theirs, strict=True)]
    scale = total / sum(float(each.sum()) for each in both)
    return [np.float32(scale) * each for each in both]


def _smoothed(course: np.ndarray, frames: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(course.astype(np.float32), frames)
