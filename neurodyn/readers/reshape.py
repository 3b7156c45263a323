"""What any source may need before it is a Recording: channels told apart, pixels binned, the brain found."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurodyn.core.errors import DataError
from neurodyn.core.files import beside
from neurodyn.data.damage import library, load_array, reason
from neurodyn.data.lazy import DiskArray, lazy
from neurodyn.data.recording import Recording, entry
from neurodyn.readers.base import Reader
from neurodyn.readers.demux import demultiplex, whole_stream
from neurodyn.readers.options import ReadOptions

LOGGER = logging.getLogger(__name__)
LOOKED_AT = 64


class Binned(DiskArray):
    """A movie whose pixels are means over squares; edge rows and columns that fill no square are left out.

    Parameters
    ----------
    source
        A variable with dims (time, y, x), sliced lazily.
    factor
        Side of a square, pixels.
    """

    def __init__(self, source: xr.Variable, factor: int) -> None:
        super().__init__((source.shape[0], *(size // factor for size in source.shape[1:])), np.float32)
        self.source, self.factor = source, factor

    def _block(self, key: tuple[slice, ...]) -> np.ndarray:
        k, (time, rows, columns) = self.factor, key
        fine = (slice(part.start * k, part.stop * k) for part in (rows, columns))
        values = self.source[(time, *fine)].values
        squares = values.reshape(len(values), values.shape[1] // k, k, -1, k)
        return squares.mean((2, 4), np.float32)[:, :: rows.step, :: columns.step]


def reshaped(path: Path, options: ReadOptions, reader: type[Reader]) -> Recording:
    """Read a source, then separate channels, cut and bin pixels and find the brain, as the options ask; all of it lazily.

    Raises
    ------
    DataError
        If the source does not bear it.
    """
    plain = options.model_copy(update={"bin": 1, "brain": None if options.brain == "auto" else options.brain})
    if options.demux == "order":
        recording = _read(reader, path, plain)
    else:
        stream = _read(reader, path, whole_stream(plain))
        table = None if options.frame_channel is None else _table(path, options, reader)
        recording = demultiplex(stream, plain, path, table)
    if options.rows or options.columns:
        recording = cropped(recording, options.rows, options.columns)
    if options.bin > 1:
        recording = binned(recording, options.bin)
    if options.brain == "auto":
        recording = with_brain(recording)
    if plain != options:
        first, *rest = recording.history
        params = first["params"] | options.model_dump(mode="json", exclude_defaults=True)
        recording.tree.attrs["history"] = json.dumps([entry(first["step"], params), *rest], ensure_ascii=False)
    return recording


def _read(reader: type[Reader], path: Path, options: ReadOptions) -> Recording:
    """Read a source; what its damage makes a library raise, in whatever place, is told as damage."""
    with library(path):
        return reader.read(path, options)


def cropped(recording: Recording, rows: str | None, columns: str | None) -> Recording:
    """Cut every movie, map and mask of a recording to some rows and columns, such as "0:256".

    Raises
    ------
    DataError
        If there is no movie, or it has no such rows or columns.
    """
    shape = next((array.shape[1:] for array in recording.neural.data_vars.values() if array.ndim == 3), None)
    if shape is None:
        raise DataError(
            "rows, columns: only a movie can be cut to some of its pixels.",
            "Found traces only.",
            "Leave source.rows and source.columns out.",
        )
    picks = {"y": _span("rows", rows, shape[0]), "x": _span("columns", columns, shape[1])}
    groups = {}
    for name, node in recording.tree.children.items():
        own = node.to_dataset(inherit=False)
        if all(own.sizes.get(axis) == size for axis, size in zip("yx", shape, strict=True)):
            groups[name] = own.isel(picks)
    return recording.with_groups(groups)


def _span(name: str, text: str | None, size: int) -> slice:
    first, end = (int(part) for part in (text or f"0:{size}").split(":"))
    if not first < end <= size:
        raise DataError(
            f"{name}: {text} is no part of a frame.",
            f"Frames have {size} {name}; expected FIRST:END, from 0, with END at most {size}.",
            f"Give others: --set source.{name}=0:{size}",
        )
    return slice(first, end)


def binned(recording: Recording, factor: int) -> Recording:
    """Bin every movie of a recording by means over squares of `factor` pixels; the brain is binned by majority.

    Raises
    ------
    DataError
        If there is no movie, or a frame is smaller than a square.
    """
    neural = recording.neural
    shapes = [array.shape[1:] for array in neural.data_vars.values() if array.ndim == 3]
    if not shapes or min(shapes[0]) < factor:
        raise DataError(
            f"bin: frames cannot be binned {factor} x {factor}.",
            f"Found frames of {shapes[0] if shapes else 'no'} pixels.",
            "Lower it: --set source.bin=2",
        )
    variables = {}
    for name, array in neural.data_vars.items():
        variables[name] = (
            lazy(("time", "y", "x"), Binned(array.variable, factor)) if array.ndim == 3 else array.variable
        )
        variables[name].attrs = dict(array.attrs)
    coords: dict[str, Any] = {"time": neural["time"].variable}
    if recording.brain is not None:
        rows, columns = (size // factor for size in shapes[0])
        cut = recording.brain[: rows * factor, : columns * factor]
        coords["brain"] = (("y", "x"), cut.reshape(rows, factor, columns, factor).mean((1, 3)) >= 0.5)
    return recording.with_groups({"neural": xr.Dataset(variables, coords)})


def with_brain(recording: Recording) -> Recording:
    """Mark the brain: Otsu's threshold on the logarithm of the mean image, its largest piece, holes filled.

    The mean is taken over 64 frames spread over the recording.
    """
    movie = next((array for array in recording.neural.data_vars.values() if array.ndim == 3), None)
    if movie is None:
        raise DataError("brain: only a movie has pixels to threshold.", "Found traces only.", "Leave --brain out.")
    chosen = np.unique(np.linspace(0, movie.sizes["time"] - 1, LOOKED_AT).astype(int))
    mean = np.stack([movie.variable[int(frame)].values for frame in chosen]).mean(axis=0, dtype=np.float64)
    brain = otsu_brain(np.asarray(mean))
    LOGGER.info("brain: %d of %d pixels are inside, by threshold.", brain.sum(), brain.size)
    return recording.with_groups({"neural": recording.neural.assign_coords(brain=(("y", "x"), brain))})


def otsu_brain(image: np.ndarray) -> np.ndarray:
    """Return the largest bright piece of an image, holes filled, bool, shape (y, x).

    The threshold maximises the variance between the classes of log intensity. Otsu, IEEE Trans Syst Man Cybern 9, 62
    (1979).

    Raises
    ------
    DataError
        If the image is flat.
    """
    from scipy import ndimage

    level = np.log(np.maximum(image, np.finfo(np.float64).tiny)) if image.min() > 0 else image.astype(np.float64)
    counts, edges = np.histogram(level[np.isfinite(level)], bins=256)
    centre = (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts)[:-1], np.cumsum(counts[::-1])[::-1][1:]
    mass = np.cumsum(counts * centre)
    if np.ptp(level) <= 0 or not (below * above).any():
        raise DataError(
            "brain: the mean image is flat, so that no threshold divides it.",
            f"All pixels lie near {image.mean():g}.",
            "Give a mask: --brain mask.tif",
        )
    spread = below * above * (mass[:-1] / np.maximum(below, 1) - (mass[-1] - mass[:-1]) / np.maximum(above, 1)) ** 2
    bright = level > edges[1:-1][spread >= spread.max() * (1 - 1e-9)].mean()  # the middle, where a gap ties
    pieces = np.asarray(ndimage.label(bright)[0])  # type: ignore[index]
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(ndimage.binary_fill_holes(pieces == int(np.argmax(sizes))))


def _table(path: Path, options: ReadOptions, reader: type[Reader]) -> np.ndarray:
    """Return the channel of each frame from a file, looked for as given and beside the source, or from a dataset."""
    name = str(options.frame_channel)
    file = beside(path, name)
    with library(path, lambda path, error: _no_table(path, name, error)):
        if file is not None and file.suffix == ".npy":
            return load_array(file)
        if file is not None:
            return np.loadtxt(file, delimiter=",", ndmin=1)
        import h5py

        with h5py.File(path, "r") as source:
            return np.asarray(source[name])


def _no_table(path: Path, name: str, error: Exception) -> DataError:
    return DataError(
        f"{path}: there is no table of channels '{name}'.",
        f"{type(error).__name__}: {reason(error)}.",
        "Give a .npy or .csv file with one channel number per frame, or a dataset of the HDF5 source.",
    )
