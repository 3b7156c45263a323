"""Inferred against recorded spikes: a table and a figure per metric, and every cell by its noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from neurodyn.data.scores import Score
from neurodyn.evaluate.spikes import BIAS, NOISE
from neurodyn.report.blocks import Figure, Part, Section
from neurodyn.report.decoding import pooled
from neurodyn.report.evaluation import COLOURS, MARKERS, evaluation_section, evaluation_summary
from neurodyn.report.provenance import config_section
from neurodyn.report.style import GREY, draw

LEAST_CELLS = 4  # fewer have no course along the noise
TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)


def spikes_part(title: str, scores: Sequence[Score], settings: Mapping[str, Any]) -> Part:
    """Show scores that `evaluate --metric spikes` wrote."""
    whole = [score for score in pooled(scores) if score.metric != NOISE]
    cells = {(score.session, score.fold) for score in scores if score.fold != "all"}
    noise = noise_section(scores)
    return Part(
        title=title,
        subtitle="Evaluation against ground truth",
        summary=evaluation_summary(whole),
        sections=[
            *([evaluation_section(whole)] if whole else []),
            *([noise] if noise else []),
            config_section(settings, {}),
        ],
        methods=[f"{len(cells)} cells were scored against spikes that were recorded beside their fluorescence."],
    )


def noise_section(scores: Sequence[Score]) -> Section | None:
    """Show every cell's scores over its noise level; None where no noise level is known."""
    noise = {(score.session, score.fold): score.value for score in scores if score.metric == NOISE}
    rows = [score for score in scores if (score.session, score.fold) in noise and score.metric != NOISE]
    if not rows:
        return None
    shown = [metric for metric in dict.fromkeys(row.metric for row in rows) if metric.startswith("r at")][:2]
    metrics = [*shown, *[metric for metric in (BIAS,) if any(row.metric == metric for row in rows)]]
    return Section("By noise level", [_figure(rows, noise, metrics)])


def _figure(rows: Sequence[Score], noise: Mapping[tuple[str, str], float], metrics: Sequence[str]) -> Figure:
    features = list(dict.fromkeys(row.features for row in rows))

    def paint(canvas: Canvas) -> None:
        for axes, metric in zip(canvas.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
            for k, feature in enumerate(features):
                chosen = [row for row in rows if (row.metric, row.features) == (metric, feature)]
                levels = np.array([noise[row.session, row.fold] for row in chosen])
                _course(axes, levels, np.array([row.value for row in chosen]), k, feature)
            axes.set_xscale("log")
            low, high = axes.get_xlim()
            shown = [tick for tick in TICKS if low <= tick <= high]
            axes.set_xticks(shown, [f"{tick:g}" for tick in shown])
            axes.minorticks_off()
            axes.set_xlabel("noise level ν, %/√Hz")
            axes.set_title(metric)
            axes.axhline(0, color=GREY, lw=0.6, zorder=0)
        handles, labels = canvas.axes[0].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside lower center", ncols=min(4, len(features)))

    caption = (
        "A mark per cell, and the running median of a third of the cells. Of the bias, 0 is as many spikes expected as "
        "fired, 1 twice as many, -1 half; only what is in units of spikes has one."
    )
    return draw(paint, height=3.2, alt="Scores and bias of every cell by its noise level", caption=caption)


def _course(axes: Axes, levels: np.ndarray, values: np.ndarray, place: int, label: str) -> None:
    """Draw a feature's cells, and the running median over a third of them."""
    known = np.isfinite(values) & (levels > 0)
    order = np.argsort(levels[known])
    x, y = levels[known][order], values[known][order]
    if not x.size:
        return
    colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
    axes.plot(x, y, marker, color=colour, ms=2.5, ls="none", alpha=0.45, label=label)
    if x.size < LEAST_CELLS:
        return
    half = max(1, x.size // 6)
    axes.plot(x, [np.median(y[max(0, k - half) : k + half + 1]) for k in range(x.size)], color=colour, lw=1.6)
