"""Score the frames that models give, hidden from them or not, window by window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.data.scores import Score
from neurodyn.evaluate.base import PredictionEvaluation
from neurodyn.evaluate.inferred import Inferred


class FramesConfig(Params):
    """How frames are scored."""

    bootstraps: int = Field(default=1000, ge=100, description="resamples of trials for the intervals")
    seed: int = Field(default=0, ge=0, description="seed of the resamples")


class Frames(PredictionEvaluation):
    """The frames that models give, hidden from them or not, window by window.

    `mse`: mean squared error of the model's output with nothing hidden, over valid entries; `hidden_mse`: the same of
    the hidden frames, when they are hidden. In squared units of the target. Linear interpolation between visible frames
    is scored as a model of its own, once per recording.
    """

    name = "frames"
    Config = FramesConfig
    config: FramesConfig

    def score(self, sources: Sequence[Inferred]) -> Iterator[Score]:
        """Return a row per window, and their mean with fold "all"."""
        first = {one.recording.session: one for one in reversed(sources)}
        for one in sources:
            yield from _scores(one, one.model, {"mse": "mean", "hidden_mse": "hidden_mean"}, self.config)
            if one is first[one.recording.session]:
                yield from _scores(one, "linear interpolation", {"hidden_mse": "linear"}, self.config)


def _scores(one: Inferred, model: str, estimates: dict[str, str], config: FramesConfig) -> Iterator[Score]:
    observed = one.given("observed")
    target = observed if (other := one.given("target")) is None else other
    hidden = one.given("hidden")
    if target is None or hidden is None:
        raise DataError(
            f"{one.path} has no frames to score.",
            "Expected a run folder with prediction.zarr.",
            f"Make it: neurodyn infer {one.path}",
        )
    for metric, name in estimates.items():
        values = one.given(name)
        if values is None:
            continue
        where = np.isfinite(target)
        if metric == "hidden_mse":
            where &= hidden.astype(bool).reshape(*hidden.shape, *[1] * (target.ndim - 2))
        squares = np.where(where, values - target, 0.0).astype(np.float64) ** 2
        axes = tuple(range(1, target.ndim))
        found = squares.sum(axes) / np.maximum(where.sum(axes), 1)
        for part in one.scored:
            for score in one.means(part, one.windows.config.variable, metric, found, config.bootstraps, config.seed):
                yield replace(score, model=model)
