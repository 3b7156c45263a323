"""`RunConfig`: which model, on which windows, trained how."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from neurodyn.core.config import Params
from neurodyn.data.window_config import WindowConfig


class TrainingConfig(Params):
    """How a model is trained."""

    epochs: int = Field(10, gt=0, description="passes between validations")
    steps_per_epoch: int | None = Field(
        None, gt=0, description="optimiser steps per epoch (default: one pass over the training windows)"
    )
    batch: int = Field(16, gt=0, description="windows computed at once, over all GPUs or processes")
    accumulate: int = Field(
        1,
        gt=0,
        description="gradient accumulation: batches per optimiser step, one after another in the memory of one; their gradient is that of one "
        "batch as large as all, at the price of one more forward pass",
    )
    lr: float = Field(2e-3, gt=0, description="peak learning rate of AdamW")
    weight_decay: float = Field(1e-2, ge=0, description="decoupled weight decay")
    betas: tuple[float, float] = Field(
        (0.9, 0.999),
        description="how much of their running means AdamW keeps per step: of the gradient and of its square",
    )
    eps: float = Field(1e-8, gt=0, description="what AdamW adds to the root mean square of a gradient")
    warmup: int = Field(50, ge=0, description="steps of linear warm-up")
    schedule: Literal["cosine", "constant", "plateau"] = Field(
        "cosine", description="learning rate after the warm-up; plateau: cut when the training loss stops falling"
    )
    plateau_factor: float = Field(0.95, gt=0, lt=1, description="what a cut leaves of the learning rate")
    plateau_patience: int = Field(6, ge=0, description="epochs without a smaller smoothed training loss before a cut")
    min_lr: float = Field(1e-5, ge=0, description="where cuts end")
    clip: float | None = Field(1.0, gt=0, description="largest gradient norm")
    ema: float | None = Field(0.998, gt=0, lt=1, description="decay of the weight average that is kept; null for none")
    patience: int | None = Field(
        None, gt=0, description="epochs without a better validation before stopping, after the model's own warm-up"
    )
    step_backs: int = Field(
        3, ge=0, description="how often a loss that is not finite repeats its epoch at half the learning rate"
    )
    restarts: int = Field(2, ge=0, description="how often a collapsed model starts anew with another seed")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="arithmetic of the matrix products")
    health: bool = Field(
        True,
        description="after training, have a latent model tell hidden cells of validation windows, beside factor analysis; a few "
        "seconds, and no weight changes",
    )
    seed: int = Field(0, ge=0, description="seed of weights, order, masks and noise")
    threads: int = Field(1, gt=0, description="CPU threads; part of the configuration because it changes round-off")

    processes: int = Field(
        1, gt=0, description="processes that share every batch on the CPU, each with `threads`; GPUs have one each"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        total = self.epochs * self.steps_per_epoch if self.steps_per_epoch else None
        if total is not None and self.warmup > total:
            raise ValueError(f"warmup ({self.warmup}) is longer than the training ({total} steps)")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas {self.betas} must lie in [0, 1)")
        return self


class RunConfig(Params):
    """One training run."""

    name: str = Field("", description="name in tables (default: the preset's)")
    description: str = Field("", description="what the preset is for")
    backend: str = Field(description="model back-end")
    model: dict[str, Any] = Field(default_factory=dict, description="parameters of the back-end")
    windows: WindowConfig = Field(
        default_factory=lambda: WindowConfig.model_validate({}), description="which windows, and their split"
    )
    training: TrainingConfig = Field(
        default_factory=lambda: TrainingConfig.model_validate({}), description="how it is trained"
    )
    stages: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="by stage: what its training has otherwise, for models trained in stages"
    )
    start: str | None = Field(None, description="run folder of a trained model whose weights training starts from")

    @model_validator(mode="after")
    def _stages_can_be_trained(self) -> Self:
        for stage in self.stages:
            self.training_of(stage)
        return self

    def training_of(self, stage: str) -> TrainingConfig:
        """Return how a stage is trained."""
        return TrainingConfig.model_validate(self.training.model_dump() | self.stages.get(stage, {}))

    def every_training(self) -> list[TrainingConfig]:
        """Return how the stages are trained, those that say nothing of it first."""
        return [self.training, *map(self.training_of, self.stages)]
