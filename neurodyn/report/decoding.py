"""What could be decoded: dots with intervals, tables, and the result in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from neurodyn.data.curves import Curve
from neurodyn.data.guesses import Guesses
from neurodyn.data.scores import Score
from neurodyn.metrics.nulls import FACTS, UNTOLD, facts
from neurodyn.report.blocks import Block, Figure, Items, Section, Table, Text, interval, number
from neurodyn.report.curves import curve_blocks
from neurodyn.report.guesses import guesses_figure
from neurodyn.report.style import BLACK, BLUE, GREY, PALE, draw

SHUFFLED = re.compile(r"shuffled 95 %: (-?[\d.]+) to (-?[\d.]+)")
OF_ROWS = re.compile(r"of \d+ rows p ([\d.]+)")
CHANCE = re.compile(r"chance ([\d.]+)")
WORDS = {"r2": "R²", "mse": "MSE", "error, deg": "error (degrees)"}
BASES = {
    "pca": "principal components of training frames",
    "factors": "common factors of cells, by factor analysis of training frames",
    "reduced_rank": "what tells the next half second, by linear regression of training frames",
    "summary": "what the model keeps of a window to tell what follows",
    "latents": "the model's latents",
    "reconstruction": "the model's reconstruction",
    "attention": "the model's attention",
    "rates": "the model's firing rates",
    "inputs": "the model's inferred inputs",
    "inferred_spikes": "the model's inferred spikes",
}
REDUCTIONS = {
    "last": "last frame",
    "change": "last minus first frame",
    "initial": "first frame",
    "mean": "mean over the window",
    "flat": "whole window",
    "sequence": "every frame in order",
    "response": "mean after minus mean before the event",
    "patches": "means over patches",
    "best": "in the form that training folds chose",
    "whole": "all of it",
    "sources": "its linear part, turned to independent sources",
    "state": "the network's state alone",
}
PRIMARY = ("r2", "accuracy", "mean cosine")
RANDOM = "random"
SESSION = "session"
READING = (
    "Values are pooled over test folds. Under every table stand the order of conditions, the null that p rests on, what the "
    "intervals cover and the unit. Paired differences (minus) are of the same trials and folds. Null labels keep whatever the time within a trial says about the label (for instance, that "
    "a stimulus is on at all). R² is relative to the mean of the training labels: 0 is no better than that mean. "
    "Directions, orientations and phases are scored on the circle: the mean cosine of the error is 1 without errors and 0 at "
    "chance where they are spread evenly; errors are absolute, in degrees, the short way round."
)
LEFT_OUT = (
    "Windows left out: what cannot be decoded is not scored. A window has no label where it ends outside any stimulus or "
    "where the behaviour was not recorded; one that lies across the border of two trials or segments would stand on both "
    "sides of a split. No decoder was fitted to such windows or tested on them."
)


def words(metric: str) -> str:
    """Return a metric's name for readers."""
    return WORDS.get(metric, metric)


def pooled(scores: Iterable[Score]) -> list[Score]:
    """Return the rows pooled over folds."""
    return [score for score in scores if score.fold == "all"]


def decoding_section(scores: list[Score], guesses: Sequence[Guesses] = (), curves: Sequence[Curve] = ()) -> Section:
    """Show every decoding: a figure per target, a table per target and split, what was guessed, and curves."""
    rows = pooled(scores)
    names = dict.fromkeys(row.features for row in rows if row.features)
    blocks: list[Block] = []
    for group in _grouped(rows, lambda s: (s.session, s.target)).values():
        blocks.append(_figure(group))
        for part in _grouped(group, lambda s: s.split).values():
            blocks.append(_table(part))
            blocks += _guessed(part, guesses)
        key = (group[0].session, group[0].target)
        blocks += curve_blocks([curve for curve in curves if (curve.session, curve.target) == key])
    left = [Text(LEFT_OUT)] if any("left out" in row.note for row in rows) else []
    reading = [Text(READING), *left, Items([f"{name}: {describe(name)}" for name in names])]
    return Section("Decoding", [*blocks, *reading])


def _guessed(rows: list[Score], guesses: Sequence[Guesses]) -> list[Figure]:
    """Show the guesses of each decoder; none of a split that leaks."""
    figures = []
    for table in guesses:
        key = (table.session, table.target, table.split, table.decoder)
        mine = [row for row in rows if (row.session, row.target, row.split, row.decoder) == key]
        if mine and table.split != RANDOM:
            metric = primary_metric(mine)
            mine = [row for row in mine if row.metric == metric]
            figures.append(guesses_figure(table, mine, {row.features: row_label(row) for row in mine}))
    return figures


def _grouped(rows: list[Score], key: Callable[[Score], Hashable]) -> dict[Hashable, list[Score]]:
    groups: dict[Hashable, list[Score]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def describe(features: str) -> str:
    """Return a feature's name in plain words."""
    base, _, reduction = features.partition(":")
    what = BASES.get(base, base)
    how = " and ".join(REDUCTIONS.get(part, part) for part in reduction.split("+") if part)
    return f"{what}, {how}" if how else what


def primary_metric(rows: list[Score]) -> str:
    """Return the metric to draw: R² or accuracy, else the first there is."""
    found = [row.metric for row in rows]
    return next((metric for metric in PRIMARY if metric in found), found[0])


def is_signal(score: Score) -> bool:
    """Say whether a row was decoded from the signal itself rather than from a model."""
    return score.model in ("none", "")


def null_range(score: Score) -> tuple[float, float]:
    """Return the 95 % range over label shuffles, NaN where no note gives it."""
    found = SHUFFLED.search(score.note)
    return (float(found[1]), float(found[2])) if found else (float("nan"), float("nan"))


def chance_level(score: Score) -> float:
    """Return the level of a decoder that knows nothing: from the note, else 0 for R², else NaN."""
    found = CHANCE.search(score.note)
    if found:
        return float(found[1])
    return 0.0 if score.metric == "r2" else float("nan")


def row_label(score: Score, decoder: bool = False) -> str:
    """Return what was decoded from, what made it where that is a model, and the decoder where asked for."""
    features = score.features or score.model
    named = features if is_signal(score) or not score.features else f"{features} ({score.model})"
    return f"{named}, {score.decoder}" if decoder else named


def _figure(rows: list[Score]) -> Figure:
    metric = primary_metric(rows)
    splits = _grouped([row for row in rows if row.metric == metric], lambda s: s.split)
    several = len({row.decoder for row in rows}) > 1
    names = list(dict.fromkeys(row_label(row, several) for part in splits.values() for row in part))

    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(1, len(splits), sharex=True, sharey=True, squeeze=False)[0]
        for axes, (split, part) in zip(panels, splits.items(), strict=True):
            _dots(axes, part, names, several)
            axes.set_title(f"{split} split" + (" (leaks)" if split == RANDOM else ""))
            axes.set_xlabel(words(metric))
        handles, labels = panels[0].get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        canvas.suptitle(f"{rows[0].target}, {rows[0].session}", fontsize="medium")
        canvas.legend(list(unique.values()), list(unique), loc="outside lower center", ncols=4)

    caption = (
        f"{words(metric)} for {rows[0].target}, {rows[0].session}: dots with 95 % intervals over {rows[0].unit}. "
        "Grey bars: 95 % of label shuffles. Dashed: chance, knowing nothing."
    )
    if SESSION in splits:
        caption += " Session split: trained on another session of the same cells."
    if RANDOM in splits:
        caption += " The random split lets neighbours of test windows into training; do not read it as generalisation."
    height = 1.5 + 0.27 * len(names)
    return draw(paint, height=height, alt=f"{words(metric)} of every decoding of {rows[0].target}", caption=caption)


def _dots(axes: Axes, rows: list[Score], names: list[str], several: bool) -> None:
    for row in rows:
        y = names.index(row_label(row, several))
        low, high = null_range(row)
        if low == low:
            axes.barh(y, high - low, left=low, height=0.55, color="#BDBDBD", lw=0, label="shuffled labels", zorder=1)
        colour, marker = (BLACK, "o") if is_signal(row) else (BLUE, "D")
        axes.plot([row.ci_low, row.ci_high], [y, y], color=colour, lw=1.4, zorder=3)
        label = "from the signal" if is_signal(row) else "from the model"
        axes.plot(row.value, y, marker, color=colour, ms=5, ls="none", label=label, zorder=4)
    chance = chance_level(rows[0])
    if np.isfinite(chance):
        axes.axvline(chance, color=GREY, ls="--", lw=0.8, label="chance", zorder=2)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", color=PALE, lw=0.6, zorder=0)
    axes.set_axisbelow(True)


def _table(rows: list[Score]) -> Table:
    """Show one target and split: a row per feature, the drawn metric first."""
    first = primary_metric(rows)
    others = [metric for metric in dict.fromkeys(row.metric for row in rows) if metric != first]
    groups = [
        {row.metric: row for row in some} for some in _grouped(rows, lambda s: row_label(s, decoder=True)).values()
    ]
    notes = list(dict.fromkeys(note for group in groups if (note := _plain_note(_main(group, first)))))
    cells = [_cells(group, first, others, notes) for group in groups]
    header = ["Features", "From", "Decoder", words(first), "Shuffled", "p", *map(words, others), "n"]
    caption = (
        f"{rows[0].target}, {rows[0].session}, {rows[0].split} split; n in {rows[0].unit}. In brackets: 95 % ranges."
    )
    numbered = [f"[{k + 1}] {note}" for k, note in enumerate(notes)] if len(notes) > 1 else notes
    numbered = [*numbered, *dict.fromkeys(fact for row in rows for fact in facts(row.note))]
    numeric = frozenset(range(3, len(header)))
    return Table(f"{caption} {_chance_words(rows, first)}".strip(), header, cells, numeric, numbered)


def _cells(by_metric: dict[str, Score], first: str, others: list[str], notes: list[str]) -> list[str]:
    main = _main(by_metric, first)
    note = _plain_note(main)
    mark = f" [{notes.index(note) + 1}]" if note and len(notes) > 1 else ""
    shuffled = f"{number(main.null_mean)} {interval(*null_range(main))}".strip()
    rest = [_value(by_metric.get(metric)) for metric in others]
    made = "signal" if is_signal(main) else main.model
    name = (main.features or main.model) + mark
    return [name, made, main.decoder, _value(main), shuffled, number(main.p), *rest, str(main.n)]


def _main(by_metric: dict[str, Score], first: str) -> Score:
    """Return the row of the drawn metric; of another where a decoding of another kind has none."""
    return by_metric.get(first) or next(iter(by_metric.values()))


def _value(score: Score | None) -> str:
    return "–" if score is None else f"{number(score.value)} {interval(score.ci_low, score.ci_high)}".strip()


def _chance_words(rows: list[Score], metric: str) -> str:
    chance = next((chance_level(row) for row in rows if row.metric == metric and "chance" in row.note), float("nan"))
    return f"Chance {words(metric)}: {chance:.3f}." if chance == chance else ""


def _plain_note(score: Score) -> str:
    """Return a note without what the table shows in columns, or once for all rows."""
    shown = (SHUFFLED, CHANCE, OF_ROWS)
    parts = [part for part in score.note.split("; ") if not any(one.match(part) for one in shown)]
    parts = [part for part in parts if not part.startswith(FACTS)]
    return "; ".join(parts)


def decoding_summary(scores: list[Score]) -> list[str]:
    """Say in words what was decoded how well, per target, by the strictest split there is."""
    sentences = []
    for group in _grouped(pooled(scores), lambda s: (s.session, s.target)).values():
        metric = primary_metric(group)
        splits = _grouped([row for row in group if row.metric == metric], lambda s: s.split)
        honest = next((splits[name] for name in ("blocked", "trial") if name in splits), None)
        if honest is None:
            split, rows = next(iter(splits.items()))
            sentences.append(
                _sentence(rows, metric) + f" Only a {split} split was scored: not a test of generalisation."
            )
            continue
        sentences.append(_sentence(honest, metric))
        sentences += [_across(splits[SESSION], metric)] if SESSION in splits else []
    return sentences


def _across(rows: list[Score], metric: str) -> str:
    """Say how well decoders of another session do."""
    trained = next(part for part in rows[0].note.split("; ") if part.startswith("trained on "))
    return f"{_sentence(rows, metric)} Decoders were {trained}."


def _sentence(rows: list[Score], metric: str) -> str:
    signal, model = ([row for row in rows if is_signal(row) == side] for side in (True, False))
    best = [max(side, key=lambda row: row.value) for side in (model, signal) if side]
    said = [
        f"from {describe(row.features) or row.model} with {words(metric)} {number(row.value, 2)} (95 % interval "
        f"{number(row.ci_low, 2)} to {number(row.ci_high, 2)}; shuffled labels {number(row.null_mean, 2)}, "
        f"p = {number(row.p)})"
        for row in best
    ]
    text = f"{rows[0].target} in {rows[0].session} {_verdict(best)} {', and '.join(said)}; {rows[0].n} {rows[0].unit}, "
    text = f"{text[:1].upper()}{text[1:]}{rows[0].split} split."
    if len(best) == 2 and best[0].ci_low <= best[1].ci_high and best[1].ci_low <= best[0].ci_high:
        text += " The two intervals overlap."
    if len(rows) > len(best):
        text += (
            f" Best of {len(rows)} rows, chosen after scoring, so a little optimistic; p of the verdict allows for it."
        )
    return text


def _verdict(best: list[Score]) -> str:
    """Say "decoded" only of what beats both the null, as one of all rows tried, and knowing nothing."""
    if any(UNTOLD in row.note for row in best):
        return f"was scored without a null, and {UNTOLD}, since conditions are in an order of their own:"
    if all(row.p != row.p for row in best):
        return "was scored, without a null,"
    found = [p_of_rows(row) <= 0.05 and not row.value <= chance_level(row) for row in best]
    return "was decoded" if any(found) else "could not be told from chance:"


def p_of_rows(score: Score) -> float:
    """Return p of a row as one of those that were tried together, where its note gives it; else its own."""
    found = OF_ROWS.search(score.note)
    return float(found[1]) if found else score.p
