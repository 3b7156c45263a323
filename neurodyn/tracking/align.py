"""Alignment of two fields: turned and shifted as a whole, then stretched a little, and a test of whether they are one field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import fft, ndimage, optimize
from scipy.signal.windows import tukey
from skimage.transform import downscale_local_mean

from neurodyn.core.errors import DataError
from neurodyn.tracking.field import Field, entries_of, footprints

ANGLES = np.arange(-10.0, 10.1, 1.0)
FARTHEST = 0.3
STRETCH = 0.06
CELL_PIXELS = 4.0
MARGIN = 1.5


@dataclass(frozen=True)
class Alignment:
    """Where the points of a reference field lie in another: place = matrix · point + offset.

    Parameters
    ----------
    matrix
        Shape (2, 2).
    offset
        (y, x) in pixels, shape (2,).
    likeness
        Correlation of the pictures at the best turn and shift.
    mirrored
        The same for mirror images of the other field, the highest: what a field of nothing in common reaches.
    by
        Which pictures: "mean images" or "masks".
    """

    matrix: np.ndarray
    offset: np.ndarray
    likeness: float = 1.0
    mirrored: float = 0.0
    by: str = ""

    @property
    def believed(self) -> bool:
        """Whether the two are the same field."""
        return self.likeness > MARGIN * self.mirrored

    @property
    def angle(self) -> float:
        """Rotation, degrees counter-clockwise as displayed with y downwards."""
        return float(np.rad2deg(np.arctan2(self.matrix[1, 0] - self.matrix[0, 1], np.trace(self.matrix))))

    def shift(self, shape: tuple[int, int]) -> np.ndarray:
        """Return how far the middle of the reference lies from its own place, (y, x) in pixels."""
        middle = (np.array(shape) - 1) / 2
        return self.matrix @ middle + self.offset - middle

    def back(self, places: np.ndarray) -> np.ndarray:
        """Return where places of the other field, shape (place, 2), lie in the reference."""
        return (places - self.offset) @ np.linalg.inv(self.matrix).T


def same_place() -> Alignment:
    """Return the alignment of a field with itself."""
    return Alignment(np.eye(2), np.zeros(2))


def align(reference: Field, moving: Field) -> Alignment:
    """Align a field with a reference, by mean images or masks, whichever tell the field better from its mirror images.

    The turn (within 10 degrees) and shift are the peak of the cross-correlation of the pictures, made even in brightness
    and contrast, at low resolution; an affine map then minimises the difference of the pictures (least squares, from
    there on). Mirror images of a field have its cells' size, number and brightness, but not its arrangement: their best
    correlation is what chance gives.
    """
    found = [_coarse(name, *pair) for name, pair in _pictures(reference, moving)]
    best = max(found, key=lambda each: each[0].likeness - each[0].mirrored)
    return _fine(*best)


def check_same_field(reference: Field, moving: Field, alignment: Alignment) -> None:
    """Refuse a field that is not the reference's.

    Raises
    ------
    DataError
        If it resembles the reference hardly more than its mirror images do.
    """
    if not alignment.believed:
        raise DataError(
            f"'{moving.session}' does not show the field of '{reference.session}'.",
            f"Their {alignment.by} correlate by {alignment.likeness:.2f}, mirror images by {alignment.mirrored:.2f}; "
            f"{MARGIN:g} times as much is expected of the same field.",
            "Leave it out; or, where you know the cells, give them ids in a column 'cell': neurodyn match --by ids",
        )


def moved(field: Field, alignment: Alignment) -> Field:
    """Return a field in the reference's plane; each pixel of a cell is shared among the four it comes to lie between."""
    owner, places, weights = entries_of(field.footprints, field.shape[1])
    places = alignment.back(places)
    low = np.floor(places).astype(int)
    part = places - low
    corners = [(down, right) for down in (0, 1) for right in (0, 1)]
    share = [np.abs(1 - down - part[:, 0]) * np.abs(1 - right - part[:, 1]) for down, right in corners]
    everywhere = np.concatenate([low + corner for corner in corners])
    weight = np.concatenate([weights * each for each in share])
    prints = footprints(np.tile(owner, len(corners)), everywhere, weight, field.shape, len(field.centres))
    mean = None if field.mean is None else _warped(field.mean, alignment)
    return replace(field, footprints=prints, centres=alignment.back(field.centres), mean=mean)


def _warped(picture: np.ndarray, alignment: Alignment) -> np.ndarray:
    return _resampled(picture, alignment.matrix, alignment.offset, outside=np.nan)


def _resampled(picture: np.ndarray, matrix: np.ndarray, offset: Any, outside: float = 0.0) -> np.ndarray:
    return ndimage.affine_transform(picture, matrix, offset, order=1, cval=outside)


def _pictures(reference: Field, moving: Field) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray, int]]]:
    """Yield the pictures to align by, even in brightness and contrast, and the pixels averaged into one of theirs."""
    step = max(1, int(min(reference.diameter, moving.diameter) // CELL_PIXELS))
    size = max(reference.diameter, moving.diameter) / step
    if reference.mean is not None and moving.mean is not None:
        yield "mean images", (_even(reference.mean, step, size), _even(moving.mean, step, size), step)
    yield "masks", (_even(reference.picture, step, size), _even(moving.picture, step, size), step)


def _even(picture: np.ndarray, step: int, size: float) -> np.ndarray:
    """Return a picture at low resolution, less its surround, in units of its own contrast, 0 where nothing is known."""
    filled = np.where(np.isfinite(picture), picture, np.nanmedian(picture))
    small = ndimage.gaussian_filter(downscale_local_mean(filled, (step, step)), size / 8)
    detail = small - ndimage.gaussian_filter(small, 1.5 * size)
    contrast = np.sqrt(ndimage.gaussian_filter(detail**2, 4 * size))
    return np.clip(detail / (contrast + 1e-3 * contrast.max() + np.finfo(float).tiny), -4, 4)


def _coarse(
    name: str, reference: np.ndarray, moving: np.ndarray, step: int
) -> tuple[Alignment, np.ndarray, np.ndarray, int]:
    window = np.outer(*(tukey(size, 0.3) for size in reference.shape))
    spectrum = _spectrum(reference * window)
    angle, shift, likeness = _turned(spectrum, moving, window)
    mirrored = max(_turned(spectrum, other, window)[2] for other in _mirror_images(moving))
    turn = _rotation(angle)
    middle = (np.array(reference.shape) - 1) / 2
    found = Alignment(turn, middle - turn @ (shift + middle), likeness, mirrored, name)
    return found, reference, moving, step


def _mirror_images(picture: np.ndarray) -> list[np.ndarray]:
    """Return a picture mirrored and turned in every way that keeps its shape, itself left out."""
    kept = [picture[::-1], picture[:, ::-1], picture[::-1, ::-1]]
    side = min(picture.shape)
    if max(picture.shape) > 1.2 * side:
        return kept
    padded = np.zeros(picture.shape)
    padded[:side, :side] = picture[:side, :side].T
    return [*kept, padded, padded[::-1], padded[:, ::-1], padded[::-1, ::-1]]


def _turned(spectrum: np.ndarray, moving: np.ndarray, window: np.ndarray) -> tuple[float, np.ndarray, float]:
    """Return angle, shift and correlation of the best turn and shift of a picture onto a reference."""
    found = []
    middle = (np.array(moving.shape) - 1) / 2
    for angle in ANGLES:
        turn = _rotation(angle)
        picture = _resampled(moving, turn, middle - turn @ middle) * window
        found.append((angle, *_peak(spectrum, _spectrum(picture), moving.shape)))
    return max(found, key=lambda each: each[2])


def _spectrum(picture: np.ndarray) -> np.ndarray:
    """Return the Fourier transform of a picture of norm 1, with room around it so that a shift does not wrap."""
    picture = picture - picture.mean()
    norm = max(float(np.linalg.norm(picture)), np.finfo(float).tiny)
    return np.asarray(fft.rfft2(picture / norm, [fft.next_fast_len(2 * size) for size in picture.shape]))


def _peak(reference: np.ndarray, moving: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, float]:
    size = [fft.next_fast_len(2 * length) for length in shape]
    limit = [int(FARTHEST * length) for length in shape]
    surface = fft.irfft2(reference * moving.conj(), size)
    near = np.asarray(surface).take(np.arange(-limit[0], limit[0] + 1), 0, mode="wrap")
    near = near.take(np.arange(-limit[1], limit[1] + 1), 1, mode="wrap")
    place = np.unravel_index(int(near.argmax()), near.shape)
    return np.array(place, dtype=float) - limit, float(near[place])


def _rotation(degrees: float) -> np.ndarray:
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[cosine, sine], [-sine, cosine]])


def _fine(start: Alignment, reference: np.ndarray, moving: np.ndarray, step: int) -> Alignment:
    """Refine by least squares and return the alignment in pixels of the plane; stretches stay below 6 %."""
    middle = (np.array(reference.shape) - 1) / 2
    edge = max(reference.shape) / 2
    window = np.outer(*(tukey(size, 0.3) for size in reference.shape)).ravel()
    blur = [ndimage.gaussian_filter(each, 1.0) for each in (reference, moving)]

    def mapped(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        matrix = start.matrix + values[:4].reshape(2, 2) / edge  # so that all six are in pixels
        return matrix, start.matrix @ middle + start.offset + values[4:] - matrix @ middle

    def difference(values: np.ndarray) -> np.ndarray:
        warped = _resampled(blur[1], *mapped(values))
        return (blur[0] - warped).ravel() * window

    limit = np.array([STRETCH * edge] * 4 + [3.0] * 2)
    fitted = optimize.least_squares(difference, np.zeros(6), bounds=(-limit, limit), diff_step=0.02, x_scale=1.0)
    matrix, offset = mapped(fitted.x)
    # Pixel k of the small picture has its middle at step · k + (step - 1) / 2 of the plane.
    between = (step - 1) / 2
    return replace(start, matrix=matrix, offset=step * offset + between - matrix @ np.full(2, between))
