"""`Scores`: the tidy table every evaluation writes."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.core.files import atomic, clear_partials, locked, write_json
from neurodyn.core.provenance import version


@dataclass(frozen=True)
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
    fold: str
    value: float
    ci_low: float
    ci_high: float
    null_mean: float
    p: float
    n: int
    unit: str
    features: str = ""
    decoder: str = ""
    note: str = ""


def write_scores(path: Path, scores: Iterable[Score]) -> Path:
    """Write scores as CSV, atomically."""
    names = [field.name for field in fields(Score)]
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, names)
        writer.writeheader()
        writer.writerows(asdict(score) for score in scores)
    return path


def write_evaluation(
    out: Path,
    metric: str,
    scores: Iterable[Score],
    recordings: Iterable[Path | None],
    config: Params,
    sources: Sequence[Mapping[str, str | int]] = (),
) -> Path:
    """Write scores.csv and, beside it, evaluate.json: what was scored, and what each source is one draw of."""
    made = {
        "metric": metric,
        "recordings": sorted(set(map(str, recordings))),
        "sources": list(sources),
        "version": version(),
        "config": config.model_dump(mode="json"),
    }
    table = out / "scores.csv"
    with locked(table):
        clear_partials(table)
        write_json(out / "evaluate.json", made)
        return write_scores(table, scores)


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
