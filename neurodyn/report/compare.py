"""`compare`: several tables of scores of the same targets, side by side, tested unit by unit."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.figure import Figure as Canvas

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.core.files import atomic, clear_partials, locked
from neurodyn.core.registry import unknown
from neurodyn.data.scores import Score, read_scores
from neurodyn.metrics.paired import BLOCK_TEST, PAIRED_TEST, MeanTest, adjusted_p, signed_rank_p
from neurodyn.report.blocks import Block, Part, Section, Table, p_value, short, short_interval
from neurodyn.report.comparison import Published, read_published
from neurodyn.report.page import write_page
from neurodyn.report.style import BLACK, BLUE, GREY, draw
from neurodyn.report.units import Kind, Unit, kind_of, ordered

TABLES = ("scores*.csv", "reconstruction.csv")
SMALLER_IS_BETTER = ("error", "error, deg", "mse", "mae", "smape", "mase", "roughness", "crps", "crps_ensemble")
RIGHT_AT = {"coverage_50": 0.5, "coverage_90": 0.9, "spread_skill": 1.0}
NOT_OF_MODELS = (
    "by_horizon",
    "noise_ceiling",
    "rank_histogram",
)  # curves, whose steps are no units, and what the data allow
SHOWN_UNITS = 400
Units = Literal["auto", "sessions"]
Question = tuple[str, str, str]
Values = dict[Unit, dict[int, float]]


@dataclass(frozen=True)
class Row:
    """One model on one target.

    Parameters
    ----------
    name
        The model, with features and decoder where they differ.
    units
        (session, fold or seed) -> value, averaged over the seeds of one session and fold; in order of time.
    seeds
        Seeds behind them.
    kind
        What is a unit.
    """

    name: str
    units: Mapping[Unit, float]
    seeds: int
    kind: Kind

    @property
    def mean(self) -> float:
        """Mean over units."""
        return float(np.mean(list(self.units.values())))

    @cached_property
    def means(self) -> np.ndarray:
        """Value of each unit, shape (unit,)."""
        return self.kind.means(np.array(list(self.units.values())))

    @cached_property
    def tested(self) -> MeanTest:
        """The mean's 95 % interval."""
        return self.kind.test(np.array(list(self.units.values())))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean over units."""
        return self.tested.low, self.tested.high


@dataclass
class Paired:
    """One row against the reference, over the units they share.

    Parameters
    ----------
    difference, low, high
        Mean of row minus reference, and its 95 % interval over units (Student's t).
    better
        Share of units in which the row is better.
    p
        Two-sided; of blocks the t-test, else Wilcoxon's signed-rank test. NaN where all differences are zero or there are too
        few units.
    adjusted
        The same, corrected for the number of rows (Benjamini & Yekutieli 2001).
    count
        Shared units.
    words
        What the units are.
    """

    difference: float
    low: float
    high: float
    better: float
    p: float
    count: int
    words: str
    adjusted: float = field(default=float("nan"))


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
    seeds before anything is tested. Curves over the horizon, noise ceilings and rows without a value are left out.

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
    answers = {question: (rows, _tests(rows, reference, question[2])) for question, rows in questions.items()}
    with locked(out / "comparison.csv"):
        clear_partials(out / "comparison.csv")
        _write(out / "comparison.csv", answers)
    return write_page([_part(answers, figures)], out / "comparison.html")


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


def _tests(rows: Sequence[Row], against: str | None, metric: str) -> dict[str, Paired]:
    """Test every row against the reference."""
    named = [row for row in rows if row.name == against]
    reference = named[0] if named else rows[0]
    found = {}
    for row in rows:
        shared = ordered(set(row.units) & set(reference.units), row.kind)
        alone = len(row.units) == len(reference.units) == 1
        if row is not reference and shared and (alone or len(shared) > 1):  # one of many folds is no pair: other splits
            values, others = (np.array([one.units[unit] for unit in shared]) for one in (row, reference))
            found[row.name] = _paired(values, others, metric, row.kind)
    for test, p in zip(found.values(), adjusted_p([test.p for test in found.values()]), strict=True):
        test.adjusted = p
    return found


def merit(values: np.ndarray | float, metric: str) -> np.ndarray:
    """Return what is larger the better a value is."""
    if metric in RIGHT_AT:
        return -np.abs(np.asarray(values) - RIGHT_AT[metric])
    return np.asarray(values) * (-1 if metric.endswith(SMALLER_IS_BETTER) else 1)


def _paired(values: np.ndarray, reference: np.ndarray, metric: str, kind: Kind) -> Paired:
    difference = kind.means(values - reference)
    gain = kind.means(merit(values, metric) - merit(reference, metric))
    found = kind.test(values - reference)
    p = found.p if kind.in_time else signed_rank_p(difference, np.zeros(difference.size))
    words = kind.words(values.size, found.effective)
    return Paired(
        float((values - reference).mean()), found.low, found.high, float((gain > 0).mean()), p, difference.size, words
    )


def _write(path: Path, answers: Mapping[Question, tuple[Sequence[Row], Mapping[str, Paired]]]) -> None:
    header = ["split", "target", "metric", "model", "mean", "ci_low", "ci_high", "units", "unit", "seeds"]
    header += ["difference", "difference_low", "difference_high", "share_better", "p", "p_adjusted", "note"]
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(header)
        for question, (rows, tests) in answers.items():
            for row in rows:
                low, high = row.interval
                cells = [*question, row.name, row.mean, low, high, row.means.size, row.kind.name, row.seeds]
                test = tests.get(row.name)
                more = [test.difference, test.low, test.high, test.better, test.p, test.adjusted] if test else [""] * 6
                words = test.words if test else row.kind.words(len(row.units), row.tested.effective)
                writer.writerow([*cells, *more, words])


def _part(
    answers: Mapping[Question, tuple[Sequence[Row], Mapping[str, Paired]]],
    published: Published | None,
) -> Part:
    sections = []
    for (split, target, metric), (rows, tests) in answers.items():
        blocks: list[Block] = [
            _page_table(target, metric, rows, tests, published),
            _figure(metric, target, rows),
        ]
        sections.append(Section(f"{target}, {metric.replace('_', ' ')}, {split}", blocks))
    return Part(
        title="Models side by side",
        subtitle=f"Paired over {', '.join(dict.fromkeys(rows[0].kind.name for rows, _ in answers.values()))}",
        summary=[_sentence(*question, rows) for question, (rows, _) in answers.items()],
        sections=sections,
        references=[published.source] if published else [],
    )


def _sentence(split: str, target: str, metric: str, rows: Sequence[Row]) -> str:
    best = sorted(rows, key=lambda row: -float(merit(row.mean, metric)))[:3]
    return (
        f"{target}, {metric.replace('_', ' ')} ({split}): best {', '.join(f'{r.name} {short(r.mean)}' for r in best)}."
    )


def _page_table(
    target: str,
    metric: str,
    rows: Sequence[Row],
    tests: Mapping[str, Paired],
    published: Published | None,
) -> Table:
    reference = next(row.name for row in rows if row.name not in tests)
    figures = published.values.get(target, {}) if published else {}
    cells = []
    for row in rows:
        test, figure = tests.get(row.name), figures.get(row.name, {}).get(metric)
        compared = ["", "", "", ""]
        if test is not None:
            compared = [
                short(test.difference),
                short_interval(test.low, test.high),
                f"{test.better:.0%}",
                p_value(test.adjusted),
            ]
        there = "–" if figure is None else f"{short(figure[0])} ± {short(figure[1])}"
        mean = [short(row.mean), short_interval(*row.interval), str(row.means.size), str(row.seeds)]
        cells.append([row.name, *mean, *compared, *([there] if published else [])])
    name = rows[0].kind.name
    header = [
        "Model",
        "Mean",
        "95 % interval",
        name.capitalize(),
        "Runs",
        f"Minus {reference}",
        "95 % interval",
        "Better",
        "p",
    ]
    caption = (
        f"Mean over {name} and its 95 % interval (Student's t); difference to the reference over shared {name}, share of "
        f"{name} better than it, and p of {BLOCK_TEST if rows[0].kind.in_time else PAIRED_TEST}."
    )
    header += ["Published"] if published else []
    return Table(caption, header, cells, frozenset(range(1, len(header))), _notes(rows, tests))


def _notes(rows: Sequence[Row], tests: Mapping[str, Paired]) -> list[str]:
    """Say what the units are and what their number allows, each once."""
    found = [test.words for test in tests.values()]
    found = found or [rows[0].kind.words(len(rows[0].units), rows[0].tested.effective)]
    return [f"{words[:1].upper()}{words[1:]}." for words in dict.fromkeys(found)]


def _figure(metric: str, target: str, rows: Sequence[Row]) -> Block:
    rng = np.random.default_rng(0)

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for y, row in enumerate(rows):
            values = np.array(list(row.units.values()))
            shown = rng.permutation(values)[:SHOWN_UNITS]
            axes.plot(shown, y + rng.uniform(-0.25, 0.25, shown.size), "o", color=GREY, ms=1.6, alpha=0.35, mew=0)
            low, high = row.interval
            axes.plot([low, high], [y, y], color=BLUE, lw=2.4)
            axes.plot(row.mean, y, "|", color=BLACK, ms=10, mew=1.4)
        axes.set_yticks(range(len(rows)), [row.name for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(f"{metric.replace('_', ' ')} of {target}")
        values = np.concatenate([list(row.units.values()) for row in rows])
        if (values > 0).all() and values.max() > 30 * np.median(values):
            axes.set_xscale("log")

    caption = "Grey: units, or the windows of blocks; blue: 95 % interval of the mean; black: mean."
    return draw(paint, height=0.6 + 0.26 * len(rows), alt=f"{metric} of every model", caption=caption)
