"""What models put into holes: how close it is, and how honestly they say how sure they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Canvas

from neurodyn.data.scores import Score
from neurodyn.report.blocks import Block, Cited, Figure, Part, Section, Table, interval, number
from neurodyn.report.evaluation import COLOURS, MARKERS
from neurodyn.report.style import BLACK, GREY, draw

COLUMNS = {  # metric: title, digits
    "imputation_r2": ("R²", 3),
    "imputation_psnr": ("PSNR, dB", 1),
    "crps": ("CRPS", 4),
    "spread_skill": ("Spread / skill", 2),
    "coverage_50": ("50 % covers", 3),
    "coverage_90": ("90 % covers", 3),
}
HIDDEN = {
    "blocks": "{share} of the blocks of {seconds} and {size} pixels",
    "frames": "1 to 60 % of the inner frames",
    "channel": "the signal {seconds}, the others being seen",
    "forecast": "the last {seconds}",
    "hindcast": "the first {seconds}",
    "interpolate": "the middle {seconds}",
}
CRPS = "Gneiting T. & Raftery A. (2007). Strictly proper scoring rules, prediction, and estimation. JASA 102:359."
SPREAD = "Fortin V. et al. (2014). Why should ensemble spread match the RMSE of the ensemble mean? J. Hydrometeorol. 15:1708."
WITH_INTERVAL = ("imputation_r2", "crps")
RANKS = 12


def imputation_part(title: str, scores: Sequence[Score], settings: Mapping[str, Any]) -> Part:
    """Show a table, R² run by run, and rank histograms, of scores that `evaluate --metric imputation` wrote."""
    pooled = [score for score in scores if score.fold == "all"]
    runs = list(dict.fromkeys((s.model, s.seed) for s in pooled))
    found = {(s.model, s.seed, s.metric): s for s in pooled}
    ranked = [run for run in runs if any((s.model, s.seed, s.metric) == (*run, "rank_histogram") for s in scores)]
    blocks: list[Block] = [_figure(found, runs), _table(found, runs)]
    blocks += [_ranks(scores, ranked[:RANKS])] if ranked else []
    return Part(
        title=title,
        subtitle="Hidden entries filled in",
        summary=_summary(found, runs),
        sections=[Section(f"{pooled[0].target}, {pooled[0].split}, {pooled[0].n} windows", blocks)] if pooled else [],
        methods=_methods(settings),
    )


def _methods(settings: Mapping[str, Any]) -> list[Cited]:
    size = " × ".join(map(str, settings.get("size") or ()))
    seconds = settings.get("seconds")
    told = {"seconds": "throughout" if seconds is None else f"{seconds:g} s", "size": size}
    share = settings.get("share")
    what = HIDDEN[str(settings.get("hide"))].format(share="" if share is None else f"{share:.0%}", **told)
    return [
        Cited(
            f"Hidden from the models were {what} (random seed {settings.get('seed')}), the same entries for every model."
        ),
        Cited("R² is the share of the variance of hidden entries about their mean that is explained."),
        Cited(
            "CRPS is the continuous ranked probability score of the stated normal distribution; lower is better.",
            [CRPS],
        ),
        Cited("Spread / skill is the stated standard deviation over the root mean square error.", [SPREAD]),
        Cited("Intervals (95 %) resample blocks of neighbouring windows."),
    ]


def _summary(found: Mapping[tuple[str, int, str], Score], runs: Sequence[tuple[str, int]]) -> list[str]:
    models: dict[str, list[float]] = {}
    for model, seed in runs:
        models.setdefault(model, []).append(found[model, seed, "imputation_r2"].value)
    best = sorted(models.items(), key=lambda item: -float(np.mean(item[1])))
    said = [f"{name} {number(float(np.mean(values)))}{_over(values)}" for name, values in best]
    return [f"R² of hidden entries: {'; '.join(said)}."]


def _over(values: Sequence[float]) -> str:
    return f" ({number(min(values))} to {number(max(values))} over {len(values)} seeds)" if len(values) > 1 else ""


def _table(found: Mapping[tuple[str, int, str], Score], runs: Sequence[tuple[str, int]]) -> Table:
    shown = {metric: told for metric, told in COLUMNS.items() if any((*run, metric) in found for run in runs)}
    rows = []
    for run in runs:
        cells = []
        for metric, (_, digits) in shown.items():
            score = found.get((*run, metric))
            within = f" {interval(score.ci_low, score.ci_high, digits)}" if score and metric in WITH_INTERVAL else ""
            cells.append("–" if score is None else f"{number(score.value, digits)}{within}")
        rows.append([run[0], str(run[1]), *cells])
    header = ["Model", "Seed", *(title for title, _ in shown.values())]
    caption = "Run by run, over all hidden entries; in brackets 95 % intervals. A dash: the model does not say how sure it is."
    return Table(caption, header, rows, frozenset(range(2, len(header))))


def _figure(found: Mapping[tuple[str, int, str], Score], runs: Sequence[tuple[str, int]]) -> Figure:
    models = list(dict.fromkeys(model for model, _ in runs))

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for model, seed in runs:
            seeds = [other for name, other in runs if name == model]
            y = models.index(model) + 0.22 * (seeds.index(seed) - (len(seeds) - 1) / 2)
            score, k = found[model, seed, "imputation_r2"], models.index(model)
            colour = COLOURS[k % len(COLOURS)]
            axes.plot([score.ci_low, score.ci_high], [y, y], color=colour, lw=1.4)
            axes.plot(score.value, y, MARKERS[k % len(MARKERS)], color=colour, ms=4)
        axes.set_yticks(range(len(models)), models)
        axes.set_ylim(len(models) - 0.5, -0.5)
        axes.set_xlabel("R² of hidden entries")

    return draw(
        paint, height=0.8 + 0.36 * len(models), alt="R² of every run", caption="A mark per run, and its 95 % interval."
    )


def _ranks(scores: Sequence[Score], runs: Sequence[tuple[str, int]]) -> Figure:
    def paint(canvas: Canvas) -> None:
        columns = min(4, len(runs))
        panels = np.atleast_1d(canvas.subplots(-(-len(runs) // columns), columns, sharey=True)).ravel()
        for axes, (model, seed) in zip(panels, runs, strict=False):
            shares = [s.value for s in scores if (s.model, s.seed, s.metric) == (model, seed, "rank_histogram")]
            axes.bar(range(len(shares)), shares, color=GREY, width=0.9)
            axes.axhline(1 / len(shares), color=BLACK, lw=0.8, ls="--")
            axes.set_title(f"{model}\nseed {seed}")
            axes.set_xticks(range(0, len(shares), 2))
            axes.set_xlabel("Rank of the truth")
        for axes in panels[len(runs) :]:
            axes.remove()
        panels[0].set_ylabel("Share")

    caption = (
        "Rank of the true value among the members of the ensemble; dashed: what an honest ensemble gives. A U: the members "
        "are too close together; a hump: too far apart."
    )
    return draw(paint, height=0.6 + 1.7 * -(-len(runs) // 4), alt="Rank histograms", caption=caption)
