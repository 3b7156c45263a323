"""Decoding over time, over numbers of cells, and from one time to another, as figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from neurodyn.data.curves import Curve
from neurodyn.decode.curve_words import curve_facts, curve_sentence
from neurodyn.metrics.order import runs
from neurodyn.report.blocks import Block, Figure, Items
from neurodyn.report.style import BLACK, BLUE, GREY, PALE, RED, WIDTH, draw

WORDS = {"r2": "R²"}


def curve_blocks(curves: Sequence[Curve]) -> list[Block]:
    """Show curves of one target in one session, each with what p and intervals are."""
    blocks: list[Block] = []
    for curve in curves:
        blocks += [curve_figure(curve), Items([curve_sentence(curve), *curve_facts(curve)])]
    return blocks


def curve_figure(curve: Curve) -> Figure:
    """Draw one curve."""
    kind = {"time": _time, "cells": _cells, "generalise": _generalise}[curve.kind]

    def paint(canvas: Canvas) -> None:
        kind(canvas, curve)
        canvas.suptitle(f"{curve.target}, {curve.session}: {curve.features}, {curve.decoder}", fontsize="medium")

    width, height = (5.2, 4.2) if curve.kind == "generalise" else (WIDTH, 2.9)
    caption = f"{_caption(curve)} {_ends(curve)}"
    return draw(paint, height=height, width=width, alt=ALT[curve.kind].format(curve.target), caption=caption)


ALT = {
    "time": "Score for {} along trials",
    "cells": "Score for {} over numbers of cells",
    "generalise": "Score for {} trained at one time and tested at another",
}


def _metric(curve: Curve) -> str:
    return WORDS.get(curve.metric, curve.metric)


def _caption(curve: Curve) -> str:
    score = f"{_metric(curve)[:1].upper()}{_metric(curve)[1:]} for {curve.target}, {curve.n} {curve.unit}, {curve.split} split."
    if curve.kind == "time":
        threshold = (
            " Dotted: what 95 % of shuffles do not exceed at any time; black bars: times at which the target is told from "
            "chance, all corrected for."
            if curve.threshold == curve.threshold
            else ""
        )
        return f"{score} Line and band: score with 95 % interval at each time; grey: 95 % of label shuffles.{threshold}"
    if curve.kind == "cells":
        return f"{score} Dots: mean over random draws of cells, with 95 % intervals; grey: 95 % of label shuffles, of all cells."
    return (
        f"{score} Rows: time of training; columns: time of testing, on trials that no decoder was trained on. Outlined: pairs "
        "of times at which the target is told from chance, all corrected for."
    )


def _ends(curve: Curve) -> str:
    dashed = "Dashed: chance." if curve.kind != "generalise" else "The colour of chance is marked beside the scale."
    return dashed if curve.kind == "cells" else f"{dashed} Times are those of a window's last frame."


def _time(canvas: Canvas, curve: Curve) -> None:
    axes, end = canvas.subplots(), curve.axes["end_s"]
    axes.fill_between(end, curve.shuffled_low, curve.shuffled_high, color="#BDBDBD", lw=0, label="shuffled labels")
    axes.fill_between(end, curve.ci_low, curve.ci_high, color=BLUE, alpha=0.25, lw=0, label="95 % interval")
    axes.plot(end, curve.value, "o-", ms=3, color=BLUE, label=_metric(curve))
    if curve.threshold == curve.threshold:
        axes.axhline(curve.threshold, color=GREY, ls=":", lw=1, label="corrected p = .05")
    _chance(axes, curve)
    axes.axvline(0, color=GREY, lw=0.8)
    top = float(np.nanmax([curve.value.max(), np.nanmax(curve.ci_high, initial=-np.inf)]))
    low = axes.get_ylim()[0]
    height, half = top + 0.06 * (top - low), np.median(np.diff(end)) / 2
    found = [run for run in runs(curve.told.astype(float)) if curve.told[run[0]]]
    for run in found:
        span, label = [end[run[0]] - half, end[run[-1]] + half], "told from chance" if run is found[0] else None
        axes.plot(span, [height, height], color=BLACK, lw=3, solid_capstyle="butt", label=label)
    axes.set_ylim(low, top + 0.12 * (top - low))
    axes.set_xlabel("end of the window, s from onset")
    axes.set_ylabel(_metric(curve))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _chance(axes: Axes, curve: Curve) -> None:
    if curve.chance == curve.chance:
        axes.axhline(curve.chance, color=BLACK, ls="--", lw=0.8, label="chance")


def _cells(canvas: Canvas, curve: Curve) -> None:
    axes, cells = canvas.subplots(), curve.axes["cells"]
    low, high = curve.shuffled_low[-1], curve.shuffled_high[-1]
    if low == low:
        axes.axhspan(low, high, color="#BDBDBD", lw=0, label="shuffled labels")
    for x, bottom, top in zip(cells, curve.ci_low, curve.ci_high, strict=True):
        axes.plot([x, x], [bottom, top], color=BLUE, lw=1.4)
    axes.plot(cells, curve.value, "o-", ms=4, color=BLUE, label=_metric(curve))
    _chance(axes, curve)
    axes.set_xscale("log", base=2)
    axes.set_xticks(cells, [f"{int(x)}" for x in cells])
    axes.set_xlabel("number of cells")
    axes.set_ylabel(_metric(curve))
    axes.grid(axis="y", color=PALE, lw=0.6)
    axes.set_axisbelow(True)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _generalise(canvas: Canvas, curve: Curve) -> None:
    size = round(np.sqrt(curve.value.size))
    value, told = curve.value.reshape(size, size), curve.told.reshape(size, size)
    end = curve.axes["test_end_s"][:size]
    half = np.median(np.diff(end)) / 2
    ends = (end[0] - half, end[-1] + half)
    axes = canvas.subplots()
    mappable = axes.imshow(
        value, origin="lower", cmap="cividis", extent=(*ends, *ends), vmin=min(curve.chance, value.min())
    )
    _outline(axes, told, np.append(end - half, ends[1]))
    for line in (axes.axhline, axes.axvline):
        line(0, color="white", lw=0.8, ls="--")
    axes.set_xlabel("tested: end of the window, s from onset")
    axes.set_ylabel("trained: end of the window, s from onset")
    bar = canvas.colorbar(mappable, ax=axes, label=_metric(curve))
    bar.ax.axhline(curve.chance, color="white", lw=2)
    bar.ax.annotate(
        "chance", (0, curve.chance), (-3, 0), textcoords="offset points", ha="right", va="center", fontsize=7
    )


def _outline(axes: Axes, told: np.ndarray, edges: np.ndarray) -> None:
    """Draw the borders between what is told and what is not."""
    padded = np.pad(told, 1)
    for row, column in np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1]):
        axes.plot(edges[[column, column + 1]], edges[[row, row]], color=RED, lw=1.2)
    for row, column in np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1]):
        axes.plot(edges[[column, column]], edges[[row, row + 1]], color=RED, lw=1.2)
