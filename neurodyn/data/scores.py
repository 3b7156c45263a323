"""`Scores`: the tidy table every evaluation writes."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.core.files import atomic

if TYPE_CHECKING:
    from neurodyn.data.windows import Windows


NOTHING = float("nan")


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number with its uncertainty and its chance level.

    Parameters
    ----------
    session, model, features, decoder, split, target, metric
        What was scored, on what, how. `features` and `decoder` are empty for reconstruction scores.
    fold
        Fold number, or "all" for the pooled value.
    value, ci_low, ci_high
        The score and its 95 % interval.
    null_mean, p
        Mean over label shuffles, and the share of shuffles at least as good; NaN where no null applies.
    n
        Number of independent units behind the value.
    unit
        What the units are: "trials", "windows", "neurons", …
    seed
        Seed of the split and the shuffles.
    note
        What a reader must know, e.g. that a random split over overlapping windows flatters.
    """

    session: str
    model: str
    seed: int
    split: str
    target: str
    metric: str
    fold: str = "all"
    value: float
    ci_low: float = NOTHING
    ci_high: float = NOTHING
    null_mean: float = NOTHING
    p: float = NOTHING
    n: int
    unit: str
    features: str = ""
    decoder: str = ""
    note: str = ""


def blank_score(windows: Windows, model: str, seed: int, split: str, target: str) -> Score:
    """Return a row of the table about all of some windows, without its metric and numbers."""
    sessions = sorted({windows.recordings[s].session for s in np.unique(windows.session)})
    return Score(
        session=sessions[0] if len(sessions) == 1 else "all",
        model=model,
        seed=seed,
        split=split,
        target=target,
        metric="",
        value=NOTHING,
        n=1,
        unit="windows",
        note="overlapping windows shared between parts" if split.startswith("random") else "",
    )


def write_scores(path: Path, scores: Iterable[Score]) -> Path:
    """Write scores as CSV, atomically."""
    names = [field.name for field in fields(Score)]
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, names)
        writer.writeheader()
        writer.writerows(asdict(score) for score in scores)
    return path


def read_scores(path: Path) -> list[Score]:
    """Read scores from CSV.

    Raises
    ------
    DataError
        If the file is missing or has other columns.
    """
    kinds = {"int": int, "float": float, "str": str}
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            return [
                Score(**{f.name: kinds[str(f.type)](row[f.name]) for f in fields(Score)})
                for row in csv.DictReader(handle)
            ]
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing.", "Expected a table of scores.", "Make it: neurodyn decode RUN") from error
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{path} is not a table of scores.", str(error), "Make it again: neurodyn decode RUN"
        ) from error
