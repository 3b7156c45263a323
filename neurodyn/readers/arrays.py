"""Plain arrays: HDF5 datasets, .npy and .npz files, whose axes and rate the user names."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.clock import UNIT_OF, seconds
from neurodyn.data.damage import check_packed, library
from neurodyn.data.recording import Recording
from neurodyn.readers.array_axes import ask_for_times, lay_of
from neurodyn.readers.cut import Unfolded
from neurodyn.readers.read import Reader, ReadOptions
from neurodyn.readers.signals import question_rate
from neurodyn.readers.sources import (
    View,
    brain_mask,
    build,
    check_interleaved,
    picture,
    refuse_others,
    regular_times,
    same_length,
    trial_table,
    trial_times,
    wanted,
)

USUAL_KEYS = ("mov", "data", "frames")
OPTIONS = frozenset(
    {"fs", "channels", "variables", "axes", "key", "times", "times_unit", "brain", "split", "frame"}
    | {"trial_onset", "trial_stop", "trial_gap", "trial_columns"}
)


class Hdf5Array:
    """One HDF5 dataset; the file is open only while a slice is read.

    A file that is no file of this machine cannot be opened again by its path: it is read while its owner has it open.
    """

    def __init__(self, path: Path, dataset: h5py.Dataset) -> None:
        self.path, self.name = path, str(dataset.name)
        self.shape, self.dtype = dataset.shape, dataset.dtype
        self.dims, self.units = _names_of(dataset), dataset.attrs.get("units", dataset.attrs.get("unit"))
        if not (dataset.is_virtual or dataset.external):
            check_packed(path, dataset.shape, dataset.dtype, dataset.id.get_storage_size())
        self._streamed = dataset if dataset.file.driver == "fileobj" else None

    def __getitem__(self, key: Any) -> np.ndarray:
        if self._streamed is not None:
            return np.asarray(self._streamed[key])
        with library(self.path), h5py.File(self.path, "r") as file:
            return np.asarray(_dataset(file, self.name)[key])

    def text(self) -> np.ndarray:
        """Return a dataset of strings."""
        with library(self.path), h5py.File(self.path, "r") as file:
            return np.asarray(_dataset(file, self.name).asstr()[()], dtype=str)


def _names_of(dataset: h5py.Dataset) -> tuple[str, ...]:
    """Return the names of the axes: of their dimension scales, as netCDF writes them, or their labels."""
    axes = [dataset.dims[k] for k in range(dataset.ndim or 0)]
    return tuple(str(axis[0].name) if len(axis) else str(axis.label) for axis in axes)


def _dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a dataset; `name` is known to be one."""
    return cast(h5py.Dataset, file[name])


class NpzArray:
    """One member of an .npz file; shape and dtype come from its header, the values when first asked for."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
            version = np.lib.format.read_magic(member)
            header = {(1, 0): np.lib.format.read_array_header_1_0}.get(version, np.lib.format.read_array_header_2_0)
            self.shape, _, self.dtype = header(member)
            check_packed(path, self.shape, self.dtype, archive.getinfo(f"{name}.npy").compress_size)

    def __getitem__(self, key: Any) -> np.ndarray:
        return self._values[key]

    @cached_property
    def _values(self) -> np.ndarray:
        with library(self.path), np.load(self.path, allow_pickle=False) as archive:
            return archive[self.name]


class Hdf5Reader(Reader):
    """Reads datasets of an HDF5 file; axes, rate and trials are named in the options."""

    suffixes = (".h5", ".hdf5", ".hdf", ".nc", ".nc4")

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Say whether the name is that of an HDF5 or netCDF-4 file; CaImAn's results have a reader of their own."""
        from neurodyn.readers.caiman import is_caiman

        return path.is_file() and path.suffix.lower() in cls.suffixes and not is_caiman(path)

    @classmethod
    def arrays(cls, path: Path) -> Mapping[str, Any]:
        """Return every array by its name."""
        return hdf5_arrays(path)

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily."""
        refuse_others(options, "hdf5", OPTIONS)
        return read_arrays("hdf5", path, cls.arrays(path), options)


class NumpyReader(Reader):
    """Reads a .npy array (memory-mapped) or the arrays of a .npz file; object arrays are refused."""

    suffixes = (".npy", ".npz")

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Say whether the name is that of a numpy file."""
        return path.is_file() and path.suffix.lower() in cls.suffixes

    @classmethod
    def arrays(cls, path: Path) -> Mapping[str, Any]:
        """Return every array by its name."""
        return numpy_arrays(path)

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily."""
        refuse_others(options, "numpy", OPTIONS)
        return read_arrays("numpy", path, cls.arrays(path), options)


def hdf5_arrays(path: Path) -> dict[str, Any]:
    """Return every dataset of an HDF5 file by its path.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            found[name] = Hdf5Array(path, item)

    with library(path), h5py.File(path, "r") as file:
        file.visititems(visit)
    return found


def numpy_arrays(path: Path) -> dict[str, Any]:
    """Return the array of a .npy file, or those of a .npz file by their names.

    Raises
    ------
    DataError
        If the file is damaged or holds objects.
    """
    with library(path):
        if path.suffix.lower() == ".npy":
            return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False)}
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        return {name: NpzArray(path, name) for name in names}


def read_arrays(reader: str, path: Path, arrays: Mapping[str, Any], options: ReadOptions) -> Recording:
    """Build a Recording from named arrays on disk.

    Raises
    ------
    DataError
        If a name is missing or ambiguous, axes do not fit, or the rate is unknown.
    """
    views, words = _views(path, arrays, options)
    neural = same_length(views, path)
    first = next(iter(views.values()))
    place = next(iter(wanted(options).values()))
    frames = next(iter(neural.values())).shape[0]
    groups: dict[str, Any] = {}
    if first.trials is not None:
        time, begins = trial_times(path, first, options)
        columns = {name: _column(path, arrays, key) for name, key in options.trial_columns.items()}
        groups["stimulus"] = trial_table(first, begins, options, columns)
    elif options.times is None:
        ask_for_times(path, arrays, first.source.shape[first.axes.index("time")], options)
        time = regular_times(path, frames, options.fs)
    else:
        every_frame = _own_times(path, arrays, options.times, first, options)
        time = every_frame[place.first :: place.every][:frames]
        if options.fs is None and options.times_unit is None and time.size > 1:
            rate = float(1 / np.median(np.diff(time)))
            question_rate(options.times, rate, "source.times_unit", lambda unit: {"times_unit": unit})
    _check_trial_options(options, first)
    if options.brain is not None:
        inside = arrays[options.brain][:] if options.brain in arrays else None
        groups["brain"] = brain_mask(path, inside, options, first.shape[1:])
    attrs = {"source": path.name} | ({"layout": "; ".join(words)} if words else {})
    return build(reader, path, neural, time, options, attrs=attrs, **groups)


def _views(path: Path, arrays: Mapping[str, Any], options: ReadOptions) -> tuple[dict[str, View], list[str]]:
    """Return the arrays as recordings have them, and in words what their axes were taken from where that was not told."""
    views, words = {}, []
    for name, place in wanted(options).items():
        key = name_of(arrays, pick(path, arrays, place.key or options.key))
        lay = lay_of(path, name, key, arrays, options)
        words += [lay.words] if lay.words and lay.words not in words else []
        array, axes = _unfolded(path, arrays[key], lay.axes, options)
        check_interleaved(array.shape[axes.index("time")], options, path)
        views[name] = View(picture(array, axes, name, options), axes, place.first, place.every)
    return views, words


def name_of(arrays: Mapping[str, Any], picked: Any) -> str:
    """Return the name of one of the arrays."""
    return next(name for name, array in arrays.items() if array is picked)


def _unfolded(path: Path, array: Any, axes: tuple[str, ...], options: ReadOptions) -> tuple[Any, tuple[str, ...]]:
    if options.frame is None:
        return array, axes
    axis = axes.index("roi") if len(axes) == 2 and "roi" in axes else 0
    if "roi" not in axes or len(axes) != 2 or array.shape[axis] != options.frame[0] * options.frame[1]:
        raise DataError(
            f"frame: {options.frame[0]} rows of {options.frame[1]} pixels do not make up the frames.",
            f"The array in {path.name} has shape {tuple(array.shape)}, axes {', '.join(axes)}.",
            "Give rows and columns whose product is its number of pixels, and --axes roi,time or time,roi",
        )
    return Unfolded(array, axis, options.frame), (*axes[:axis], "x", "y", *axes[axis + 1 :])


def pick(path: Path, arrays: Mapping[str, Any], key: str | None) -> Any:
    """Return a numeric array by name; else the only one with two or more axes, or one of the usual names.

    Raises
    ------
    DataError
        Listing the arrays with their shapes.
    """
    numeric = {name: array for name, array in arrays.items() if np.dtype(array.dtype).kind in "buif"}
    large = [name for name, array in numeric.items() if len(array.shape) > 1]
    usual = [name for name in USUAL_KEYS if name in large]
    name = key.strip("/") if key else (large[0] if len(large) == 1 else "".join(usual[:1]))
    if name in numeric:
        return numeric[name]
    listed = ", ".join(f"{n} {tuple(a.shape)} {np.dtype(a.dtype)}" for n, a in list(arrays.items())[:12])
    more = f" and {len(arrays) - 12} more" if len(arrays) > 12 else ""
    what = f"has no numeric array '{name}'" if key else "does not say which array to read"
    raise DataError(f"{path} {what}.", f"Found: {listed or 'no arrays'}{more}.", "Name one: --key NAME")


def _column(path: Path, arrays: Mapping[str, Any], key: str) -> np.ndarray:
    array = arrays.get(key.strip("/"))
    if isinstance(array, Hdf5Array) and h5py.check_string_dtype(array.dtype):
        return array.text()
    if array is not None and np.dtype(array.dtype).kind == "U":
        return np.asarray(array[:])
    return np.asarray(pick(path, arrays, key)[:])


def _own_times(path: Path, arrays: Mapping[str, Any], key: str, view: View, options: ReadOptions) -> np.ndarray:
    """Return the time of every frame in the file, s, shape (frame,)."""
    array = pick(path, arrays, key)
    said = getattr(array, "units", None)
    said = UNIT_OF.get(said.decode() if isinstance(said, bytes) else str(said))
    times = seconds(np.asarray(array[:], dtype=np.float64).ravel(), key, options.times_unit, said)
    frames = view.source.shape[view.axes.index("time")]
    if times.size != frames:
        raise DataError(
            f"{path}: the frame times do not fit the frames.",
            f"Found {times.size} times; the array has {frames} frames.",
            "Name the times of all frames in the file, or give --fs alone.",
        )
    return times


def _check_trial_options(options: ReadOptions, view: View) -> None:
    given = sorted(name for name in options.model_dump(exclude_defaults=True) if name.startswith("trial_"))
    if given and view.trials is None:
        raise ConfigError(
            f"{', '.join(given)}: the array has no trial axis.",
            f"Its axes are {', '.join(view.axes)}.",
            "Name one, for example --axes trial,roi,time",
        )
    if options.times is not None and view.trials is not None:
        raise ConfigError(
            "times: trials have no common frame times.", "The array has a trial axis.", "Give --fs and trial_gap."
        )
