"""The one LightningModule: any back-end, its optimiser, its schedule and its weight average."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from neurodyn.backends.base import Backend, Batch
from neurodyn.core.errors import WorkError
from neurodyn.data.windows import Windows
from neurodyn.training.batches import OrderedBatches, TrainingBatches, derive_seed, generator
from neurodyn.training.config import TrainingConfig


class TrainingModule(pl.LightningModule):
    """Trains a back-end: AdamW, linear warm-up, cosine decay, clipped gradients, exponential average of the weights.

    The average decays by min(ema, (1 + n) / (10 + n)) after step n, so that it forgets the initial weights soon.

    Parameters
    ----------
    backend
        A prepared back-end.
    config
        How to train.
    train, valid
        Windows; `valid` may be empty.
    """

    def __init__(self, backend: Backend, config: TrainingConfig, train: Windows, valid: Windows) -> None:
        super().__init__()
        self.backend, self.settings = backend, config
        self.average = copy.deepcopy(backend).requires_grad_(False) if config.ema else None
        self.train_windows, self.valid_windows = train, valid
        self.sums: dict[str, dict[str, float]] = {"train": {}, "valid": {}}
        self.counts = {"train": 0, "valid": 0}

    @property
    def result(self) -> Backend:
        """The back-end that is validated and kept: the average where there is one."""
        return self.backend if self.average is None else self.average

    def train_dataloader(self) -> TrainingBatches:
        """Return the batches of the current epoch."""
        config, ranks = self.settings, self.trainer.world_size
        return TrainingBatches(
            self.train_windows,
            config.batch,
            config.steps_per_epoch,
            config.seed,
            self.current_epoch,
            self.trainer.global_rank,
            ranks,
        )

    def val_dataloader(self) -> OrderedBatches | list[Batch]:
        """Return the validation windows in order."""
        return OrderedBatches(self.valid_windows, self.settings.batch) if len(self.valid_windows) else []

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch."""
        return batch.to(device)

    def configure_optimizers(self) -> Any:
        """Return AdamW and its schedule, stepped every step."""
        config = self.settings
        trained = [parameter for parameter in self.backend.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=config.lr, weight_decay=config.weight_decay)
        steps = config.epochs * (config.steps_per_epoch or -(-len(self.train_windows) // config.batch))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _factor(step, steps, config))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        """Seed every draw of the epoch, so that a resumed run repeats it."""
        torch.manual_seed(derive_seed(self.settings.seed, "epoch", self.current_epoch, self.trainer.global_rank))
        self.sums, self.counts = {"train": {}, "valid": {}}, {"train": 0, "valid": 0}

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss of one batch.

        Raises
        ------
        WorkError
            If it is not finite.
        """
        source = generator(self.settings.seed, "step", self.global_step, self.trainer.global_rank)
        parts = self.backend.loss(batch, source)
        loss = torch.stack(list(parts.values())).sum()
        if not torch.isfinite(loss):
            values = ", ".join(f"{name} {value.item():g}" for name, value in parts.items())
            raise WorkError(
                f"The loss is not finite at step {self.global_step}.",
                f"Found {values}.",
                "Lower the learning rate: --set training.lr=5e-4",
            )
        self._add("train", parts, 1)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Move the average towards the weights."""
        if self.average is None or self.settings.ema is None:
            return
        step = self.global_step
        keep = min(self.settings.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for kept, current in zip(self.average.parameters(), self.backend.parameters(), strict=True):
                kept.lerp_(current, 1 - keep)

    def validation_step(self, batch: Batch, index: int) -> None:
        """Add up the loss parts of one validation batch; its draws are the same in every epoch."""
        parts = self.result.loss(batch, generator(self.settings.seed, "validation", index))
        self._add("valid", parts, batch.x.shape[0])

    def means(self, part: str) -> dict[str, float]:
        """Return the mean of every loss part in this epoch, and of their sum as `loss`."""
        means = {name: total / self.counts[part] for name, total in self.sums[part].items()}
        return means | ({"loss": math.fsum(means.values())} if means else {})

    def _add(self, part: str, values: dict[str, Tensor], weight: int) -> None:
        for name, value in values.items():
            self.sums[part][name] = self.sums[part].get(name, 0.0) + weight * value.detach().item()
        self.counts[part] += weight


def _factor(step: int, steps: int, config: TrainingConfig) -> float:
    """Return the learning rate of a step as a share of its peak."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    if config.schedule == "constant":
        return 1.0
    done = (step - config.warmup) / max(1, steps - config.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
