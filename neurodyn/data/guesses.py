"""`Guesses`: what a decoder said of every sample that it was tested on, beside what was true."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.core.files import atomic

TOLD = ("session", "target", "task", "decoder", "split", "trial", "time_s", "true")


@dataclass(frozen=True)
class Guesses:
    """Guesses of one target in one session, by one decoder from several features, each sample tested once.

    Parameters
    ----------
    session, target, task, decoder, split
        As in `Score`; the task is "regress", "classify" or "circular".
    trial
        Trial (or segment) of each sample, shape (sample,).
    times
        Time of each sample, s, shape (sample,).
    true
        Label of each sample, in the target's unit, shape (sample,).
    guessed
        Features -> guess of each sample, shape (sample,).
    period
        One turn of a circular target, in its own unit; NaN of others.
    """

    session: str
    target: str
    task: str
    decoder: str
    split: str
    trial: np.ndarray
    times: np.ndarray
    true: np.ndarray
    guessed: dict[str, np.ndarray] = field(default_factory=dict)
    period: float = float("nan")


def write_guesses(path: Path, tables: Sequence[Guesses]) -> Path:
    """Write guesses as CSV, atomically: a row per sample, a column per feature."""
    features = list(dict.fromkeys(name for table in tables for name in table.guessed))
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow([*TOLD, "period", *features])
        for table in tables:
            head = [table.session, table.target, table.task, table.decoder, table.split]
            columns = [table.guessed.get(name, [""] * len(table.true)) for name in features]
            for trial, time, true, *guesses in zip(table.trial, table.times, table.true, *columns, strict=True):
                writer.writerow(
                    [*head, trial, f"{time:.6g}", _short(true), _short(table.period), *map(_short, guesses)]
                )
    return path


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, (float, np.floating)) else str(value)


def read_guesses(path: Path) -> list[Guesses]:
    """Read guesses from CSV, one table per session, target, decoder and split.

    Raises
    ------
    DataError
        If the file has other columns.
    """
    with path.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        names = list(reader.fieldnames or ())
        if names[: len(TOLD) + 1] != [*TOLD, "period"]:
            raise DataError(
                f"{path} is not a table of guesses.",
                f"Found the columns {', '.join(names) or 'none'}.",
                "Make it again: neurodyn decode RUN",
            )
        groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
        for row in reader:
            groups.setdefault(tuple(row[name] for name in TOLD[:5]), []).append(row)
    return [_table(key, rows, names[len(TOLD) + 1 :]) for key, rows in groups.items()]


def _table(key: tuple[str, ...], rows: list[dict[str, str]], features: list[str]) -> Guesses:
    def column(name: str) -> np.ndarray:
        values = np.array([row[name] for row in rows])
        return values if key[2] == "classify" else values.astype(np.float64)

    return Guesses(
        *key,
        trial=np.array([row["trial"] for row in rows]),
        times=np.array([row["time_s"] for row in rows], dtype=np.float64),
        true=column("true"),
        guessed={name: column(name) for name in features if rows[0][name]},
        period=float(rows[0]["period"]),
    )
