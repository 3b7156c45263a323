"""Hidden cells told from the others: models beside linear references, and cell by cell against factor analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Canvas

from neurodyn.data.scores import Score
from neurodyn.evaluate.cosmoothing import BITS, GAIN, OVER_TRIALS, R2
from neurodyn.report.blocks import Block, Cited, Figure, Part, Section, Table, interval, number
from neurodyn.report.style import BLACK, BLUE, GREY, ORANGE, draw

BENCHMARK = "Pei F. et al. (2021). Neural Latents Benchmark '21. NeurIPS Datasets and Benchmarks."
GPFA = "Yu B.M. et al. (2009). Gaussian-process factor analysis. J. Neurophysiol. 102:614-635."
FACTORS = "Everitt B.S. (1984). An introduction to latent variable models. Chapman & Hall."
Found = Mapping[tuple[str, str], Score]
Shown = tuple[str, int, str]


def cosmoothing_part(title: str, scores: Sequence[Score], settings: Mapping[str, Any]) -> Part:
    """Show every run: its rows, its cells against those of factor analysis, and a table."""
    runs = list(dict.fromkeys(_run(score) for score in scores if score.metric == R2 + GAIN))
    sections, summary = [], []
    for run in runs:
        own = _of_run(scores, run)
        whole = {(score.metric, score.model): score for score in own if score.fold == "all"}
        gain, first = whole[R2 + GAIN, run[2]], whole[R2, run[2]]
        summary.append(_sentence(run, first, gain))
        blocks: list[Block] = [_figure(whole, own, run[2]), _table(whole)]
        sections.append(Section(f"{run[2]}, seed {run[1]}: {first.target}, {run[0]}, {first.split}", blocks))
    return Part(title, subtitle="Hidden cells", summary=summary, sections=sections, methods=_methods(settings))


def _run(score: Score) -> Shown:
    return score.session, score.seed, score.model


def _of_run(scores: Sequence[Score], run: Shown) -> list[Score]:
    """Return the rows of a run and of its references, which follow one another up to the next run's."""
    own: list[Score] = []
    mine = False
    for score in scores:
        if score.metric == R2 and score.fold == "all" and score.model == run[2]:
            mine = (score.session, score.seed) == run[:2]
        if mine and (score.session, score.seed) == run[:2]:
            own.append(score)
    return own


def _sentence(run: Shown, first: Score, gain: Score) -> str:
    against = gain.features.rpartition(" minus ")[2]
    told = "above" if gain.ci_low > 0 else "below" if gain.ci_high < 0 else "not told apart from"
    return (
        f"Hidden cells of {run[0]} told from the others: {run[2]} R² {number(first.value)} {interval(first.ci_low, first.ci_high)}, "
        f"{told} {against} (difference {number(gain.value)} {interval(gain.ci_low, gain.ci_high)}; {gain.n} cells)."
    )


def _figure(whole: Found, own: Sequence[Score], model: str) -> Figure:
    rows = [score for (metric, _), score in whole.items() if metric == R2]
    against = next(name for _, name in whole if name.startswith("factor analysis"))
    pairs = np.array([_cells(own, name) for name in (against, model)])

    def paint(canvas: Canvas) -> None:
        left, right = canvas.subplots(1, 2, width_ratios=(1.25, 1))
        for y, row in enumerate(rows):
            colour = BLUE if row.model == model else ORANGE if row.model == against else GREY
            left.plot([row.ci_low, row.ci_high], [y, y], color=colour, lw=1.4)
            left.plot(row.value, y, "o", color=colour, ms=5)
        left.axvline(0, color=BLACK, lw=0.6, ls="--")
        left.set_yticks(range(len(rows)), [row.model for row in rows])
        left.set_ylim(len(rows) - 0.5, -0.5)
        left.set_xlabel("R² of hidden cells")
        low, high = min(0.0, float(np.nanmin(pairs))), float(np.nanmax(pairs))
        room = 0.04 * (high - low)
        right.plot([low, high], [low, high], color=BLACK, lw=0.7, ls="--")
        right.plot(*pairs, "o", color=BLUE, ms=4, alpha=0.7, mew=0)
        right.set_xlim(low - room, high + room)
        right.set_ylim(low - room, high + room)
        right.set_aspect("equal")
        right.set_xlabel(f"R², {against}")
        right.set_ylabel(f"R², {model}")
        right.set_title(f"{int((pairs[1] > pairs[0]).sum())} of {pairs.shape[1]} cells above the line")

    caption = "Left: mean over cells, bars 95 % intervals over cells. Right: a dot per cell."
    return draw(paint, height=2.9, alt="R² of hidden cells by model and by cell", caption=caption)


def _cells(own: Sequence[Score], model: str) -> list[float]:
    return [score.value for score in own if score.model == model and score.metric == R2 and score.fold != "all"]


def _table(whole: Found) -> Table:
    models = [model for metric, model in whole if metric == R2]
    with_bits = (BITS, models[0]) in whole
    rows = []
    for model in models:
        cells = whole[R2, model]
        trials = whole[R2 + OVER_TRIALS, model]
        row = [
            model,
            number(cells.value),
            interval(cells.ci_low, cells.ci_high),
            interval(trials.ci_low, trials.ci_high),
        ]
        if with_bits:
            bits = whole[BITS, model]
            row.append(f"{number(bits.value)} {interval(bits.ci_low, bits.ci_high)}")
        rows.append(row)
    gains = [whole[R2 + GAIN + suffix, models[0]] for suffix in ("", OVER_TRIALS)]
    spans = [interval(gain.ci_low, gain.ci_high) for gain in gains]
    rows.append([gains[0].features, number(gains[0].value), *spans, *(["–"] if with_bits else [])])
    trials = gains[1]
    header = ["Model", "R²", f"over {gains[0].n} cells", f"over {trials.n} {trials.unit}"]
    header += ["Bits per spike"] if with_bits else []
    caption = "Mean R² of hidden cells; in brackets 95 % intervals, resampling cells or what else is named."
    return Table(caption, header, rows, frozenset(range(1, len(header))))


def _methods(settings: Mapping[str, Any]) -> list[Cited]:
    past = settings.get("past_only")
    last = " Only the last frame of each window is scored, of which nothing later tells." if past else ""
    widths = f"Gaussians of 0, 0.1, 0.3 and 1 s{' that reach back' if past else ''} within the window"
    return [
        Cited(
            "Cells were hidden from the models throughout a window, one group after another "
            f"(at most {settings.get('groups')} groups, random seed {settings.get('seed')}), and told from the others.{last}",
            [BENCHMARK],
        ),
        Cited(
            f"Ridge regression reads the others in the same frame, or smoothed by {widths}; its penalty predicts the last fifth "
            "of the training windows best."
        ),
        Cited("Factor analysis gives the exact posterior mean of its factors from the cells that are seen.", [FACTORS]),
        Cited("GPFA gives its factors a Gaussian process each, with the loadings of factor analysis.", [GPFA]),
    ]
