"""`Curve`: how well a target is decoded over time, over numbers of cells, or from one time to another."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.core.files import atomic

Kind = Literal["time", "cells", "generalise"]
KINDS: tuple[Kind, ...] = ("time", "cells", "generalise")
AXES: dict[Kind, tuple[str, ...]] = {
    "time": ("start_s", "end_s"),
    "cells": ("cells", "draws"),
    "generalise": ("train_start_s", "train_end_s", "test_start_s", "test_end_s"),
}
FOUND = ("value", "ci_low", "ci_high", "shuffled_low", "shuffled_high", "p", "p_corrected")
WORDS = ("session", "target", "decoder", "split", "features", "metric")
NUMBERS = ("chance", "threshold")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Scores of one target in one session, one per point.

    Parameters
    ----------
    kind
        "time", "cells" or "generalise".
    session, target, decoder, split, features, metric
        As in `Score`; larger is better.
    axes
        Where the points lie, each of shape (point,), by the names of `AXES`: first and last frame of a window in s from the
        event, or numbers of cells and of draws of as many.
    value, ci_low, ci_high
        Scores with 95 % intervals, shape (point,); NaN where there is none.
    shuffled_low, shuffled_high
        95 % range of the shuffles at each point, shape (point,).
    p, p_corrected
        Share of shuffles as good at this point, and at the best of all points, shape (point,).
    chance
        What knowing nothing scores.
    threshold
        What a score must exceed to have a corrected p of at most .05; NaN where no score can.
    n, unit
        Trials that were tested, and what they are.
    note
        What a reader must know.
    """

    kind: Kind
    session: str
    target: str
    decoder: str
    split: str
    features: str
    metric: str
    axes: dict[str, np.ndarray]
    value: np.ndarray
    ci_low: np.ndarray
    ci_high: np.ndarray
    shuffled_low: np.ndarray
    shuffled_high: np.ndarray
    p: np.ndarray
    p_corrected: np.ndarray
    chance: float
    threshold: float
    n: int
    unit: str
    note: str = ""

    @property
    def best(self) -> int:
        """The point with the highest score."""
        return int(np.nanargmax(self.value))

    @property
    def told(self) -> np.ndarray:
        """Where the target can be told from chance, all points corrected for, bool, shape (point,)."""
        return (self.p_corrected <= REACHED) & ~(self.value <= self.chance)


REACHED = 0.05


def curve_file(kind: Kind, suffix: str = "") -> str:
    """Return the name of the table of a kind of curve, `suffix` as that of the table of scores."""
    return f"curve_{kind}{suffix}.csv"


def write_curves(path: Path, curves: Sequence[Curve]) -> Path:
    """Write curves of one kind as CSV, atomically: a row per point."""
    axes = AXES[curves[0].kind]
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow([*WORDS, *axes, *FOUND, *NUMBERS, "n", "unit", "note"])
        for curve in curves:
            head = [getattr(curve, name) for name in WORDS]
            tail = [*(getattr(curve, name) for name in NUMBERS), curve.n, curve.unit, curve.note]
            columns = [*(curve.axes[name] for name in axes), *(getattr(curve, name) for name in FOUND)]
            writer.writerows([*head, *map(_short, point), *tail] for point in zip(*columns, strict=True))
    return path


def _short(value: float) -> float:
    return round(float(value), 9)


def curves_in(folder: Path) -> list[Curve]:
    """Read all curves of a folder.

    Raises
    ------
    DataError
        If a table has other columns.
    """
    return [
        curve
        for kind in KINDS
        for path in sorted(folder.glob(f"curve_{kind}*.csv"))
        for curve in read_curve(path, kind)
    ]


def read_curve(path: Path, kind: Kind) -> list[Curve]:
    """Read the curves of one kind, none where there is no table.

    Raises
    ------
    DataError
        If the table has other columns.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        if list(reader.fieldnames or ()) != [*WORDS, *AXES[kind], *FOUND, *NUMBERS, "n", "unit", "note"]:
            raise DataError(
                f"{path} is not a table of a curve.",
                f"Found the columns {', '.join(reader.fieldnames or ()) or 'none'}.",
                "Make it again: neurodyn decode RECORDING --curves time",
            )
        groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
        for row in reader:
            groups.setdefault(tuple(row[name] for name in WORDS), []).append(row)
    return [_curve(kind, rows) for rows in groups.values()]


def _curve(kind: Kind, rows: list[dict[str, str]]) -> Curve:
    def column(name: str) -> np.ndarray:
        return np.array([row[name] for row in rows], dtype=np.float64)

    first = rows[0]
    told: dict[str, Any] = {name: first[name] for name in (*WORDS, "unit", "note")}
    told |= {name: column(name) for name in FOUND} | {name: float(first[name]) for name in NUMBERS}
    return Curve(kind=kind, axes={name: column(name) for name in AXES[kind]}, n=int(first["n"]), **told)
