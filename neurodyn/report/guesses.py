"""What was guessed beside what was true: confusion matrices of classes, guesses over the labels of numbers and circles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from neurodyn.data.guesses import Guesses
from neurodyn.data.scores import Score
from neurodyn.report.blocks import Figure
from neurodyn.report.style import BLACK, BLUE, GREY, draw

FEW = 12  # labels that are shown one by one
BINS = 12
MOST_SHOWN = 4000


def guesses_figure(guesses: Guesses, scores: Sequence[Score], labels: dict[str, str]) -> Figure:
    """Draw the guesses of the best row of the signal, and of the best row of a model where there is one.

    Parameters
    ----------
    scores
        Rows of one metric, of these guesses.
    labels
        Features -> what the panel is called.
    """
    shown = _best(scores, guesses)

    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(1, 2, sharex=True, sharey=True)  # of one row, the second is empty: one size everywhere
        for axes in panels[len(shown) :]:
            axes.set_visible(False)
        for axes, name in zip(panels, shown, strict=False):
            kind = {"classify": _confusion, "regress": _numbers, "circular": _circle}[guesses.task]
            kind(axes, guesses, guesses.guessed[name])
            axes.set_title(labels[name], fontsize="medium")

    return draw(
        paint,
        height=3.3,
        alt=f"Guesses of {guesses.target} beside what was true",
        caption=_caption(guesses, shown, labels),
    )


def _best(scores: Sequence[Score], guesses: Guesses) -> list[str]:
    """Name the best row of the signal and the best of a model."""
    there = [score for score in scores if score.features in guesses.guessed]
    sides = ([s for s in there if (s.model in ("none", "")) == signal] for signal in (True, False))
    return [max(side, key=lambda score: score.value).features for side in sides if side]


def _caption(guesses: Guesses, shown: Sequence[str], labels: dict[str, str]) -> str:
    how = {
        "classify": "Of every true class (row), the share of samples guessed as each class",
        "regress": "Guesses over true values: each sample, and mean ± standard deviation at each value or bin of values",
        "circular": "Of every true angle (column), the share of samples guessed in each bin",
    }[guesses.task]
    rows = " and ".join(labels[name] for name in shown)
    chosen = "the best row" if len(shown) == 1 else "the best row of the signal and that of the model"
    return (
        f"{how}; {guesses.target}, {guesses.session}, {guesses.decoder}, {guesses.split} split, each sample tested once. "
        f"Shown: {rows}, {chosen}, chosen after scoring."
    )


def _confusion(axes: Axes, guesses: Guesses, guessed: np.ndarray) -> None:
    classes = _ordered(np.unique(guesses.true))
    counts = np.array([[np.sum((guesses.true == a) & (guessed == b)) for b in classes] for a in classes], dtype=float)
    share = counts / counts.sum(axis=1, keepdims=True)
    axes.imshow(share, cmap="cividis", vmin=0, vmax=1)
    if len(classes) <= FEW:
        for (row, column), value in np.ndenumerate(share):
            colour = BLACK if value > 0.6 else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=6, color=colour)
        axes.set_xticks(range(len(classes)), classes, rotation=90)
        axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel(f"guessed {guesses.target}")
    axes.set_ylabel(f"true {guesses.target}")


def _ordered(classes: np.ndarray) -> np.ndarray:
    """Sort classes as numbers where they are numbers: 45 before 180."""
    try:
        return classes[np.argsort(classes.astype(float), kind="stable")]
    except ValueError:
        return classes


def _numbers(axes: Axes, guesses: Guesses, guessed: np.ndarray) -> None:
    true, step = guesses.true, -(-len(guesses.true) // MOST_SHOWN)
    axes.plot(true[::step], guessed[::step], ".", ms=2, alpha=0.3, color=GREY, rasterized=True)
    low, high = np.min([true.min(), guessed.min()]), np.max([true.max(), guessed.max()])
    axes.plot([low, high], [low, high], "--", lw=0.8, color=BLACK)
    values = np.unique(true)
    edges = (
        np.quantile(true, np.linspace(0, 1, BINS + 1)[1:-1]) if values.size > FEW else (values[1:] + values[:-1]) / 2
    )
    member = np.digitize(true, edges)
    for k in np.unique(member):
        mine = guessed[member == k]
        axes.errorbar(true[member == k].mean(), mine.mean(), mine.std(), fmt="o", ms=4, color=BLUE, capsize=2)
    axes.set_xlabel(f"true {guesses.target}")
    axes.set_ylabel(f"guessed {guesses.target}")


def _circle(axes: Axes, guesses: Guesses, guessed: np.ndarray) -> None:
    labels = np.unique(np.round(np.mod(guesses.true, guesses.period), 6)).size
    bins = labels if 4 <= labels <= FEW else BINS
    edges = np.linspace(0, guesses.period, bins + 1)
    half = guesses.period / bins / 2  # bins are centred on 0 and so on, where labels lie
    true, told = (np.mod(values + half, guesses.period) for values in (guesses.true, guessed))
    counts = np.histogram2d(true, told, [edges, edges])[0]
    share = np.divide(
        counts, counts.sum(axis=1, keepdims=True), where=counts.sum(axis=1, keepdims=True) > 0, out=0 * counts
    )
    ends = (-half, guesses.period - half)
    axes.imshow(share.T, origin="lower", cmap="cividis", vmin=0, extent=(*ends, *ends))
    axes.set_xlabel(f"true {guesses.target}")
    axes.set_ylabel(f"guessed {guesses.target}")
