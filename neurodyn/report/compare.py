"""`compare`: several tables of scores of the same targets, side by side, tested unit by unit."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.core.files import atomic, clear_partials, locked
from neurodyn.core.registry import unknown
from neurodyn.data.scores import Score, read_scores
from neurodyn.metrics.paired import adjusted_p, signed_rank_p
from neurodyn.report.compare_page import part_of
from neurodyn.report.comparison import read_published
from neurodyn.report.page import write_page
from neurodyn.report.rows import Answer, Paired, Question, Row, first, merit
from neurodyn.report.units import Kind, Unit, kind_of, ordered

TABLES = ("scores*.csv", "reconstruction.csv")
NOT_OF_MODELS = (
    "by_horizon",
    "noise_ceiling",
    "rank_histogram",
)  # curves, whose steps are no units, and what the data allow
FEWEST_ALIKE = 3  # values; two models may score one session alike
Units = Literal["auto", "sessions"]
Values = dict[Unit, dict[int, float]]


def compare(
    paths: Sequence[Path],
    out: Path,
    against: str | None = None,
    published: str | None = None,
    units: Units = "auto",
    subject: str | None = None,
) -> Path:
    """Write comparison.csv and comparison.html: every model on every target, with intervals and paired tests.

    Units are sessions where tables have several: a session counts once, by its pooled score, or the mean of its folds where it
    has none; with subjects, the mean over a subject's sessions does. Resampling whole units, and not what is nested in them,
    keeps the interval honest (Davison & Hinkley 1997, Bootstrap methods and their application, section 3.8).

    Of one session, they are blocks of neighbouring windows or trials, neurons or, where a table has no folds, trainings. The
    folds of a cross-validation share their training data and are no units. Values of one session and fold are averaged over
    seeds before anything is tested. Curves over the horizon, noise ceilings and rows without a value are left out, and so is a row
    whose values are all those of another one: what a model returns unchanged.

    Parameters
    ----------
    paths
        Tables of scores, or folders with some: scores*.csv, else reconstruction.csv.
    out
        Folder to write.
    against
        Model that the others are tested against (default: that of the published figures, or the first).
    published
        Name or path of a YAML of published figures.
    units
        What is drawn at random: sessions, or "auto", for one session what it is made of.
    subject
        Regular expression whose first group is the subject in a session's name; subjects are then the units.

    Returns
    -------
    pathlib.Path
        comparison.html.
    """
    figures = read_published(published) if published else None
    asked = _asked(units, subject)
    tables = dict.fromkeys(table for path in paths for table in _tables(path))
    scores = [score for table in tables for score in read_scores(table) if _comparable(score)]
    questions = _questions(scores, asked)
    reference = against or (figures.against if figures else None)
    _check(questions, reference)
    answers = {question: _answer(rows, reference, question[2]) for question, rows in questions.items()}
    with locked(out / "comparison.csv"):
        clear_partials(out / "comparison.csv")
        _write(out / "comparison.csv", answers)
    return write_page([part_of(answers, figures)], out / "comparison.html")


def _asked(units: Units, subject: str | None) -> Kind | None:
    if subject is None:
        return Kind("sessions") if units == "sessions" else None
    try:
        return Kind("subjects", re.compile(subject))
    except re.error as error:
        raise ConfigError(
            f"--subject {subject} is no regular expression.", str(error), "Example: --subject '^(m[0-9]+)_'"
        ) from error


def _pooled(scores: Sequence[Score]) -> list[Score]:
    """Leave out the folds of whatever has a pooled score, too."""

    def key(s: Score) -> tuple[object, ...]:
        return (s.session, s.model, s.seed, s.features, s.decoder, s.split, s.target, s.metric)

    pooled = {key(score) for score in scores if score.fold == "all"}
    return [score for score in scores if score.fold == "all" or key(score) not in pooled]


def _tables(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    for pattern in TABLES:
        if found := sorted(path.glob(pattern)):
            return found
    raise DataError(
        f"{path} has no table of scores.",
        f"Expected a CSV, or a folder with {' or '.join(TABLES)}.",
        f"Make one: neurodyn evaluate {path} or neurodyn decode {path}",
    )


def _comparable(score: Score) -> bool:
    return score.value == score.value and not score.metric.endswith(NOT_OF_MODELS)


def _check(questions: Mapping[Question, Sequence[Row]], against: str | None) -> None:
    names = list(dict.fromkeys(row.name for rows in questions.values() for row in rows))
    if len(names) < 2:
        raise ConfigError(
            "There is nothing to compare.", f"Found one model: {', '.join(names) or 'none'}.", "Give tables of several."
        )
    if against is not None and against not in names:
        raise unknown("model", against, names)


def _questions(scores: Sequence[Score], asked: Kind | None) -> dict[Question, list[Row]]:
    """Group scores by (split and part, target, metric), then by model; nothing that is the same for all is named."""
    varied = [name for name in ("features", "decoder") if len({getattr(s, name) for s in scores}) > 1]
    found: dict[Question, list[Score]] = {}
    for s in scores:
        found.setdefault((s.split, s.target, s.metric), []).append(s)
    return {question: _answers(some, asked or kind_of(some), varied) for question, some in found.items()}


def _answers(scores: Sequence[Score], kind: Kind, varied: Sequence[str]) -> list[Row]:
    if kind.grouped:
        scores = _pooled(scores)
    folded = any(s.fold != "all" for s in scores)
    found: dict[tuple[str, str], Values] = {}
    for s in scores:
        if folded and s.fold == "all" and not kind.grouped:
            continue
        name = (s.model, " · ".join(filter(None, (getattr(s, part) for part in varied))))
        unit = (s.session, s.fold if folded else str(s.seed))
        values = found.setdefault(name, {}).setdefault(unit, {})
        if values.setdefault(s.seed, s.value) != s.value:
            raise DataError(
                f"Session '{s.session}' has two different scores of {' · '.join(filter(None, name))} for {s.target}.",
                "Found recordings, or runs, that have one name.",
                "Name sessions apart when converting (--set source.session=NAME), and models by --set name=NAME.",
            )
    return _rows(found, kind)


def _rows(values: Mapping[tuple[str, str], Values], kind: Kind) -> list[Row]:
    """Make rows; what does not depend on the model, raw signals beside each of several runs, becomes one."""
    rows: dict[str, Row] = {}
    for (model, signal), units in values.items():
        alike = [one for (_, other), one in values.items() if other == signal and signal]
        shared = len(alike) > 1 and all(one == alike[0] for one in alike)
        of_no_model = shared or (model == "none" and signal)
        name = signal if of_no_model else " · ".join(filter(None, [model, signal]))
        rows.setdefault(name, _row(name, units, kind))
    return list(rows.values())


def _row(name: str, units: Values, kind: Kind) -> Row:
    seeds = {(session, seed) for (session, _), values in units.items() for seed in values}
    means = {unit: float(np.mean(list(values.values()))) for unit, values in units.items()}
    if kind.grouped:
        sessions = _averaged((session, value) for (session, _), value in means.items())
        subjects = _averaged((kind.of(session), value) for session, value in sessions.items())
        means = {(subject, ""): value for subject, value in subjects.items()}
    return Row(name, {unit: means[unit] for unit in ordered(means, kind)}, len(seeds), kind)


def _averaged(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return the mean value of every name."""
    found: dict[str, list[float]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def _answer(rows: Sequence[Row], against: str | None, metric: str) -> Answer:
    """Leave out twins, test every row against the reference, and find those that the first cannot be told from."""
    reference = next((row for row in rows if row.name == against), rows[0])
    kept, twins = _distinct(rows, reference)
    found = {row.name: test for row in kept if row is not reference and (test := _paired(row, reference, metric))}
    for test, p in zip(found.values(), adjusted_p([test.p for test in found.values()]), strict=True):
        test.adjusted = p
    leader = first(kept, metric)
    return Answer(kept, found, [row for row in kept if row is not leader and _tied(leader, row, metric)], twins)


def _distinct(rows: Sequence[Row], reference: Row) -> tuple[list[Row], dict[str, str]]:
    """Return the rows in their order, of equal ones the reference or else the first, and which others each stands for."""
    kept: list[Row] = [reference]
    twins: dict[str, str] = {}
    for row in rows:
        same = next((one for one in kept if _same(one, row)), None)
        if same is None:
            kept.append(row)
        elif row is not reference:
            twins[row.name] = same.name
    return [row for row in rows if any(row is one for one in kept)], twins


def _same(one: Row, other: Row) -> bool:
    """Say whether all values are equal, to the rounding of single precision, and too many for chance."""
    return (
        one.units.keys() == other.units.keys()
        and len(one.units) >= FEWEST_ALIKE
        and all(math.isclose(one.units[unit], other.units[unit], rel_tol=1e-6) for unit in one.units)
    )


def _tied(leader: Row, row: Row, metric: str) -> bool:
    test = _paired(leader, row, metric)
    return test is None or not (test.low > 0 or test.high < 0)  # NaN: no interval


def _paired(row: Row, reference: Row, metric: str) -> Paired | None:
    """Test a row against another over the units they share; None where these are too few."""
    kind, shared = row.kind, ordered(set(row.units) & set(reference.units), row.kind)
    alone = len(row.units) == len(reference.units) == 1
    if not shared or (len(shared) == 1 and not alone):  # one of many folds is no pair: other splits
        return None
    values, others = (np.array([one.units[unit] for unit in shared]) for one in (row, reference))
    return _test(values, others, metric, kind)


def _test(values: np.ndarray, reference: np.ndarray, metric: str, kind: Kind) -> Paired:
    difference = kind.means(values - reference)
    gain = kind.means(merit(values, metric) - merit(reference, metric))
    found = kind.test(values - reference)
    p = found.p if kind.in_time else signed_rank_p(difference, np.zeros(difference.size))
    words = kind.words(values.size, found.effective)
    return Paired(
        float((values - reference).mean()), found.low, found.high, float((gain > 0).mean()), p, difference.size, words
    )


def _write(path: Path, answers: Mapping[Question, Answer]) -> None:
    header = ["split", "target", "metric", "model", "mean", "ci_low", "ci_high", "units", "unit", "seeds"]
    header += ["difference", "difference_low", "difference_high", "share_better", "p", "p_adjusted", "note"]
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(header)
        for question, answer in answers.items():
            for row in answer.rows:
                low, high = row.interval
                cells = [*question, row.name, row.mean, low, high, row.means.size, row.kind.name, row.seeds]
                test = answer.tests.get(row.name)
                more = [test.difference, test.low, test.high, test.better, test.p, test.adjusted] if test else [""] * 6
                words = test.words if test else row.kind.words(len(row.units), row.tested.effective)
                writer.writerow([*cells, *more, words])
