"""What microscopes see beside activity: cells scattered over a field, neuropil, vessels, specks of neurites."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from neurodyn.simulate.signals import smooth_field


def scatter(count: int, shape: tuple[int, int], apart: float, margin: float, rng: np.random.Generator) -> np.ndarray:
    """Draw centres at least `apart` pixels from each other where there is room, shape (cell, 2).

    Parameters
    ----------
    margin
        Least distance to the frame's edge, pixels.
    """
    low, high = np.full(2, margin), np.array(shape) - 1 - margin
    centres = rng.uniform(low, high, (1, 2))
    while len(centres) < count:
        candidates = rng.uniform(low, high, (64, 2))
        nearest = np.linalg.norm(candidates[:, None] - centres, axis=2).min(axis=1)
        free = np.flatnonzero(nearest >= apart)
        # the first that is far enough leaves gaps and clusters, as tissue has; a crowded field takes the best there is
        chosen = free[0] if free.size else int(nearest.argmax())
        centres = np.vstack([centres, candidates[chosen]])
    return centres


def distance(shape: tuple[int, int], centre: np.ndarray, squeeze: float = 1.0, angle: float = 0.0) -> np.ndarray:
    """Return each pixel's distance from a centre, pixels, shape (y, x), longer across an ellipse's axis.

    Parameters
    ----------
    squeeze
        Ratio of the axes; the area within a distance stays that of a disc.
    angle
        Of the long axis, radians.
    """
    y, x = np.arange(shape[0])[:, None] - centre[0], np.arange(shape[1]) - centre[1]
    along, across = y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)
    return np.sqrt(along**2 / squeeze + across**2 * squeeze)


def soft(values: np.ndarray, width: float = 0.6) -> np.ndarray:
    """Return 1 where values are far above 0 and 0 far below, with an edge of some pixels."""
    return 1 / (1 + np.exp(-np.clip(values / width, -40, 40)))


def neuropil(shape: tuple[int, int], diameter: float, texture: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a map of neuropil, mean about 1, shape (y, x): neurites finer than cells, clumps nearly as large, wide patches.

    Parameters
    ----------
    texture
        Standard deviation of fine and of wide texture, share of the mean; clumps have half of it.
    """
    fine = smooth_field(shape, 0.12 * diameter / max(shape), rng)
    clumps = smooth_field(shape, 0.3 * diameter / max(shape), rng)
    wide = smooth_field(shape, 2 * diameter / max(shape), rng)
    return np.clip(1 + texture * (fine + 0.5 * clumps + wide), 0.2, None)


def vessels(shape: tuple[int, int], count: int, width: float, rng: np.random.Generator) -> np.ndarray:
    """Draw how much light winding vessels let through, 1 beside them, shape (y, x)."""
    through = np.ones(shape)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    for _ in range(count):
        angle, phase = rng.uniform(0, np.pi, 2)
        place, bend = rng.uniform(-0.4, 0.4) * max(shape), rng.uniform(0.02, 0.08) * max(shape)
        along = (y - shape[0] / 2) * np.cos(angle) + (x - shape[1] / 2) * np.sin(angle)
        across = (x - shape[1] / 2) * np.cos(angle) - (y - shape[0] / 2) * np.sin(angle)
        course = place + bend * np.sin(2 * np.pi * along / (0.7 * max(shape)) + phase)
        through *= 1 - 0.7 * soft(width * rng.uniform(0.3, 0.7) - np.abs(across - course), 0.15 * width)
    return through


def specks(shape: tuple[int, int], count: int, diameter: float, rng: np.random.Generator) -> np.ndarray:
    """Draw bright cuts through neurites: dots, and lines of up to two cells' length, shape (y, x)."""
    map_ = np.zeros(shape)
    for centre in rng.uniform(0, np.array(shape) - 1, (count, 2)):
        angle, length = rng.uniform(0, np.pi), diameter * rng.choice([0.0, rng.uniform(0.5, 2)])
        steps = np.linspace(-length / 2, length / 2, max(1, int(2 * length)))
        places = np.rint(centre + steps[:, None] * [np.cos(angle), np.sin(angle)]).astype(int)
        inside = ((places >= 0) & (places < shape)).all(axis=1)
        map_[tuple(places[inside].T)] += rng.lognormal(0, 0.5) * (1 if length == 0 else 0.4)
    sigma = max(0.6, 0.08 * diameter)
    return gaussian_filter(map_, sigma) * 2 * np.pi * sigma**2
