"""Cells of a one-photon movie: footprints and traces told apart from the light around and behind them.

The movie is Y = A C + B + noise: footprints A, nonnegative and local to a seed, traces C, and a background B that at every
pixel is the mean of what is no cell on the ring around it. Seeds are maxima of the peak-to-noise ratio where pixels
correlate with their neighbours (Zhou et al., eLife 7, e28728, 2018, of which this is a small form; Dong et al., eLife 11,
e70661, 2022, for the order of the steps).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.ndimage import gaussian_filter, uniform_filter, uniform_filter1d
from scipy.stats import skew
from skimage.measure import label

from neurodyn.preprocess.anatomy import peaks
from neurodyn.preprocess.detected import SIZES

CITATION = (
    "Zhou et al., Efficient and accurate extraction of in vivo calcium signals from microendoscopic video data, eLife 7, "
    "e28728 (2018)"
)
RING = 1.5, 2.5  # widths of the squares between which the background is taken, diameters
# Chosen on simulated movies (simulate/miniscope.py, seeds 100 to 107; none of those that the tests score)
PEAK_TO_NOISE = 13.0
CORRELATION = 0.7
APART = 0.4  # least distance of two seeds, diameters
ALIKE = 0.85  # correlation of traces from which footprints that overlap are one cell's
SKEWNESS = 0.4  # of a trace, least: transients are rare and rise
EDGE = 0.3  # share of a footprint's peak at which it ends
ROUNDS = 4
GLOW = 31  # bins of about the indicator's decay, over which the background's glow changes little


@dataclass(frozen=True)
class Footprints:
    """Cells of a one-photon movie.

    Parameters
    ----------
    weights
        Footprints, peak 1, shape (pixel, cell), pixels as (y, x) raveled.
    shape
        Height and width, pixels.
    """

    weights: Any  # a sparse matrix, whose stubs know no shape
    shape: tuple[int, int]

    def pixels(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield each cell's pixels (y, x), shape (pixel, 2), and their weights."""
        for cell in range(self.weights.shape[1]):
            column = self.weights[:, [cell]].tocoo()
            yield np.stack(np.unravel_index(column.row, self.shape), axis=1), column.data


def find_footprints(movie: np.ndarray, diameter: float) -> Footprints:
    """Find the cells of a movie.

    Parameters
    ----------
    movie
        Registered and binned to about the indicator's decay, counts, shape (time, y, x).
    diameter
        Of a cell, pixels.
    """
    varying = changes(movie)
    frames, shape = len(movie), (movie.shape[1], movie.shape[2])
    seeds = _seeds(centre_surround(varying, diameter), diameter)
    if not len(seeds):
        return Footprints(sparse.csc_matrix((shape[0] * shape[1], 0), dtype=np.float32), shape)
    near = [_window(seed, diameter, shape) for seed in seeds]
    rest = (varying - background(varying, diameter)).reshape(frames, -1)
    traces = np.stack([rest[:, _window(seed, diameter / 2, shape)].mean(axis=1) for seed in seeds], axis=1)
    weights = sparse.csc_matrix((rest.shape[1], 0), dtype=np.float32)
    for _ in range(ROUNDS):
        weights, kept = _spatial(rest, traces, near, shape, diameter)
        near, traces = [near[cell] for cell in kept], _temporal(rest, weights)
        weights, near, traces = _merged(weights, near, traces)
        cells = (weights @ traces.T).T.reshape(varying.shape)
        rest = (varying - background(varying - cells, diameter)).reshape(frames, -1)
    # frames that were moved a pixel too far leave traces at the edges of vessels, which fall as often as they rise
    rising = np.flatnonzero(skew(traces, axis=0) >= SKEWNESS) if traces.shape[1] else []
    return Footprints(sparse.csc_matrix(weights[:, rising]), shape)


def changes(movie: np.ndarray) -> np.ndarray:
    """Return a binned movie less its running mean: without what is still, and what glows slowly, shape (time, y, x)."""
    return movie - uniform_filter1d(movie, GLOW, axis=0, mode="nearest")


def centre_surround(varying: np.ndarray, diameter: float) -> np.ndarray:
    """Return frames smoothed to a cell's core, less their wider surround, shape (time, y, x)."""
    core, around = diameter / 5, int(2 * diameter)
    return np.stack([gaussian_filter(frame, core) - uniform_filter(frame, around) for frame in varying])


def background(rest: np.ndarray, diameter: float) -> np.ndarray:
    """Return each pixel's mean over the ring around it, frame by frame, shape (time, y, x)."""
    small, large = (2 * int(width * diameter / 2) + 1 for width in RING)
    return np.stack(
        [
            (uniform_filter(frame, large) * large**2 - uniform_filter(frame, small) * small**2) / (large**2 - small**2)
            for frame in rest
        ]
    )


def noise_of(values: np.ndarray) -> np.ndarray:
    """Return the standard deviation of noise by the differences of neighbours in time, shape of a frame."""
    return 1.4826 * np.median(np.abs(np.diff(values, axis=0)), axis=0) / np.sqrt(2)


def _seeds(filtered: np.ndarray, diameter: float) -> np.ndarray:
    """Return where a cell's core rises out of noise together with its neighbours, (y, x), shape (seed, 2)."""
    noise = np.maximum(noise_of(filtered), np.finfo(np.float32).tiny)
    ratio = (filtered.max(axis=0) - np.median(filtered, axis=0)) / noise
    ratio[_neighbours(np.where(filtered > 3 * noise, filtered, 0)) < CORRELATION] = 0
    return peaks(ratio, diameter * APART / 0.7, PEAK_TO_NOISE)


def _neighbours(values: np.ndarray) -> np.ndarray:
    """Return the mean correlation of every pixel's course with those of the four beside it, shape (y, x)."""
    centred = values - values.mean(axis=0)
    scaled = centred / np.maximum(np.sqrt((centred**2).sum(axis=0)), np.finfo(np.float32).tiny)
    total, count = np.zeros(values.shape[1:]), np.zeros(values.shape[1:])
    for axis in (1, 2):
        ahead, behind = np.moveaxis(scaled, axis, 0)[1:], np.moveaxis(scaled, axis, 0)[:-1]
        along = (ahead * behind).sum(axis=1)  # (n - 1, other axis)
        for sums, part in ((total, along), (count, np.ones_like(along))):
            view = np.moveaxis(sums, axis - 1, 0)
            view[1:] += part
            view[:-1] += part
    return total / count


def _window(seed: np.ndarray, reach: float, shape: tuple[int, ...]) -> np.ndarray:
    """Return the raveled pixels within a distance of a seed."""
    y, x = (np.arange(max(0, int(c - reach)), min(n, int(c + reach) + 1)) for c, n in zip(seed, shape, strict=True))
    rows, columns = np.meshgrid(y, x, indexing="ij")
    inside = (rows - seed[0]) ** 2 + (columns - seed[1]) ** 2 <= reach**2
    return rows[inside] * shape[1] + columns[inside]


def _spatial(
    rest: np.ndarray, traces: np.ndarray, near: list[np.ndarray], shape: tuple[int, ...], diameter: float
) -> tuple[sparse.csc_matrix, list[int]]:
    """Fit nonnegative footprints to given traces by coordinate descent; return those of a cell's size, and which they are."""
    centred = traces - traces.mean(axis=0)
    power, cross = centred.T @ centred, rest.T @ centred  # (cell, cell), (pixel, cell)
    allowed = np.zeros(cross.shape, dtype=bool)
    for cell, window in enumerate(near):
        allowed[window, cell] = True
    values = np.zeros_like(cross)
    for _ in range(10):
        for cell in range(len(near)):
            here = near[cell]
            step = (cross[here, cell] - values[here] @ power[:, cell]) / max(power[cell, cell], 1e-12)
            values[here, cell] = np.maximum(0, values[here, cell] + step)
    disc, columns, kept = np.pi * diameter**2 / 4, [], []
    for cell in range(len(near)):
        column = _one_piece(values[:, cell].reshape(shape)).ravel()
        if SIZES[0] * disc <= (column > 0).sum() <= SIZES[1] * disc:
            columns.append(sparse.csc_matrix((column / column.max())[:, None].astype(np.float32)))
            kept.append(cell)
    empty = sparse.csc_matrix((values.shape[0], 0), dtype=np.float32)
    return (sparse.csc_matrix(sparse.hstack(columns)) if columns else empty), kept


def _one_piece(footprint: np.ndarray) -> np.ndarray:
    """Return a footprint without its faint edge, and without what does not hang together with its peak."""
    smooth = gaussian_filter(footprint, 0.7)
    pieces = np.asarray(label(smooth > EDGE * smooth.max()))
    return (
        np.where(pieces == pieces[np.unravel_index(smooth.argmax(), smooth.shape)], smooth, 0)
        if smooth.max() > 0
        else smooth
    )


def _temporal(rest: np.ndarray, weights: sparse.csc_matrix) -> np.ndarray:
    """Return the traces that explain a movie best by least squares, shape (time, cell)."""
    together = (weights.T @ weights).toarray()
    together[np.diag_indices_from(together)] *= 1 + 1e-3  # two footprints of one place must not fight each other
    return np.linalg.solve(together, weights.T @ rest.T).T


def _merged(
    weights: Any, near: list[np.ndarray], traces: np.ndarray
) -> tuple[sparse.csc_matrix, list[np.ndarray], np.ndarray]:
    """Drop the weaker of two footprints that overlap and whose traces are alike."""
    if weights.shape[1] < 2:
        return weights, near, traces
    touching = (weights.T @ weights).toarray() > 0
    alike = np.corrcoef(traces.T) > ALIKE
    order = np.argsort(-traces.std(axis=0))
    kept: list[int] = []
    for cell in order:
        if not any(touching[cell, other] and alike[cell, other] for other in kept):
            kept.append(int(cell))
    kept.sort()
    return sparse.csc_matrix(weights[:, kept]), [near[cell] for cell in kept], traces[:, kept]


def read_traces(
    frames: Callable[[slice], np.ndarray], chunks: list[slice], mean: np.ndarray, found: Footprints, diameter: float
) -> np.ndarray:
    """Return each cell's light, counts, shape (cell, time): its rest in the mean image, and its changes without background.

    Parameters
    ----------
    frames
        Gives the frames of a slice, shape (time, y, x).
    mean
        Mean image, shape (y, x).
    """
    total = np.asarray(found.weights.sum(axis=0)).ravel()
    rest = (found.weights.T @ mean.ravel()) / total
    traces = []
    for chunk in chunks:
        varying = frames(chunk).astype(np.float32) - mean
        change = np.zeros((len(varying), found.weights.shape[1]))
        for _ in range(3):  # the background needs the cells taken away, and the cells the background
            cells = (found.weights @ change.T).T.reshape(varying.shape)
            change = _temporal(
                (varying - background(varying - cells, diameter)).reshape(len(varying), -1), found.weights
            )
        traces.append(change)
    return (np.concatenate(traces) + rest).T
