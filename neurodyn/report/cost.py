"""What a training step costs: seconds and bytes of every model, against the parameter that varied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import ScalarFormatter

from neurodyn.data.scores import Score
from neurodyn.report.blocks import Figure, Part, Section, Table, interval, number
from neurodyn.report.decoding import pooled
from neurodyn.report.evaluation import COLOURS, MARKERS
from neurodyn.report.style import draw

PANELS = {"seconds": "Time per step (s)", "megabytes": "Peak memory (MB)"}


def cost_part(title: str, scores: Sequence[Score], settings: Mapping[str, Any]) -> Part:
    """Show a table and a figure of scores that `evaluate --metric cost` wrote."""
    scores = pooled(scores)
    found = {(s.model, s.features, s.metric): s for s in scores}
    models, values = list(dict.fromkeys(s.model for s in scores)), list(dict.fromkeys(s.features for s in scores))
    varied = settings.get("vary")
    blocks = [_figure(found, models, values, varied)] if varied else []
    blocks += [_table(found, models, values, varied)]
    return Part(
        title=title,
        subtitle="Cost of a training step",
        summary=[_sentence(found, model, values, varied) for model in models] if varied else [],
        sections=[Section("Loss and gradients", blocks)],
        methods=[
            f"Loss and gradients of {settings.get('windows')} training window(s) on the CPU, {settings.get('steps')} times "
            "after one that was not counted, the models taking turns: median, and its 95 % interval by bootstrap over steps. "
            "Peak memory: the most that tensors made in the step held at once, gradients among them, the scratch space "
            "inside operations aside."
        ],
    )


def _sentence(
    found: Mapping[tuple[str, str, str], Score], model: str, values: Sequence[str], varied: str | None
) -> str:
    said = [
        f"{number(found[model, values[0], metric].value, digits)} to {number(found[model, values[-1], metric].value, digits)} {unit}"
        for metric, unit, digits in (("seconds", "s", 3), ("megabytes", "MB", 1))
    ]
    return f"{model}, {varied} from {values[0]} to {values[-1]}: {', '.join(said)}."


def _table(
    found: Mapping[tuple[str, str, str], Score], models: Sequence[str], values: Sequence[str], varied: str | None
) -> Table:
    rows = []
    for model in models:
        for value in values:
            seconds, memory = found[model, value, "seconds"], found[model, value, "megabytes"]
            spread = interval(seconds.ci_low, seconds.ci_high)
            rows.append([model, *([value] if varied else []), number(seconds.value), spread, number(memory.value, 1)])
    header = ["Model", *([varied] if varied else []), "Seconds", "95 % interval", "MB"]
    return Table("A training step.", header, rows, frozenset(range(1, len(header))))


def _figure(
    found: Mapping[tuple[str, str, str], Score], models: Sequence[str], values: Sequence[str], varied: str
) -> Figure:
    x = [float(value) for value in values]

    def paint(canvas: Canvas) -> None:
        for axes, (metric, label) in zip(canvas.subplots(1, 2), PANELS.items(), strict=True):
            for k, model in enumerate(models):
                y = [found[model, value, metric].value for value in values]
                name = model if metric == "seconds" else None
                axes.plot(x, y, f"{MARKERS[k]}-", color=COLOURS[k], ms=4, label=name)
            axes.set_ylim(bottom=0)
            axes.set_xticks(x)
            axes.xaxis.set_major_formatter(ScalarFormatter())
            axes.set_xlabel(varied)
            axes.set_ylabel(label)
        canvas.legend(loc="outside lower center", ncols=min(4, len(models)))

    caption = f"Time and memory of a training step against {varied}."
    return draw(paint, height=2.8, alt=f"Cost of a training step against {varied}", caption=caption)
