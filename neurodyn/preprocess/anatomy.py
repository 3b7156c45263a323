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
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import KDTree
from skimage.draw import polygon
from skimage.feature import peak_local_max
from skimage.transform import downscale_local_mean

DIRECTIONS = np.linspace(0, 2 * np.pi, 12, endpoint=False)
RIM, SURROUND = 0.43, 0.7  # radii of the two ends of a step, diameters
SMOOTHING = 0.06  # diameters
FINE = 10.0  # pixels a soma may be wide before a coarser picture is enough to tell its size
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
    apart = max(1, int(APART * diameter))
    return peak_local_max(contrast, min_distance=apart, threshold_abs=least, exclude_border=False)


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
    coarser = int(
        max(1, diameter // FINE)
    )  # a large soma shows in coarse pixels, too, and costs no more than a small one
    coarse = downscale_local_mean(level, (coarser, coarser))
    contrast = contrasts(coarse, diameter / coarser)
    places = peaks(contrast, diameter / coarser, 0.0)
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
    nearest = KDTree(centres) if len(centres) else None
    somata = []
    for soma, centre in enumerate(centres):
        pixels = np.stack(polygon(*_outline(smooth, centre + pad, diameter).T, shape=smooth.shape), axis=1) - pad
        pixels = pixels[((pixels >= 0) & (pixels < level.shape)).all(axis=1)]
        somata.append(pixels[nearest.query(pixels)[1] == soma] if nearest else pixels)
    return [pixels for pixels in somata if len(pixels)]


def _outline(smooth: np.ndarray, centre: np.ndarray, diameter: float) -> np.ndarray:
    """Return the steepest falls around a centre, one in every direction, (y, x), shape (direction, 2)."""
    radii = diameter * np.append(EDGES, EDGES[-1] + 0.1)
    outwards = np.stack([np.sin(DIRECTIONS), np.cos(DIRECTIONS)], axis=1)
    along = map_coordinates(smooth, (centre + radii[:, None, None] * outwards).transpose(2, 0, 1), order=1)
    edge = EDGES[(along[:-1] - along[1:]).argmax(axis=0)] * diameter  # (direction,)
    # the fall may be a neighbour's in one direction: an outline does not jump
    edge = np.median([np.roll(edge, turn) for turn in (-1, 0, 1)], axis=0)
    return centre + edge[:, None] * outwards
