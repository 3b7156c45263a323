"""Models side by side over seeds, with paired tests, beside published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from pydantic import Field

from neurodyn.core.config import Params, find_preset, load_yaml, resolve, validate
from neurodyn.core.errors import ConfigError
from neurodyn.core.files import read_json
from neurodyn.data.scores import read_scores
from neurodyn.evaluate.latents import DIMENSION, Latents
from neurodyn.metrics.paired import PAIRED_TEST, adjusted_p, signed_rank_p
from neurodyn.report.blocks import Block, Figure, Part, Section, Table, number, p_value
from neurodyn.report.style import BLACK, BLUE, GREY, draw

METRICS = Latents.labels
HEADLINE = next(iter(METRICS))
PARTS = {"valid": "new trials of the conditions trained on", "test": "held-out conditions", "all": "other recordings"}
MEANS = (
    "Squared correlation of all entries pooled, latents after an affine map fitted on training trials; "
    "mean ± standard error over seeds."
)
Draws = dict[tuple[str, int], float]


class Published(Params):
    """Published figures that ours are set beside."""

    source: str = Field(description="where they are from")
    seeds: int = Field(ge=1, description="seeds behind each of them")
    part: str = Field(default="valid", description="part of ours that they are comparable with")
    against: str | None = Field(default=None, description="model that the others are tested against")
    models: dict[str, str] = Field(default_factory=dict, description="model -> label, in the order of the rows")
    datasets: dict[str, str] = Field(default_factory=dict, description="dataset -> label, in order")
    values: dict[str, dict[str, dict[str, tuple[float, float]]]] = Field(
        description="dataset -> model -> metric -> mean and standard error"
    )


@dataclass
class Results:
    """Scores of many runs.

    Parameters
    ----------
    values
        (dataset, model, metric, part) -> (session, seed) -> score.
    published
        What they are set beside; None for nothing.
    """

    published: Published | None
    values: dict[tuple[str, str, str, str], Draws] = field(default_factory=dict)

    def ordered(self, place: int, known: Mapping[str, str]) -> list[str]:
        """Return the names at a place of the keys: known ones first, in their order."""
        found = list(dict.fromkeys(key[place] for key in self.values))
        return [name for name in known if name in found] + [name for name in found if name not in known]

    @property
    def datasets(self) -> list[str]:
        """Names of the datasets."""
        return self.ordered(0, self.published.datasets if self.published else {})

    @property
    def models(self) -> list[str]:
        """Names of the models."""
        return self.ordered(1, self.published.models if self.published else {})

    def dataset(self, name: str) -> str:
        """Return a dataset's label."""
        return (self.published.datasets if self.published else {}).get(name, name)

    def model(self, name: str) -> str:
        """Return a model's label."""
        return (self.published.models if self.published else {}).get(name, name)

    def figure(self, dataset: str, model: str, metric: str, part: str) -> tuple[float, float] | None:
        """Return the published mean and standard error, where there are any for this part."""
        if self.published is None or part != self.published.part:
            return None
        return self.published.values.get(dataset, {}).get(model, {}).get(metric)

    @property
    def against(self) -> str:
        """Name of the model that the others are tested against: as published, or the first."""
        named = self.published.against if self.published else None
        return named if named in self.models else self.models[0]


def comparison_part(folders: Sequence[Path], published: str | None) -> Part | None:
    """Join the tables of several folders of latent scores into one comparison; None where there are none.

    Parameters
    ----------
    folders
        Folders; those without such scores are passed over.
    published
        Name or path of a YAML of published figures.

    Raises
    ------
    ConfigError
        If there are published figures but nothing to set beside them, or they cannot be read.
    """
    results = Results(read_published(published) if published else None)
    for folder in folders:
        if (folder / "evaluate.json").is_file() and read_json(folder / "evaluate.json").get("metric") == Latents.name:
            _add(results, folder)
    if not results.values:
        if published:
            raise ConfigError(
                "There is nothing to set beside the published figures.",
                "Found no folder with scores of latents among the sources.",
                "Make them: neurodyn evaluate --metric latents RUN… -o DIR",
            )
        return None
    parts = [part for part in PARTS if part in {key[3] for key in results.values}]
    tests = _tests(results, parts)
    return Part(
        title="Models side by side",
        subtitle="Comparison over seeds",
        summary=_summary(results, parts[0]),
        sections=[
            *(Section(PARTS[part][:1].upper() + PARTS[part][1:], _blocks(results, part)) for part in parts),
            *([Section("Paired tests", [tests])] if tests.rows else []),
        ],
        references=[results.published.source] if results.published else [],
    )


def read_published(name: str) -> Published:
    """Read published figures by name or path."""
    return validate(Published, resolve([load_yaml(find_preset("published", name))]))


def _add(results: Results, folder: Path) -> None:
    datasets = {source["session"]: source["dataset"] for source in read_json(folder / "evaluate.json")["sources"]}
    for score in read_scores(folder / "scores.csv"):
        if score.model == "none":
            continue
        key = (datasets.get(score.session, score.session), score.model, score.metric, score.split.rpartition(":")[2])
        results.values.setdefault(key, {})[score.session, score.seed] = score.value


def _mean(draws: Draws) -> tuple[float, float]:
    """Return mean and standard error over seeds; NaN error for one seed."""
    values = np.array(list(draws.values()))
    error = values.std(ddof=1) / np.sqrt(values.size) if values.size > 1 else float("nan")
    return float(values.mean()), float(error)


def _cell(figure: tuple[float, float] | None) -> str:
    if figure is None:
        return "–"
    mean, error = figure
    return number(mean) if error != error else f"{number(mean)} ± {number(error)}"


def _blocks(results: Results, part: str) -> list[Block]:
    present = {key[2] for key in results.values if key[3] == part}
    metrics = {name: label for name, label in METRICS.items() if name in present}
    dimensions = {name: Latents.label(name) for k in range(1, 7) if (name := f"{DIMENSION}{k}") in present}
    blocks: list[Block] = [_table(results, part, metrics, MEANS)]
    blocks.append(_figure(results, part, metrics))
    if dimensions:
        what = "1 − SSE/SST of each true latent after the same map; mean ± standard error over seeds."
        blocks.append(_table(results, part, dimensions, what))
    return blocks


def _table(results: Results, part: str, metrics: Mapping[str, str], caption: str) -> Table:
    rows = []
    for dataset in results.datasets:
        for model in results.models:
            draws = {metric: results.values.get((dataset, model, metric, part)) for metric in metrics}
            counts = sorted({len(found) for found in draws.values() if found})
            if not counts:
                continue
            cells = [_cell(_mean(found) if found else None) for found in draws.values()]
            rows.append([results.dataset(dataset), results.model(model), "–".join(map(str, counts)), *cells])
            figures = [results.figure(dataset, model, metric, part) for metric in metrics]
            if any(figures) and results.published:
                rows.append(["", "published", str(results.published.seeds), *map(_cell, figures)])
    header = ["Dataset", "Model", "Seeds", *metrics.values()]
    source = results.published.source if results.published else ""
    notes = [f"Published: {source}."] if any(row[1] == "published" for row in rows) else []
    return Table(caption, header, rows, frozenset(range(2, len(header))), notes)


def _figure(results: Results, part: str, metrics: Mapping[str, str]) -> Figure:
    datasets, models = results.datasets, results.models

    def paint(canvas: Canvas) -> None:
        grid = canvas.subplots(len(datasets), len(metrics), squeeze=False, sharey=True, sharex="col")
        for k, dataset in enumerate(datasets):
            for axes, (metric, label) in zip(grid[k], metrics.items(), strict=True):
                for y, model in enumerate(models):
                    _points(axes, y, results, (dataset, model, metric, part))
                axes.set_title(label if k == 0 else "")
                axes.set_yticks(range(len(models)), [results.model(model) for model in models])
                axes.set_ylim(len(models) - 0.5, -0.5)
            grid[k, 0].set_ylabel(results.dataset(dataset))

    caption = "Each point is a seed; the bar is mean ± standard error" + (
        ", the black diamond the published mean." if results.published and results.published.part == part else "."
    )
    height = (0.7 + 0.28 * len(models)) * len(datasets) + 0.2
    return draw(paint, height=height, alt=f"Scores of models by seed, {PARTS[part]}", caption=caption)


def _points(axes: Axes, y: int, results: Results, key: tuple[str, str, str, str]) -> None:
    draws = results.values.get(key)
    if draws:
        mean, error = _mean(draws)
        axes.plot(list(draws.values()), [y] * len(draws), "o", color=GREY, ms=2.5, alpha=0.7)
        axes.errorbar(mean, y, xerr=0 if error != error else error, fmt="|", color=BLUE, ms=9, capsize=2)
    figure = results.figure(*key)
    if figure is not None:
        axes.plot(figure[0], y, "D", color=BLACK, ms=3.5, mfc="none")


def _tests(results: Results, parts: Sequence[str]) -> Table:
    """Test every other model against one, seed by seed."""
    rows = []
    for part in parts:
        for dataset in results.datasets:
            for metric, label in METRICS.items():
                tested = _tested(results, dataset, metric, part)
                adjusted = adjusted_p([signed_rank_p(one, other) for one, other in tested.values()])
                for (model, (one, other)), p in zip(tested.items(), adjusted, strict=True):
                    cells = [number(float((one - other).mean())), str(one.size), p_value(p)]
                    rows.append([results.dataset(dataset), PARTS[part], label, results.model(model), *cells])
    header = ["Dataset", "Trials", "Metric", f"{results.model(results.against)} minus", "Difference", "Runs", "p"]
    caption = f"Pairs are runs on the same recording with the same seed; p of {PAIRED_TEST}."
    return Table(caption, header, rows, frozenset({4, 5, 6}))


def _tested(results: Results, dataset: str, metric: str, part: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the reference's scores and those of each other model, over the runs that they share."""
    one, found = results.values.get((dataset, results.against, metric, part), {}), {}
    for model in results.models:
        other = results.values.get((dataset, model, metric, part), {})
        shared = sorted(set(one) & set(other))
        if model != results.against and len(shared) > 1:
            found[model] = np.array([one[k] for k in shared]), np.array([other[k] for k in shared])
    return found


def _summary(results: Results, part: str) -> list[str]:
    """Say how every model did on the first part, in words."""
    sentences = []
    for dataset in results.datasets:
        said = []
        for model in results.models:
            draws = results.values.get((dataset, model, HEADLINE, part))
            if draws:
                figure = results.figure(dataset, model, HEADLINE, part)
                beside = f", published {number(figure[0])}" if figure else ""
                said.append(f"{results.model(model)} {_cell(_mean(draws))} ({len(draws)} seeds{beside})")
        if said:
            sentences.append(f"Latents, {results.dataset(dataset)}, {PARTS[part]}: {'; '.join(said)}.")
    return sentences
