"""Somata in a picture: how large they are, where they lie, and which pixels are theirs.

A soma is brighter than its surround in most directions, whether its nucleus is bright or dark; a neurite is so in few, and
a dark nucleus in none; and its rim is even. The contrast here is what a step across the rim gains in the 40th percentile
of directions, in units of the geometric mean of what steps anywhere in the picture gain and of the spread along the rim.
It is the same at every diameter where there are no somata, so that the diameter at which the strongest contrasts are
largest is that of the somata.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates, maximum_filter
from skimage.draw import polygon2mask

DIRECTIONS = np.linspace(0, 2 * np.pi, 12, endpoint=False)
RIM, SURROUND = 0.43, 0.7  # radii of the two ends of a step, diameters
SMOOTHING = 0.06  # diameters
QUANTILE = 0.4  # of directions; neighbours that touch and neurites may darken or brighten the others
DIAMETERS = 4 * 2 ** (np.arange(15) / 4)  # 4 to 45 pixels
# Chosen on simulated fields (simulate/somata.py, seeds 100 to 115; none of those that the tests score)
CONTRAST = 1.7
LEAST_CONTRAST = 2.4  # of the strongest, below which a picture shows no somata of any size
APART = 0.7  # least distance of two somata's centres, diameters
EDGES = np.linspace(0.3, 0.65, 8)  # radii at which a soma may end, diameters


@dataclass(frozen=True)
class Size:
    """The diameter of somata in pictures.

    Parameters
    ----------
    diameter
        Pixels.
    contrast
        Mean of the strongest contrasts at that diameter, over pictures.
    """

    diameter: float
    contrast: float


def levelled(picture: np.ndarray) -> np.ndarray:
    """Return a picture without its wide gradients, linear near the median and logarithmic in what is bright, shape (y, x).

    Cells differ tenfold in brightness; in the picture itself the few brightest would decide everything.
    """
    whole = np.where(np.isfinite(picture), picture, np.nanmedian(picture))
    flat = whole - gaussian_filter(whole, 60)
    middle = np.median(flat)
    spread = 1.4826 * np.median(np.abs(flat - middle))
    return np.arcsinh((flat - middle) / (spread or 1.0))


def contrasts(level: np.ndarray, diameter: float) -> np.ndarray:
    """Return the contrast of a soma of this diameter at every pixel, 1 being a step like any other, shape (y, x).

    Parameters
    ----------
    level
        Picture as `levelled` gives it, shape (y, x).
    """
    smooth, y, x, _ = _padded(level, diameter)
    rims, steps = np.empty((2, DIRECTIONS.size, *level.shape), dtype=np.float32)
    for rim, step, (dy, dx) in zip(rims, steps, _rays(), strict=True):
        rim[:] = map_coordinates(smooth, [y + RIM * diameter * dy, x + RIM * diameter * dx], order=1)
        step[:] = rim - map_coordinates(smooth, [y + SURROUND * diameter * dy, x + SURROUND * diameter * dx], order=1)
    usual = 1.4826 * float(np.median(np.abs(steps))) or 1.0
    rank = int(QUANTILE * (DIRECTIONS.size - 1))
    gained = np.partition(steps, rank, axis=0)[rank]
    # a clump of neurites passes for a soma but for its uneven rim; the floor keeps flat pictures from dividing by 0
    uneven = np.maximum(rims.std(axis=0), 0.05 * usual)
    return gained / np.sqrt(usual * uneven)


def _rays() -> Iterator[tuple[float, float]]:
    return zip(np.sin(DIRECTIONS), np.cos(DIRECTIONS), strict=True)


def _padded(level: np.ndarray, diameter: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Return the smoothed picture with a margin that goes on as its edge is, and every pixel's place in that."""
    pad = int(np.ceil(diameter)) + 2
    smooth = np.pad(gaussian_filter(level, max(0.5, SMOOTHING * diameter)), pad, mode="edge")
    y, x = np.mgrid[pad : pad + level.shape[0], pad : pad + level.shape[1]].astype(float)
    return smooth.astype(np.float32), y, x, pad


def peaks(contrast: np.ndarray, diameter: float, least: float) -> np.ndarray:
    """Return the places of maxima above `least`, strongest first, (y, x), shape (soma, 2)."""
    reach = APART * diameter
    y, x = np.mgrid[-int(reach) : int(reach) + 1, -int(reach) : int(reach) + 1]
    highest = maximum_filter(contrast, footprint=y**2 + x**2 <= reach**2)
    found = np.argwhere((contrast == highest) & (contrast > least))
    return found[np.argsort(-contrast[tuple(found.T)], kind="stable")]


def estimate_diameter(pictures: Sequence[np.ndarray]) -> Size | None:
    """Return the diameter at which somata stand out most in pictures of one field; None where none stand out.

    Parameters
    ----------
    pictures
        Such as the mean and the largest rise of a movie, each shape (y, x).
    """
    levels = [levelled(picture) for picture in pictures]
    sizes = DIAMETERS[min(levels[0].shape) / 4 >= DIAMETERS]
    if sizes.size < 3:
        return None
    courses = np.array([[_strongest(level, size) for size in sizes] for level in levels])
    telling = courses[
        courses.max(axis=1) >= LEAST_CONTRAST
    ]  # dim cells show in the rise alone, silent ones in the mean
    if not telling.size:
        return None
    strongest = telling.mean(axis=0)
    best = int(strongest.argmax())
    return Size(float(_vertex(sizes, strongest, best)), float(strongest[best]))


def _strongest(level: np.ndarray, diameter: float) -> float:
    """Return the mean contrast of the strongest maxima: of a tenth as many as such somata would tile the picture."""
    contrast = contrasts(level, diameter)
    places = peaks(contrast, diameter, 0.0)
    count = max(3, int(0.1 * level.size / diameter**2))
    return float(contrast[tuple(places[:count].T)].sum() / count)


def _vertex(sizes: np.ndarray, values: np.ndarray, best: int) -> float:
    """Return the size at the vertex of the parabola through the largest value and its neighbours."""
    if not 0 < best < sizes.size - 1:
        return sizes[best]
    before, top, after = values[best - 1 : best + 2]
    return sizes[best] * (sizes[1] / sizes[0]) ** (0.5 * (before - after) / (before - 2 * top + after))


def find_somata(picture: np.ndarray, diameter: float, least: float = CONTRAST) -> list[np.ndarray]:
    """Return the pixels of every soma of about this diameter, strongest contrast first, each (y, x), shape (pixel, 2).

    A soma ends, in every direction, where the picture falls most; pixels belong to the nearest centre.

    Parameters
    ----------
    picture
        Mean of a movie, shape (y, x).
    diameter
        Pixels.
    least
        Contrast that a soma must have.
    """
    level = levelled(picture)
    centres = peaks(contrasts(level, diameter), diameter, least)
    smooth, _, _, pad = _padded(level, diameter)
    masks = [_inside(smooth, centre + pad, diameter)[pad:-pad, pad:-pad] for centre in centres]
    return [np.argwhere(mask & _nearest(centres, soma, level.shape)) for soma, mask in enumerate(masks)]


def _inside(smooth: np.ndarray, centre: np.ndarray, diameter: float) -> np.ndarray:
    """Return the pixels within the steepest falls around a centre, shape of the picture."""
    radii = diameter * np.append(EDGES, EDGES[-1] + 0.1)
    places = centre + radii[:, None, None] * np.stack([np.sin(DIRECTIONS), np.cos(DIRECTIONS)], axis=-1)
    along = map_coordinates(smooth, places.transpose(2, 0, 1), order=1)  # (radius, direction)
    edge = EDGES[(along[:-1] - along[1:]).argmax(axis=0)] * diameter
    # the fall may be a neighbour's in one direction: an outline does not jump
    edge = np.median([np.roll(edge, turn) for turn in (-1, 0, 1)], axis=0)
    return polygon2mask(smooth.shape, centre + edge[:, None] * np.stack([np.sin(DIRECTIONS), np.cos(DIRECTIONS)], 1))


def _nearest(centres: np.ndarray, soma: int, shape: tuple[int, ...]) -> np.ndarray:
    y, x = np.ogrid[: shape[0], : shape[1]]
    near = centres[np.linalg.norm(centres - centres[soma], axis=1) < 100]
    own = (y - centres[soma, 0]) ** 2 + (x - centres[soma, 1]) ** 2
    return np.all([own <= (y - cy) ** 2 + (x - cx) ** 2 for cy, cx in near], axis=0)
