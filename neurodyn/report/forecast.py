"""Forecasts: error and correlation against time ahead, and how every model did, beside the references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from neurodyn.data.recording import UNITS
from neurodyn.data.scores import Score
from neurodyn.evaluate.forecast import BY_HORIZON, CEILING, ERRORS, LIKENESS
from neurodyn.evaluate.held import LAST_VALUE, PSTH
from neurodyn.report.blocks import Cited, Figure, Part, Section, Table, interval, number, short, short_interval
from neurodyn.report.style import BLACK, BLUE, GREEN, GREY, ORANGE, RED, SKY, draw

COLOURS, DASHES = (BLUE, ORANGE, GREEN, RED, SKY), ("-", "-.", ":")
REFERENCES = {PSTH: BLACK, LAST_VALUE: GREY}
FEW = 6  # models whose bands, and figures in the summary, can still be told apart
SCHOPPE = (
    "Schoppe O., Harper N.S., Willmore B.D.B., King A.J., Schnupp J.W.H. (2016). Measuring the performance of neural "
    "models. Front. Comput. Neurosci. 10:10."
)
HYNDMAN = "Hyndman R.J., Koehler A.B. (2006). Another look at measures of forecast accuracy. Int. J. Forecast. 22:679."
MURPHY = (
    "Murphy A.H. (1988). Skill scores based on the mean square error and their relationships to the correlation "
    "coefficient. Mon. Weather Rev. 116:2417."
)
WANG = (
    "Wang Z., Bovik A.C., Sheikh H.R., Simoncelli E.P. (2004). Image quality assessment: from error visibility to "
    "structural similarity. IEEE Trans. Image Process. 13:600."
)
METHODS = (
    Cited("Forecasts were scored over the whole horizon of every held-out window, neuron by neuron."),
    Cited(
        "Correlations (r) are taken over time within a window and averaged over windows, constant traces left out; SMAPE "
        "runs from 0 to 2."
    ),
    Cited("MASE is the absolute error over that of holding the last value.", [HYNDMAN]),
    Cited("SSIM and PSNR refer to the range of the neuron's target.", [WANG]),
    Cited("Skill is 1 − MSE / MSE of the mean response to the same stimulus in the training windows (PSTH).", [MURPHY]),
    Cited(
        "The noise ceiling is the correlation of a single trial with the true mean response, the root of the mean "
        "correlation between repeats.",
        [SCHOPPE],
    ),
)


@dataclass(frozen=True)
class Pooled:
    """A mean over neurons, averaged over seeds.

    Parameters
    ----------
    value
        Mean over seeds.
    low, high
        The ends of the seeds' 95 % intervals over neurons that lie farthest apart.
    seeds
        Their number.
    """

    value: float
    low: float
    high: float
    seeds: int

    def text(self, metric: str) -> str:
        """Return value and interval, with three decimals; of errors in units of the target, which may be small, digits."""
        if metric in ("mse", "mae"):
            return f"{short(self.value)} {short_interval(self.low, self.high)}".rstrip()
        return f"{number(self.value)} {interval(self.low, self.high)}".rstrip()


Found = Mapping[tuple[str, str, str], Pooled]


def forecast_part(title: str, scores: Sequence[Score], settings: Mapping[str, Any]) -> Part:
    """Show scores that `evaluate --metric forecast` wrote: curves and tables for every session and part."""
    shown = [score for score in scores if score.fold == "all" or score.metric.endswith(BY_HORIZON)]
    groups: dict[tuple[str, str, str], list[Score]] = {}
    for score in shown:
        groups.setdefault((score.session, score.split.rpartition(":")[2], score.target), []).append(score)
    pooled = {key: _pooled(rows) for key, rows in groups.items()}
    return Part(
        title=title,
        subtitle="Forecasts",
        summary=[_sentence(*key, found) for key, found in pooled.items()],
        sections=[_section(*key, found, groups[key]) for key, found in pooled.items()],
        methods=[*METHODS, f"Intervals (95 %) resample neurons {settings.get('bootstraps', '–')} times."],
    )


def _pooled(scores: Sequence[Score]) -> Found:
    """Average over the seeds that have a value: (model, metric, fold) -> mean."""
    seeds: dict[tuple[str, str, str], list[Score]] = {}
    for score in scores:
        if score.value == score.value:
            seeds.setdefault((score.model, score.metric, score.fold), []).append(score)
    return {
        key: Pooled(
            float(np.mean([s.value for s in same])),
            min(s.ci_low for s in same),
            max(s.ci_high for s in same),
            len({s.seed for s in same}),
        )
        for key, same in seeds.items()
    }


def _models(found: Found) -> list[str]:
    """Return the models' names, references last."""
    names = [name for name in dict.fromkeys(key[0] for key in found) if name != CEILING]
    return [name for name in names if name not in REFERENCES] + [name for name in REFERENCES if name in names]


def _sentence(session: str, part: str, target: str, found: Found) -> str:
    said = []
    for metric, label in (("correlation", "correlation"), ("skill", "skill against the PSTH")):
        known = [(model, found.get((model, metric, "all"))) for model in _models(found) if model not in REFERENCES]
        means = [(model, mean) for model, mean in known if mean]
        if len(means) > FEW:
            means = sorted(means, key=lambda one: -one[1].value)[:3]
            label = f"highest {label}"
        said += [f"{label}: {', '.join(f'{model} {mean.text(metric)}' for model, mean in means)}"] if means else []
    ceiling = found.get((CEILING, "noise_ceiling", "all"))
    said += [f"noise ceiling of the correlation: {ceiling.text('noise_ceiling')}"] if ceiling else []
    return f"{target} of {session}, {part}. {'; '.join(said)}."


def _section(session: str, part: str, target: str, found: Found, rows: Sequence[Score]) -> Section:
    notes = list(dict.fromkeys(f"{row.model}: {row.note}." for row in rows if row.note))
    n, unit = max(row.n for row in rows), _unit(target)
    blocks = [
        _figure(session, part, target, found),
        _table(f"Likeness of forecast and target, mean over {n} neurons; 1 is best.", LIKENESS, found, notes),
        _table(f"Errors, mean over {n} neurons; MAE in {unit}, MSE in its square.", ERRORS, found, []),
    ]
    return Section(f"{session}, {part}", blocks)


def _table(caption: str, metrics: Mapping[str, str], found: Found, notes: Sequence[str]) -> Table:
    present = {name: label for name, label in metrics.items() if any(key[1] == name for key in found)}
    rows = []
    for model in _models(found):
        means = {metric: found.get((model, metric, "all")) for metric in present}
        seeds = max((mean.seeds for mean in means.values() if mean), default=0)
        cells = [mean.text(metric) if mean else "–" for metric, mean in means.items()]
        rows.append([model, "–" if model in REFERENCES else str(seeds), *cells])
    ceiling = found.get((CEILING, "noise_ceiling", "all"))
    if ceiling and "correlation" in present:
        rows.append([CEILING, "–", ceiling.text("noise_ceiling"), *["–"] * (len(present) - 1)])
    header = ["Model", "Seeds", *present.values()]
    return Table(f"{caption} In brackets: 95 % intervals.", header, rows, frozenset(range(1, len(header))), notes)


def _figure(session: str, part: str, target: str, found: Found) -> Figure:
    panels = {
        f"mse{BY_HORIZON}": f"Mean squared error, ({_unit(target)})²",
        f"correlation{BY_HORIZON}": "Correlation across windows",
    }

    models = _models(found)
    banded = len(models) <= FEW

    def paint(canvas: Canvas) -> None:
        for axes, (metric, label) in zip(canvas.subplots(1, 2), panels.items(), strict=True):
            for k, model in enumerate(models):
                _line(axes, k, model, metric, found, banded)
            axes.set_xlim(left=0)
            axes.set_xlabel("Time ahead (s)")
            axes.set_ylabel(label)
        canvas.axes[0].set_ylim(bottom=0)
        handles, labels = canvas.axes[0].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))

    bands = "Bands: 95 % intervals over neurons, the widest of all seeds. " if banded else ""
    caption = (
        f"Error and correlation across windows against time ahead, mean over neurons. {bands}Dashed: the mean response to "
        "the stimulus (PSTH), and the last value held."
    )
    return draw(
        paint, height=2.9 if banded else 3.8, alt=f"Forecasts of {session}, {part}, against time ahead", caption=caption
    )


def _unit(target: str) -> str:
    return UNITS.get(target, "a.u.")


def _line(axes: Axes, k: int, model: str, metric: str, found: Found, banded: bool) -> None:
    curve = {float(key[2].removesuffix(" s")): mean for key, mean in found.items() if key[:2] == (model, metric)}
    ahead = sorted(time for time, mean in curve.items() if mean.value == mean.value)
    colour = REFERENCES.get(model, COLOURS[k % len(COLOURS)])
    style = "--" if model in REFERENCES else DASHES[k // len(COLOURS) % len(DASHES)]
    marker = "o" if len(ahead) == 1 else None
    axes.plot(ahead, [curve[time].value for time in ahead], style, color=colour, marker=marker, ms=3, label=model)
    if not banded:
        return
    low, high = [curve[time].low for time in ahead], [curve[time].high for time in ahead]
    axes.fill_between(ahead, low, high, color=colour, alpha=0.18, lw=0)
