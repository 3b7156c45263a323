"""Angles on a circle: how far apart two of them are, and what a constant guess is worth."""

from __future__ import annotations

import numpy as np


def angular_difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    r"""Return the signed way from one angle to another, the short way round.

    .. math:: \Delta = \arg e^{i (\alpha - \beta)} \in (-\pi, \pi]

    Parameters
    ----------
    first, second
        Angles, radians, any shapes that fit together.

    References
    ----------
    Mardia KV, Jupp PE (2000). Directional Statistics. Wiley, chapter 2.
    """
    return np.angle(np.exp(1j * (first - second)))


def constant_guess(angles: np.ndarray) -> tuple[float, float]:
    r"""Return what the best constant guess scores: its mean cosine and its mean absolute error (radians).

    .. math:: \max_\beta \frac1n \sum_i \cos(\alpha_i - \beta) = \Bigl\lvert \frac1n \sum_i e^{i \alpha_i} \Bigr\rvert

    The error is least at one of the angles themselves; angles spread evenly give 0 and π/2.

    Parameters
    ----------
    angles
        Radians, shape (sample,).

    References
    ----------
    Mardia KV, Jupp PE (2000). Directional Statistics. Wiley, sections 2.2 and 2.3.
    """
    found, count = np.unique(np.round(np.mod(angles, 2 * np.pi), 6), return_counts=True)
    centres = found[np.unique(np.linspace(0, found.size - 1, 720).astype(int))]
    apart = np.abs(angular_difference(found[:, None], centres[None, :]))
    error = (count[:, None] * apart).sum(axis=0) / count.sum()
    return float(np.abs(np.exp(1j * angles).mean())), float(error.min())
