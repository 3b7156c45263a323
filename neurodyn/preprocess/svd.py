"""Truncated singular value decomposition of movies, in two passes whatever their length."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import zarr
from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.preprocess.base import Step, Workspace
from neurodyn.preprocess.scan import scan
from neurodyn.preprocess.tiles import inside, pieces, tiles

LOGGER = logging.getLogger(__name__)

BIN_BYTES = 400 * 2**20
MOST_BINS = 2000
NEGLIGIBLE = 1e-6


class SvdParams(Params):
    """Settings of the decomposition."""

    input: str = Field(default="dff", description="movie to decompose")
    output: str = Field(default="components", description="variable to make: time courses of the components")
    components: int = Field(default=200, ge=1, description="number of components")
    bin: int = Field(
        default=15,
        ge=1,
        description="frames averaged before the components are found; fewer where the recording is short, 1 is exact",
    )


@dataclass(frozen=True)
class RelativeMovie:
    """One movie as the decomposition sees it: (F - mean) / level in the data pixels.

    Parameters
    ----------
    array
        Shape (time, y, x).
    mean, level
        Shape (y, x).
    """

    array: zarr.Array
    mean: np.ndarray
    level: np.ndarray

    def read(self, key: tuple[slice, ...], mask: np.ndarray) -> np.ndarray:
        """Return some of the data pixels, float64, shape (time, pixel)."""
        inner = mask[key[1:]]
        values = np.asarray(self.array[key])[:, inner].astype(np.float64)
        values -= self.mean[key[1:]][inner]
        values /= self.level[key[1:]][inner]
        return values


@dataclass(frozen=True)
class Basis:
    """Orthonormal spatial components.

    Parameters
    ----------
    maps
        U, shape (y, x, component), 0 outside the data pixels.
    mask
        Data pixels, bool, shape (y, x).
    """

    maps: np.ndarray
    mask: np.ndarray

    @property
    def count(self) -> int:
        """Number of components."""
        return self.maps.shape[2]

    def keep(self, workspace: Workspace, name: str, units: str) -> None:
        """Put the maps beside the movies, shape (component, y, x)."""
        maps = self.maps.transpose(2, 0, 1).astype(np.float32)
        workspace.keep("components", name, ("component", "y", "x"), maps, units)


def find_basis(
    workspace: Workspace,
    channels: list[RelativeMovie],
    mask: np.ndarray,
    components: int,
    bin_frames: int,
    parts: int = 2,
) -> Basis:
    """Find the leading spatial components of the time-binned channels, laid end to end in time; the first pass.

    B (bin, pixel) holds the means over stretches of frames. B Bᵀ = W Λ Wᵀ gives U = Bᵀ W Λ^(-1/2), in the order of Λ,
    each component's largest value positive. The bins are made longer for long recordings so that B fits into memory,
    and shorter for short ones so that there are at least twice as many as components.

    Parameters
    ----------
    mask
        Data pixels, bool, shape (y, x).
    bin_frames
        Frames averaged.
    parts
        How many passes the step makes in all, for progress.
    """
    frames, pixels = channels[0].array.shape[0], int(mask.sum())
    most = max(2 * components, min(MOST_BINS, BIN_BYTES // (8 * pixels))) // len(channels)
    width = max(1, min(bin_frames, frames * len(channels) // (2 * components)), -(-frames // max(1, most)))
    vectors = _right_vectors(_binned(workspace, channels, mask, width, parts), components)
    if vectors.shape[1] < components:
        LOGGER.info("svd: %d components, as many as the data have, instead of %d.", vectors.shape[1], components)
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(vectors.shape[1])]
    maps = np.zeros((*mask.shape, vectors.shape[1]))
    maps[mask] = vectors * np.sign(largest)
    return Basis(maps, mask)


def _right_vectors(binned: np.ndarray, components: int) -> np.ndarray:
    """Return the leading right singular vectors of B, shape (bin, pixel), as shape (pixel, component)."""
    wide = binned.shape[1] > binned.shape[0]
    values, vectors = np.linalg.eigh(binned @ binned.T if wide else binned.T @ binned)
    order = np.arange(values.size)[::-1][:components]
    order = order[values[order] > max(NEGLIGIBLE**2 * values[-1], np.finfo(float).tiny)]
    if not order.size:
        raise DataError("svd: the movie does not vary.", "Every pixel is constant.", "Check it: neurodyn inspect")
    if not wide:
        return vectors[:, order]
    # the triangular factor makes the columns orthonormal to rounding where singular values are small
    return np.linalg.qr(binned.T @ (vectors[:, order] / np.sqrt(values[order])))[0]


def _binned(
    workspace: Workspace, channels: list[RelativeMovie], mask: np.ndarray, width: int, parts: int
) -> np.ndarray:
    """Return the means over `width` frames of all channels, the last bin maybe shorter, shape (bin, pixel).

    Each bin is weighted with the root of its frames, so that all frames count alike.
    """
    frames = channels[0].array.shape[0]
    bins = -(-frames // width)
    index = np.zeros(mask.shape, dtype=np.int64)
    index[mask] = np.arange(mask.sum())
    binned = np.zeros((len(channels) * bins, int(mask.sum())))
    for number, channel in enumerate(channels):
        for key in pieces(workspace, channel.array, number, parts * len(channels)):
            values, columns = channel.read(key, mask), index[key[1:]][mask[key[1:]]]
            if not columns.size:
                continue
            place = np.arange(key[0].start, key[0].stop) // width
            starts = np.flatnonzero(np.diff(place, prepend=-1))
            binned[np.ix_(number * bins + place[starts], columns)] += np.add.reduceat(values, starts, axis=0)
    sizes = np.tile(np.minimum(width, frames - width * np.arange(bins)), len(channels))
    return binned / np.sqrt(sizes)[:, None]


def project(
    workspace: Workspace, channel: RelativeMovie, basis: Basis, target: zarr.Array, part: int, parts: int
) -> tuple[np.ndarray, float]:
    """Write V = Y U, shape (time, component); the second pass.

    Returns
    -------
    tuple
        Sum over time of V², shape (component,), and of Y² over all pixels.
    """
    frames, step = channel.array.shape[0], channel.array.chunks[0]
    stretch = -(-target.chunks[0] // step) * step
    power, total = np.zeros(basis.count), 0.0
    for start in range(0, frames, stretch):
        stop = min(start + stretch, frames)
        courses = np.zeros((stop - start, basis.count))
        for first in range(start, stop, step):
            some = slice(first, min(first + step, stop))
            for tile in tiles(channel.array):
                values = channel.read((some, *tile), basis.mask)
                courses[first - start : some.stop - start] += values @ basis.maps[tile][basis.mask[tile]]
                total += float(np.vdot(values, values))
            workspace.progress((part + some.stop / frames) / parts)
        target[start:stop] = courses.astype(np.float32)
        power += (courses**2).sum(axis=0)
    return power, total


class Svd(Step):
    """Reduce a movie to spatial components and their time courses.

    Y ≈ V Uᵀ with Y (time, pixel) the movie without each pixel's mean, U (pixel, component) orthonormal and V = Y U.
    U comes from the movie averaged over `bin` frames (fast noise is left out of the choice of components, nothing is
    left out of V), V from a second pass over all frames, the last one included. V is the output, in the movie's unit
    times the root of a number of pixels; U is in `components`, 0 outside the brain; the share of variance that each
    component explains is in `qc`.

    Source: Saxena et al., PLoS Comput Biol 16, e1007791 (2020).
    """

    Params = SvdParams
    params: SvdParams
    kinds = frozenset({"movie"})
    makes = "traces"
    citation = "Saxena et al., PLoS Comput Biol 16, e1007791 (2020), doi:10.1371/journal.pcbi.1007791"
    passes = 2

    def apply(self, workspace: Workspace) -> None:
        """Find the components in the binned movie, then project every frame on them."""
        p, movie = self.params, workspace[self.params.input]
        mask = inside(workspace, movie)
        channel = RelativeMovie(movie, scan(workspace, p.input, step="svd").mean, np.ones(mask.shape))
        basis = find_basis(workspace, [channel], mask, p.components, p.bin)
        shape, units = (movie.shape[0], basis.count), str(movie.attrs["units"])
        target = workspace.create_shaped(p.output, shape, ("time", "component"), units, "svd")
        power, total = project(workspace, channel, basis, target, 1, 2)
        target.attrs["explained_variance"] = float(power.sum() / total)
        basis.keep(workspace, p.output, "1")
        workspace.keep("qc", "svd_explained_variance", ("component",), (power / total).astype(np.float32), "1")

    def methods(self) -> str:
        """Return one sentence for a methods section."""
        p = self.params
        return f"The movie '{p.input}' was reduced to {p.components} components by a truncated singular value decomposition."
