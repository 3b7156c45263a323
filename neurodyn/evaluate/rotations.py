"""Score how strongly inferred activity rotates, beside the activity that is known to be true."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.data.scores import Score
from neurodyn.data.stimulus_code import stimulus_column
from neurodyn.data.window_config import WindowConfig
from neurodyn.evaluate.base import PredictionEvaluation
from neurodyn.evaluate.inferred import Inferred, open_inferred
from neurodyn.metrics.intervals import jackknife_interval
from neurodyn.metrics.jpca import SOFTEN, Rotation, condition_averages, jpca, plane_overlap

MEASURES: dict[str, Callable[[Rotation], float]] = {
    "jpca_r2_skew": lambda found: found.r2_skew,
    "jpca_r2_unconstrained": lambda found: found.r2_unconstrained,
    "jpca_r2_ratio": lambda found: found.ratio,
    "jpca_plane_variance": lambda found: found.plane_variance,
    "jpca_frequency_hz": lambda found: found.frequency_hz,
}
TRUE_RATES = "true rates"
LEAST_CONDITIONS = 3
SKEWED = "they are known only up to an affine map, which bends circles and so lowers R² and frequency"


class RotationsConfig(Params):
    """What is turned into condition averages, and how jPCA is fitted."""

    features: tuple[str, ...] = Field(
        default=(), description="neural variables of the recording to analyse beside what the model gives"
    )
    condition: str = Field(default="condition", description="stimulus column that names each trial's condition")
    start: float = Field(default=0.0, ge=0, description="first frame used, s from the start of a window")
    stop: float | None = Field(default=None, gt=0, description="end of the frames used, s (default: the window's)")
    components: int = Field(default=6, ge=2, description="principal components kept")
    soften: float = Field(default=SOFTEN, gt=0, description="added to each cell's range before dividing by it, Hz")
    windows: WindowConfig | None = Field(
        default=None, description="windows of bare recordings (default: one per trial, parts by the column part)"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.stop is not None and self.stop <= self.start:
            raise ValueError("stop must come after start")
        return self


class Rotations(PredictionEvaluation):
    """How strongly inferred activity rotates, beside the activity that is known to be true.

    jPCA is fitted to condition averages of rates, latents and true rates, part by part. Cells' rates are softened as
    published, latents and other variables are taken as they are. `jpca_plane_overlap` compares the plane found in rates
    with that of the true rates. Intervals are jackknifed over conditions, of which there are at least three.
    """

    name = "rotations"
    Config = RotationsConfig
    labels: ClassVar = {
        "jpca_r2_skew": "R², rotation",
        "jpca_r2_unconstrained": "R², linear",
        "jpca_r2_ratio": "Ratio",
        "jpca_plane_variance": "In plane",
        "jpca_frequency_hz": "Turns per s",
        "jpca_plane_overlap": "Plane overlap",
    }
    digits = 2
    by_signal = True
    config: RotationsConfig

    def open(self, paths: Sequence[Path]) -> list[Inferred]:
        """Open runs with a prediction, and recordings, all with ground truth."""
        return open_inferred(paths, self.config.windows)

    def score(self, sources: Sequence[Inferred]) -> list[Score]:
        """Return a row per run, part, signal and metric."""
        scores = [score for one in sources for part in one.scored for score in _scores(one, part, self.config)]
        if not scores:
            raise DataError(
                f"{sources[0].path} holds nothing to score.",
                "Expected rates or latents of held-out windows, or true rates.",
                f"Make them: neurodyn infer {sources[0].path} --on all",
            )
        return scores


def _scores(one: Inferred, part: str, config: RotationsConfig) -> Iterator[Score]:
    condition = _conditions(one, part, config)
    averages = {
        name: condition_averages(values, condition)[:, _frames(one, config)]
        for name, values in _courses(one, part, config).items()
    }
    fit = partial(jpca, rate_hz=one.windows.rate_hz, components=config.components)
    softens = {name: config.soften if name in ("rates", TRUE_RATES) else None for name in averages}
    known = fit(averages[TRUE_RATES], soften=config.soften) if TRUE_RATES in averages else None
    for name, courses in averages.items():
        found = fit(courses, soften=softens[name])
        without = [fit(np.delete(courses, k, axis=0), soften=softens[name]) for k in range(len(courses))]
        values = {
            metric: (measure(found), [measure(one_out) for one_out in without]) for metric, measure in MEASURES.items()
        }
        if known is not None and name == "rates":
            overlaps = [plane_overlap(one_out.plane, known.plane) for one_out in without]
            values["jpca_plane_overlap"] = (plane_overlap(found.plane, known.plane), overlaps)
        for metric, (value, left_out) in values.items():
            reach = jackknife_interval(value, np.array(left_out))
            if metric != "jpca_frequency_hz":  # all others are shares
                reach = (max(0.0, reach[0]), min(1.0, reach[1]))
            row = one.row(part, name, metric, name, value, reach, len(courses))
            yield replace(row, unit="conditions", note=SKEWED if name == "latents" else "")


def _conditions(one: Inferred, part: str, config: RotationsConfig) -> np.ndarray:
    """Return the condition of each window of a part."""
    rows = np.flatnonzero(one.part == part)
    column = stimulus_column(one.recording, config.condition)[one.windows.trial[rows]]
    if (one.windows.trial[rows] < 0).any() or np.unique(column).size < LEAST_CONDITIONS:
        raise DataError(
            f"Part {part} of {one.path} cannot be averaged by condition.",
            f"Found {np.unique(column).size} conditions, {(one.windows.trial[rows] < 0).sum()} windows in no trial; "
            f"expected at least {LEAST_CONDITIONS} conditions.",
            "Name the column: --set condition=COLUMN, and train with --set windows.align=events",
        )
    return column


def _frames(one: Inferred, config: RotationsConfig) -> slice:
    rate, frames = one.windows.rate_hz, one.windows.frames
    stop = frames if config.stop is None else min(frames, round(config.stop * rate))
    start = round(config.start * rate)
    if stop - start < 2:
        raise DataError(
            "There are too few frames to see a rotation.",
            f"Found {max(0, stop - start)} from {config.start:g} s on; a window has {frames / rate:g} s.",
            "Give other limits: --set start=0 --set stop=null",
        )
    return slice(start, stop)


def _courses(one: Inferred, part: str, config: RotationsConfig) -> dict[str, np.ndarray]:
    rows = one.part == part
    found = {name: one.given(name) for name in ("rates", "latents")}
    found |= {name: one.recorded(name) for name in config.features}
    found[TRUE_RATES] = one.true("rates")
    return {name: values[rows] for name, values in found.items() if values is not None}
