"""Score what a training step of a model costs, in seconds and bytes, while one of its parameters varies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, model_validator

from neurodyn.core.config import Params
from neurodyn.data.scores import Score
from neurodyn.evaluate.base import ModelEvaluation
from neurodyn.metrics.intervals import bootstrap_interval

if TYPE_CHECKING:
    from neurodyn.training.cost import StepCost
    from neurodyn.training.run import Run


class CostConfig(Params):
    """What is measured."""

    vary: str | None = Field(
        default=None,
        description="number among the model's parameters that varies; it must not change the weights' shapes",
    )
    values: tuple[float, ...] = Field(default=(), description="its values")
    windows: int = Field(default=1, ge=1, description="training windows in a step")
    steps: int = Field(default=5, ge=2, description="steps timed, after one that is not")
    bootstraps: int = Field(default=1000, ge=100, description="resamples of steps for the intervals")
    seed: int = Field(default=0, ge=0, description="seed of the steps and of the resamples")

    @model_validator(mode="after")
    def _consistent(self) -> CostConfig:
        if (self.vary is None) == bool(self.values):
            raise ValueError("vary and values go together")
        return self


class Cost(ModelEvaluation):
    """What a training step of a model costs, in seconds and bytes, while one of its parameters varies.

    `seconds`: median over the steps, the models taking turns. `megabytes`: most memory that tensors made in a step held
    at once, the gradients among them. Loss and gradients on windows of the training data, on the CPU, with as many threads
    as the run was trained with.
    """

    name = "cost"
    Config = CostConfig
    figure = "cost"
    config: CostConfig

    def score(self, sources: Sequence[Run]) -> Iterator[Score]:
        """Return a row per step, and the whole with fold "all"."""
        from neurodyn.training.cost import step_costs

        config = self.config
        for cost in step_costs(
            sources, config.vary, config.values, windows=config.windows, steps=config.steps, seed=config.seed
        ):
            yield from _scores(cost, config)


def _scores(cost: StepCost, config: CostConfig) -> Iterator[Score]:
    run, times, nothing = cost.run, cost.seconds, float("nan")
    low, high = bootstrap_interval(
        lambda index: float(np.median(times[index])), times.size, resamples=config.bootstraps, seed=config.seed
    )
    whole = Score(
        session=run.windows["train"].recordings[0].session,
        model=run.config.name,
        seed=run.config.training.seed,
        split="train",
        target=config.vary or "model",
        metric="seconds",
        value=float(np.median(times)),
        ci_low=low,
        ci_high=high,
        n=times.size,
        unit="steps",
        features="" if cost.value is None else f"{cost.value:g}",
    )
    yield whole
    for k, seconds in enumerate(times):
        yield replace(whole, fold=str(k), value=float(seconds), ci_low=nothing, ci_high=nothing, n=1)
    yield replace(whole, metric="megabytes", value=cost.peak / 1e6, ci_low=nothing, ci_high=nothing, n=1)
