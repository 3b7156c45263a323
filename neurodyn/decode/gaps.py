"""Windows with missing frames: what is not there must not tell the classes apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.decode.features import chunks, row_bytes
from neurodyn.decode.labels import Labels
from neurodyn.decode.settings import DecodeConfig
from neurodyn.decode.source import Source
from neurodyn.decode.targets import make_labels

MOSTLY = 0.5  # share of entries without data from which on a window is missing, not its entries
LACKING = 0.2  # share of windows from which on an entry is left out instead of the windows


def labelled(session: Source, config: DecodeConfig) -> tuple[Source, Labels]:
    """Return the windows of one recording that can be decoded, and their labels."""
    labels, rows = make_labels(session, config)
    return without_gaps(session.take(rows), labels, config)


def without_gaps(source: Source, labels: Labels, config: DecodeConfig) -> tuple[Source, Labels]:
    """Leave out windows with frames that have no data, the same for every feature, and say so in the labels' note.

    Nothing is filled in: a value put where frames are missing, or a mean over fewer of them, is a label of its own where
    they are missing more often in one condition. An entry (cell or pixel) that lacks data by itself in more than a fifth
    of the windows is left out of all of them instead.

    Parameters
    ----------
    source, labels
        Windows of one session, and their labels in the same order.

    Raises
    ------
    DataError
        If no window is whole.
    """
    names, entries = _signals(source, config), source.entries
    found = [one for name in names if (one := _lacking(source, name)).shape[1:] == entries.shape]
    lacking = np.logical_or.reduce(found)
    gap = lacking[:, entries].mean(axis=1) >= MOSTLY  # whole frames are missing, as in a pause or a blink
    if not gap.all():
        entries = entries & (lacking[~gap].mean(axis=0) <= LACKING)
        gap |= lacking[:, entries].any(axis=1)
    if not entries.any() or gap.all():
        raise DataError(
            f"No window of '{labels.name}' is whole: frames without data (NaN) lie in all of them.",
            f"Found {len(gap)} windows; signals: {', '.join(names)}.",
            "Fill short gaps first: neurodyn impute RECORDING --model interpolate -o filled.zarr",
        )
    note = "; ".join(filter(None, (labels.note, _windows_note(gap, labels, names), _entries_note(source, entries))))
    keep = np.flatnonzero(~gap)
    kept = replace(labels, target=labels.target[keep], groups=labels.groups[keep], times=labels.times[keep], note=note)
    return replace(source.take(keep), usable=entries), kept


def _signals(source: Source, config: DecodeConfig) -> list[str]:
    asked = [name.partition(":")[0] for name in config.features]
    found = [name for name in asked if name in source.recording.variables]
    return list(dict.fromkeys([source.windows.config.variable, *found]))


def _lacking(source: Source, name: str) -> np.ndarray:
    """Return which entries lack data in some frame of each window, bool, shape (window, *space)."""
    windows = source.windows if name == source.windows.config.variable else source.windows.of_variable(name)
    parts = chunks(source, row_bytes(source, name))
    return np.concatenate([~windows.values(part)[1].all(axis=1) & windows.brain for part in parts])


def _windows_note(gap: np.ndarray, labels: Labels, names: list[str]) -> str:
    if not gap.any():
        return ""
    values, counts = np.unique(labels.target[gap], return_counts=True)
    most = values[counts.argmax()]
    of_all = int((labels.target == most).sum())
    return (
        f"{gap.sum()} windows left out: they hold frames without data (NaN) in {', '.join(names)}; "
        f"most often where {labels.name} is {most} ({counts.max()} of {of_all})"
    )


def _entries_note(source: Source, entries: np.ndarray) -> str:
    lost = int((source.entries & ~entries).sum())
    what = "pixels" if entries.ndim == 2 else "cells"
    return f"{lost} {what} left out: without data in more than {LACKING:.0%} of the windows" if lost else ""
