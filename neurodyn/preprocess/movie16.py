"""A movie in the 16-bit integers that suite2p works on, and the scale that leads back to its counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from neurodyn.core.errors import DataError
from neurodyn.core.log import LOGGER
from neurodyn.preprocess.scan import Scan, Scanner

INT16_TOP = 2**15 - 2  # suite2p clips there
SCALED_TOP = 30000
READ_BYTES = 64 * 2**20


def _range(movie: xr.DataArray) -> tuple[float, float, Scan]:
    """Return the smallest and largest count and what one look found, read in chunks; refuse NaN."""
    low, high = np.inf, -np.inf
    scanner = Scanner(movie.shape, movie.dtype, np.ones(movie.shape[1:], dtype=bool))
    for frames in _chunks(movie):
        values = movie.variable[frames].values
        if not np.isfinite(values).all():
            bad = frames.start + int(np.argmax(~np.isfinite(values).reshape(len(values), -1).all(axis=1)))
            raise DataError(
                f"'{movie.name}' is not finite.",
                f"The first NaN or infinity is in frame {bad}; suite2p would turn it into a number silently.",
                "Mend or drop the frame.",
            )
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        scanner.add(frames.start, values)
    return low, high, scanner.done()


def _chunks(movie: xr.DataArray) -> list[slice]:
    return stretches(movie.shape, movie.dtype.itemsize)


def stretches(shape: tuple[int, ...], itemsize: int = 2) -> list[slice]:
    """Return slices of frames that take a fixed number of bytes at `itemsize` bytes per pixel."""
    step = max(1, READ_BYTES // max(1, itemsize * shape[1] * shape[2]))
    return [slice(start, min(start + step, shape[0])) for start in range(0, shape[0], step)]


def scaling(movie: xr.DataArray) -> tuple[float, float, Scan]:
    """Return gain and offset so that count = gain * int16 + offset, (1, 0) where the counts fit, and what was seen.

    suite2p alone would halve uint16, cut fractions off, and let large counts wrap.
    """
    low, high, seen = _range(movie)
    if low == high:
        raise DataError(
            f"'{movie.name}' is constant.",
            f"Every pixel of every frame is {low:g}.",
            "Check the file, and the channel that was read: --channels",
        )
    if movie.dtype.kind in "iub" and low >= -(2**15) and high <= INT16_TOP:
        return 1.0, 0.0, seen
    gain = (high - low) / SCALED_TOP
    LOGGER.info("The movie is scaled to 16 bits for suite2p, in steps of %.3g %s.", gain, movie.attrs["units"])
    return gain, low, seen


def fill(binary: Any, movie: xr.DataArray, gain: float, offset: float) -> None:
    """Write a movie into suite2p's file, count = gain * int16 + offset."""
    for chunk in _chunks(movie):
        binary[chunk] = np.rint((movie.variable[chunk].values - offset) / gain).astype(np.int16)


def mean_frame(binary: Any) -> np.ndarray:
    """Return the mean frame of suite2p's file, shape (y, x)."""
    total = sum(binary[chunk].sum(axis=0, dtype=np.float64) for chunk in stretches(binary.shape))
    return np.asarray(total) / binary.shape[0]
