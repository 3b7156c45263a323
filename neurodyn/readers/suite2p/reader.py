"""suite2p's output: folders, whose pickled metadata is read on request, and the MATLAB file Fall.mat."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.data.damage import library, reason
from neurodyn.data.recording import Recording
from neurodyn.readers.base import Reader
from neurodyn.readers.containers.unpickling import load_objects
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.questions import Need, QuestionError, which_one
from neurodyn.readers.sources import refuse_others
from neurodyn.readers.suite2p.fall import is_fall, read_fall
from neurodyn.readers.suite2p.output import TRACES, Output, of_output

LOGGER = logging.getLogger(__name__)
METADATA = ("ops.npy", "settings.npy", "db.npy", "reg_outputs.npy", "detect_outputs.npy")  # the earlier one counts
OPTIONS = frozenset({"fs", "pickle", "plane", "cells_only"})


class Suite2pReader(Reader):
    """Reads the cells of a suite2p folder or Fall.mat: fluorescence, neuropil, deconvolved activity, masks and pictures."""

    suffixes = (".mat",)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Say whether the folder, or its suite2p or plane folder, holds F.npy, or a file is suite2p's Fall.mat."""
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
        found, why = f"{names}{more}", f"one of {len(planes)} planes: {names}{more}"
        guess = {"plane": int(first)} if first.isdigit() else {}
        raise which_one(path, f"{len(planes)} planes", found, f"--set source.plane={first}", why, guess)
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
