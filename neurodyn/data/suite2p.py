"""suite2p output folders; pickled metadata only on request, and only through an unpickler that builds plain data."""

from __future__ import annotations

import math
import pickle
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

import numpy as np
import xarray as xr

from neurodyn.core.errors import DataError
from neurodyn.data.damage import library, load_array, reason
from neurodyn.data.lazy import lazy
from neurodyn.data.readers import Reader, ReadOptions
from neurodyn.data.recording import RATE_TOLERANCE, Recording
from neurodyn.data.sources import View, build, refuse_others, regular_times

TRACES = {"fluorescence": "F.npy", "neuropil": "Fneu.npy", "spikes": "spks.npy"}
ROI_COLUMNS = {"npix": "pixel", "radius": "pixel", "skew": "", "snr": ""}
NUMPY = {
    (module.format(core), name)
    for core in ("core", "_core")
    for module, name in (
        ("numpy.{}.multiarray", "_reconstruct"),
        ("numpy.{}.multiarray", "scalar"),
        ("numpy.{}.numeric", "_frombuffer"),
    )
} | {("numpy", "ndarray"), ("numpy", "dtype")}
BUILTINS = frozenset({"complex", "frozenset", "set", "slice"})
PATHS = {"PosixPath": PurePosixPath, "PurePosixPath": PurePosixPath} | dict.fromkeys(
    ("WindowsPath", "PureWindowsPath"), PureWindowsPath
)


class Suite2pReader(Reader):
    """Reads the cells of a suite2p folder: fluorescence, neuropil and deconvolved activity."""

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Say whether the folder, or its suite2p or plane0 folder, holds F.npy."""
        return path.is_dir() and bool(_planes(path))

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily; ROIs that suite2p does not count as cells are left out, `rois` has the numbers of the others."""
        refuse_others(options, "suite2p", {"fs", "pickle"})
        plane = find_plane(path)
        traces = {name: _trace(plane / file) for name, file in TRACES.items() if (plane / file).is_file()}
        shapes = {name: trace.shape for name, trace in traces.items()}
        if len(set(shapes.values())) > 1:
            raise DataError(f"{plane}: the traces differ in shape.", f"Found {shapes}.", "Run suite2p again.")
        count, frames = traces["fluorescence"].shape
        cells, table = _cells(plane, count)
        settings = read_settings(plane) if options.pickle else {}
        fs = _rate(plane, options.fs, settings.get("fs"))
        if options.pickle:
            table |= _stat(plane, cells, count)
        axes = ("roi", "time")
        neural = {name: lazy(("time", "roi"), View(trace, axes))[:, cells] for name, trace in traces.items()}
        time = regular_times(plane, frames, fs)
        session = options.session or _session(plane)
        return build("suite2p", path, neural, time, options, rate_hz=fs, rois=xr.Dataset(table), session=session)


def _planes(path: Path) -> list[Path]:
    if (path / "F.npy").is_file():
        return [path]
    folders = (path, path / "suite2p")
    return sorted(plane for folder in folders for plane in folder.glob("plane*") if (plane / "F.npy").is_file())


def find_plane(path: Path) -> Path:
    """Return the folder that holds F.npy: the path itself, or the only plane under it.

    Raises
    ------
    DataError
        If there is none, or several.
    """
    planes = _planes(path)
    if not planes:
        raise DataError(f"{path} is no suite2p output.", "Expected F.npy in it or in plane0.", "Check the folder.")
    if len(planes) > 1:
        names = ", ".join(plane.name for plane in planes)
        raise DataError(f"{path} has {len(planes)} planes.", f"Found {names}.", f"Name one: {planes[0]}")
    return planes[0]


def _session(plane: Path) -> str:
    plain = (parent.name for parent in (plane, *plane.resolve().parents))
    return next((name for name in plain if not name.startswith("plane") and name != "suite2p"), plane.name)


def _array(path: Path) -> np.ndarray:
    with library(path, _damaged):
        return np.load(path, mmap_mode="r", allow_pickle=False)


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} cannot be read.", f"{reason(error)}.", "Copy it again, or run suite2p again.")


def _trace(path: Path) -> np.ndarray:
    trace = _array(path)
    if trace.ndim != 2 or trace.dtype.kind != "f":
        raise DataError(
            f"{path} is no table of traces.",
            f"Found shape {trace.shape}, {trace.dtype}; expected (roi, time).",
            "Run suite2p again.",
        )
    return trace


def _cells(plane: Path, count: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the indices of the cells, and their numbers and probabilities as columns."""
    if not (plane / "iscell.npy").is_file():
        cells = np.arange(count)
        return cells, {"suite2p_roi": ("roi", cells)}
    iscell = _array(plane / "iscell.npy")
    iscell = iscell[:, None] if iscell.ndim == 1 else iscell
    if len(iscell) != count or not iscell[:, 0].any():
        raise DataError(
            f"{plane}: iscell.npy leaves no cells.",
            f"Found {len(iscell)} rows with {int((iscell[:, 0] > 0).sum())} cells; F.npy has {count} ROIs.",
            "Curate in suite2p, or remove iscell.npy to take every ROI.",
        )
    cells = np.flatnonzero(iscell[:, 0] > 0)
    return cells, {"suite2p_roi": ("roi", cells), "probability": ("roi", iscell[cells, -1])}


def _rate(plane: Path, given: float | None, said: Any) -> float | None:
    if given is not None and said is not None and abs(given / float(said) - 1) > RATE_TOLERANCE:
        raise DataError(
            f"{plane}: the given rate contradicts suite2p's settings.",
            f"Given {given:g} Hz; the settings say {float(said):g} Hz.",
            f"Give --fs {float(said):g}, or leave it out.",
        )
    return given if said is None else float(said)


def read_settings(plane: Path) -> dict[str, Any]:
    """Return suite2p's settings: ops.npy (all versions write it), else settings.npy (1.0 and later)."""
    for name in ("ops.npy", "settings.npy"):
        if (plane / name).is_file():
            settings = load_objects(plane / name)
            settings = settings.item() if isinstance(settings, np.ndarray) and settings.ndim == 0 else settings
            if not isinstance(settings, dict):
                raise DataError(
                    f"{plane / name} holds no settings.", f"Found {type(settings).__name__}.", "Give --fs alone."
                )
            return settings
    return {}


def _stat(plane: Path, cells: np.ndarray, count: int) -> dict[str, Any]:
    if not (plane / "stat.npy").is_file():
        return {}
    stat = np.atleast_1d(load_objects(plane / "stat.npy"))
    if len(stat) != count or not all(isinstance(roi, dict) and "med" in roi for roi in stat):
        raise DataError(
            f"{plane / 'stat.npy'} does not describe the ROIs.",
            f"Found {len(stat)} entries; F.npy has {count} ROIs.",
            "Read without pickle.",
        )
    kept = [stat[k] for k in cells]
    centres = np.array([roi["med"] for roi in kept], dtype=float)
    table: dict[str, Any] = {"y": ("roi", centres[:, 0]), "x": ("roi", centres[:, 1])}
    for name, units in ROI_COLUMNS.items():
        if all(name in roi for roi in kept):
            attrs = {"units": units} if units else {}
            table[name] = ("roi", np.array([float(roi[name]) for roi in kept]), attrs)
    return table


class PlainUnpickler(pickle.Unpickler):
    """Unpickles numbers, strings, containers, paths and numpy arrays; refuses every other class and function."""

    def find_class(self, module: str, name: str) -> Any:
        """Return an allowed class.

        Raises
        ------
        pickle.UnpicklingError
            For anything that is not plain data.
        """
        if module in ("builtins", "__builtin__") and name in BUILTINS:
            return super().find_class("builtins", name)
        if (module, name) in NUMPY:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        if module.startswith("pathlib") and name in PATHS:
            return PATHS[name]
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not plain data")


def _latin1(text: str, encoding: str = "latin1") -> bytes:
    """Stand in for `_codecs.encode`, by which old pickles spell bytes."""
    return text.encode("latin1")


def load_objects(path: Path) -> Any:
    """Read an object array (.npy) without executing what a pickle may ask for.

    Raises
    ------
    DataError
        If the file holds anything but plain data.
    """
    with library(path, _refused), path.open("rb") as file:
        return _load_objects(file)


def _refused(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} is refused.", f"{type(error).__name__}: {reason(error)}.", "Read without pickle and give --fs."
    )


def _load_objects(file: BinaryIO) -> Any:
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    if dtype.kind != "O":
        return load_array(Path(file.name))
    try:
        loaded = PlainUnpickler(file, encoding="latin1").load()
    except Exception as error:  # a hostile pickle may raise anything at all
        raise _refused(Path(file.name), error) from error
    values = np.asarray(loaded, dtype=object)
    if values.size != math.prod(shape):
        raise _refused(Path(file.name), ValueError(f"{values.size} values for the shape {shape}"))
    return values.reshape(shape)
