"""What survives a kill: one checkpoint per epoch, and the metrics table made from it."""

from __future__ import annotations

import csv
import io
import math
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch

from neurodyn.core.errors import DataError
from neurodyn.core.files import atomic, writing
from neurodyn.data.damage import DAMAGED, reason
from neurodyn.training.stability import Journal, Row

FORMAT = 2
START_OVER = "Start over in this folder: --existing overwrite"


@dataclass
class Checkpoint:
    """What is kept of a training beside weights and optimiser.

    Parameters
    ----------
    rows
        Metrics, one row per epoch.
    best
        The weights to keep: `epoch`, `value`, `weights`, and `warm` while they are only the latest.
    finished
        Whether training is over.
    """

    rows: list[Row] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=lambda: {"epoch": -1, "value": math.inf, "weights": {}, "warm": False})
    finished: bool = False


def save_checkpoint(journal: Journal, kept: Checkpoint, state: dict[str, Any]) -> None:
    """Write the checkpoint of an epoch, and the metrics so far, each atomically."""
    path = checkpoint_path(journal.folder)
    partial = path.with_suffix(".partial")
    with writing(path), _short_of_memory():
        archive = io.BytesIO()  # to a file, torch's own writer would take a full disk for a fault of its archive
        torch.save({"format": FORMAT, "attempt": journal.attempt, **vars(kept), **state}, archive)
        partial.write_bytes(archive.getbuffer())
        partial.replace(path)
    write_metrics(journal.folder, [*journal.rows, *kept.rows])


def last_checkpoint(journal: Journal) -> dict[str, Any] | None:
    """Return what the last checkpoint of this attempt holds; None where there is none."""
    kept = read_checkpoint(journal.folder)
    return kept if kept is not None and kept["attempt"] == journal.attempt else None


@contextmanager
def _short_of_memory() -> Iterator[None]:
    """Tell what torch's archive, which is put together in memory, makes of a lack of it."""
    try:
        yield
    except RuntimeError as error:
        if "inline_container" in str(error):
            raise MemoryError("A checkpoint needs as much again as weights and optimiser do.") from error
        raise


def checkpoint_path(folder: Path) -> Path:
    """Return the path of a run's only checkpoint."""
    return folder / "checkpoints" / "last.ckpt"


def read_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Read a checkpoint without running any code from the file; None if there is none.

    Raises
    ------
    DataError
        If the checkpoint is damaged, or another version's.
    """
    path = checkpoint_path(folder)
    if not path.exists():
        return None
    try:
        _compare_checksums(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (*DAMAGED, pickle.UnpicklingError) as error:
        raise DataError(f"{path} is damaged.", f"{type(error).__name__}: {reason(error)}.", START_OVER) from error
    if state.get("format") != FORMAT:
        found = f"Found the form {state.get('format', 'of Lightning')}; this version reads {FORMAT}."
        raise DataError(f"{path} was written by another version of neurodyn.", found, START_OVER)
    return state


def _compare_checksums(path: Path) -> None:
    """Refuse an archive with a changed part, which torch reads without a word."""
    with ZipFile(path) as archive:
        changed = archive.testzip()
    if changed is not None:
        raise ValueError(f"the checksum of its part {changed} is wrong")


def write_metrics(folder: Path, rows: list[Row]) -> None:
    """Write metrics.csv atomically, one row per epoch."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with atomic(folder / "metrics.csv") as path, path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, names)
        writer.writeheader()
        writer.writerows(rows)
