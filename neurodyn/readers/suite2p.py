"""suite2p's output: folders, whose pickled metadata is read on request, and the MATLAB file Fall.mat."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from neurodyn.core.errors import DataError
from neurodyn.data.damage import library, reason
from neurodyn.data.lazy import lazy
from neurodyn.data.recording import RATE_TOLERANCE, Recording
from neurodyn.readers.containers.unpickling import load_objects
from neurodyn.readers.masks import Mask, mask_columns, pictures
from neurodyn.readers.questions import Need, QuestionError
from neurodyn.readers.read import Reader, ReadOptions
from neurodyn.readers.sources import View, build, refuse_others, regular_times

LOGGER = logging.getLogger(__name__)
TRACES = {"fluorescence": "F", "neuropil": "Fneu", "spikes": "spks"}
ROI_COLUMNS = {"npix": "pixel", "radius": "pixel", "skew": "", "snr": ""}
PICTURES = {"mean_image": "meanImg", "max_projection": "max_proj"}
METADATA = ("ops.npy", "settings.npy", "db.npy", "reg_outputs.npy", "detect_outputs.npy")  # the earlier one counts
OPTIONS = frozenset({"fs", "pickle", "plane", "cells_only"})


@dataclass(frozen=True)
class Output:
    """What suite2p says of one plane.

    Parameters
    ----------
    where
        The folder or file, for messages.
    traces
        Name of the variable -> array on disk, shape (roi, time).
    iscell
        Verdict and probability, shape (roi, 2), or verdicts alone, shape (roi,); None where there are none.
    said
        Settings and pictures; nothing where they are not read.
    stat
        One mapping per ROI, with ypix, xpix, lam and more; None where it is not read.
    """

    where: Path
    traces: Mapping[str, Any]
    iscell: np.ndarray | None
    said: Mapping[str, Any]
    stat: Sequence[Mapping[str, Any]] | None


class Suite2pReader(Reader):
    """Reads the cells of a suite2p folder or Fall.mat: fluorescence, neuropil, deconvolved activity, masks and pictures."""

    suffixes = (".mat",)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Say whether the folder, or its suite2p or plane folder, holds F.npy, or a file is suite2p's Fall.mat."""
        from neurodyn.readers.suite2p_mat import is_fall

        return bool(_planes(path)) if path.is_dir() else is_fall(path)

    @classmethod
    def read(cls, path: Path, options: ReadOptions) -> Recording:
        """Read lazily; ROIs that suite2p does not count as cells are left out unless `cells_only` is false.

        Raises
        ------
        DataError
            If files are damaged or do not belong together.
        QuestionError
            If there are several planes, or nothing says the rate.
        """
        if path.is_file():
            from neurodyn.readers.suite2p_mat import read_fall

            return read_fall(path, options)
        refuse_others(options, "suite2p", OPTIONS)
        plane = find_plane(path, options.plane)
        traces = {name: _trace(plane / f"{file}.npy") for name, file in TRACES.items() if _has(plane, file)}
        iscell = _array(plane / "iscell.npy") if _has(plane, "iscell") else None
        if options.fs is None and not options.pickle:
            _ask_for_metadata(plane)
        said = read_settings(plane) if options.pickle else {}
        stat = list(np.atleast_1d(load_objects(plane / "stat.npy"))) if options.pickle and _has(plane, "stat") else None
        return of_output(path, Output(plane, traces, iscell, said, stat), options, _session(plane))


def of_output(path: Path, output: Output, options: ReadOptions, session: str) -> Recording:
    """Build the recording of one plane.

    Parameters
    ----------
    session
        Its name where the options give none.
    """
    count, frames = _size(output)
    rows, table = _cells(output, count, options.cells_only)
    if output.stat is not None:
        table |= _of_stat(output, rows, count)
    fs = _rate(output, options.fs)
    neural = {
        name: lazy(("time", "roi"), View(trace, ("roi", "time")))[:, rows] for name, trace in output.traces.items()
    }
    seen = _pictures(output.said)
    return build(
        "suite2p", path, neural, regular_times(output.where, frames, fs), options,
        rate_hz=fs, rois=xr.Dataset(table), session=options.session or session, qc=xr.Dataset(seen) if seen else None,
        attrs={"source": path.name, "layout": _words(output, count, rows.size, options.cells_only)},
    )  # fmt: skip


def _has(plane: Path, name: str) -> bool:
    return (plane / f"{name}.npy").is_file()


def _planes(path: Path) -> list[Path]:
    if _has(path, "F"):
        return [path]
    found = [plane for folder in (path, path / "suite2p") for plane in folder.glob("plane*") if _has(plane, "F")]
    return sorted(found, key=lambda plane: (len(plane.name), plane.name))


def find_plane(path: Path, number: int | None = None) -> Path:
    """Return the folder that holds F.npy: the path itself, the only plane under it, or the one of that number.

    Raises
    ------
    DataError
        If there is none.
    QuestionError
        If there are several and none is named.
    """
    planes = _planes(path)
    names = ", ".join(plane.name for plane in planes)
    if not planes:
        raise DataError(f"{path} is no suite2p output.", "Expected F.npy in it or in plane0.", "Check the folder.")
    if number is not None:
        chosen = [plane for plane in planes if plane.name == f"plane{number}"]
        if not chosen:
            raise DataError(
                f"{path} has no plane {number}.", f"Found {names}.", "Choose one of them: --set source.plane=0"
            )
        return chosen[0]
    if len(planes) > 1:
        first = planes[0].name.removeprefix("plane")
        together = planes[0].parent / "combined"
        more = f"; the ROIs of all planes together are in {together}" if _has(together, "F") else ""
        raise QuestionError(
            f"{path} has {len(planes)} planes; one must be chosen.",
            f"Found {names}{more}.",
            f"Choose one, and read the others one by one: --set source.plane={first}",
            need=Need(f"--set source.plane={first}", f"one of {len(planes)} planes: {names}{more}"),
            guess={"plane": int(first)} if first.isdigit() else {},
        )
    return planes[0]


def _session(plane: Path) -> str:
    plain = (parent.name for parent in (plane, *plane.resolve().parents))
    return next(
        (name for name in plain if not name.startswith("plane") and name not in ("suite2p", "combined")), plane.name
    )


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


def _ask_for_metadata(plane: Path) -> None:
    files = [name for name in (*METADATA, "stat.npy") if (plane / name).is_file()]
    if not {"ops.npy", "settings.npy"} & set(files):
        return
    raise QuestionError(
        f"{plane}: nothing says the frame rate outside of pickled files.",
        f"Found {', '.join(files)}, which hold the rate, masks and pictures.",
        "Read their plain data, and refuse all else: --set source.pickle=true; or give the rate alone: --fs 30",
        need=Need("--set source.pickle=true", f"rate, masks and pictures are in {', '.join(files)}; or --fs alone"),
        guess={"pickle": True},
    )


def _size(output: Output) -> tuple[int, int]:
    shapes = {name: tuple(trace.shape) for name, trace in output.traces.items()}
    if len(set(shapes.values())) > 1:
        raise DataError(f"{output.where}: the traces differ in shape.", f"Found {shapes}.", "Run suite2p again.")
    return shapes["fluorescence"]


def _cells(output: Output, count: int, cells_only: bool) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the rows that are read, and their numbers, verdicts and probabilities as columns."""
    if output.iscell is None:
        return np.arange(count), {"suite2p_roi": ("roi", np.arange(count))}
    iscell = output.iscell[:, None] if output.iscell.ndim == 1 else output.iscell
    verdict = iscell[:, 0] > 0
    if len(iscell) != count or not (verdict.any() or not cells_only):
        raise DataError(
            f"{output.where}: iscell leaves no cells.",
            f"Found {len(iscell)} rows with {int(verdict.sum())} cells; F has {count} ROIs.",
            "Curate in suite2p, or take every ROI: --set source.cells_only=false",
        )
    rows = np.flatnonzero(verdict) if cells_only else np.arange(count)
    columns = {"suite2p_roi": ("roi", rows), "cell": ("roi", verdict[rows])}
    return rows, columns | {"probability": ("roi", np.asarray(iscell[rows, -1], dtype=np.float64))}


def _words(output: Output, count: int, kept: int, cells_only: bool) -> str:
    files = ", ".join(file for name, file in TRACES.items() if name in output.traces)
    words = f"suite2p's {output.where.name}: {files}, ROI by time, as {', '.join(output.traces)}"
    if output.iscell is None:
        return f"{words}; no iscell, every ROI is taken"
    how = "cells by iscell are taken (all: --set source.cells_only=false)" if cells_only else "ROIs are taken"
    return f"{words}; {kept} of {count} {how}"


def _rate(output: Output, given: float | None) -> float | None:
    fs = np.asarray(output.said.get("fs", np.nan)).ravel()
    said = float(fs[0]) if fs.size and fs.dtype.kind in "iuf" and np.isfinite(fs[0]) and fs[0] > 0 else None
    if given is not None and said is not None and abs(given / said - 1) > RATE_TOLERANCE:
        raise DataError(
            f"{output.where}: the given rate contradicts suite2p's settings.",
            f"Given {given:g} Hz; the settings say {said:g} Hz.",
            f"Give --fs {said:g}, or leave it out.",
        )
    return given if said is None else said


def read_settings(plane: Path) -> dict[str, Any]:
    """Return suite2p's settings and pictures: of ops.npy (all versions), else of the files of 1.0 and later."""
    merged: dict[str, Any] = {}
    for name in METADATA:
        if not (plane / name).is_file():
            continue
        said = load_objects(plane / name)
        said = said.item() if isinstance(said, np.ndarray) and said.ndim == 0 else said
        if not isinstance(said, dict):
            raise DataError(
                f"{plane / name} holds no settings.", f"Found {type(said).__name__}.", "Read without pickle: --fs 30"
            )
        merged = said | merged
    return merged


def _pictures(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plane's pictures; the projection covers the part seen in every frame (yrange, xrange)."""
    size = [np.asarray(said.get(name, 0)).ravel() for name in ("Ly", "Lx")]
    frame = (int(size[0][0]), int(size[1][0])) if all(side.size and side[0] > 0 for side in size) else None
    first = [np.asarray(said.get(name, 0)).ravel() for name in ("yrange", "xrange")]
    corner = (int(first[0][0]), int(first[1][0])) if all(part.size for part in first) else (0, 0)
    images = {name: said[key] for name, key in PICTURES.items() if said.get(key) is not None}
    return pictures(images, frame, corner)


def _of_stat(output: Output, rows: np.ndarray, count: int) -> dict[str, Any]:
    """Return centres, columns and masks of the ROIs that are read."""
    stat = list(output.stat or [])
    if len(stat) != count or not all(isinstance(roi, Mapping) and "med" in roi for roi in stat):
        raise DataError(
            f"{output.where}: stat does not describe the ROIs.",
            f"Found {len(stat)} entries; F has {count} ROIs.",
            "Read without pickle, or run suite2p again.",
        )
    kept = [stat[k] for k in rows]
    centres = np.array([np.asarray(roi["med"], dtype=float).ravel() for roi in kept])
    table: dict[str, Any] = {"y": ("roi", centres[:, 0]), "x": ("roi", centres[:, 1])}
    for name, units in ROI_COLUMNS.items():
        if all(name in roi for roi in kept):
            values = np.array([float(np.ravel(roi[name])[0]) for roi in kept])
            table[name] = ("roi", values, {"units": units} if units else {})
    if not all({"ypix", "xpix", "lam"} <= set(roi) for roi in kept):
        LOGGER.warning("%s: stat has no pixels (ypix, xpix, lam); the ROIs have centres only.", output.where)
        return table
    return table | mask_columns([_mask(output.where, roi) for roi in kept])


def _mask(where: Path, roi: Mapping[str, Any]) -> Mask:
    y, x, weight = (np.ravel(roi[name]) for name in ("ypix", "xpix", "lam"))
    overlap = np.ravel(roi["overlap"]) if "overlap" in roi else None
    sizes = {y.size, x.size, weight.size, y.size if overlap is None else overlap.size}
    if len(sizes) > 1:
        raise DataError(
            f"{where}: a mask in stat is not whole.",
            f"Found {y.size} rows, {x.size} columns and {weight.size} weights of pixels.",
            "Run suite2p again, or read without pickle.",
        )
    return Mask(y, x, weight, overlap)
