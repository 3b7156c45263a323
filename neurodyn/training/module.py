"""The one LightningModule: any back-end, its optimiser, its schedule and its weight average."""

from __future__ import annotations

import copy
import math
from typing import Any, NoReturn

import pytorch_lightning as pl
import torch
from torch import Tensor

from neurodyn.backends.base import Backend, Batch
from neurodyn.data.windows import Windows
from neurodyn.training.batches import OrderedBatches, TrainingBatches, derive_seed, generator
from neurodyn.training.config import TrainingConfig
from neurodyn.training.schedule import Plateau, share_of_peak
from neurodyn.training.stability import Journal


class TrainingModule(pl.LightningModule):
    """Trains a back-end: AdamW, a schedule, clipped gradients, exponential average of the weights.

    The average decays by min(ema, (1 + n) / (10 + n)) after step n, so that it forgets the initial weights soon.

    Parameters
    ----------
    backend
        A prepared back-end.
    config
        How to train.
    train, valid
        Windows; `valid` may be empty.
    journal
        What went wrong before; where a loss that is not finite is recorded.
    """

    def __init__(
        self, backend: Backend, config: TrainingConfig, train: Windows, valid: Windows, journal: Journal
    ) -> None:
        super().__init__()
        self.backend, self.settings, self.journal = backend, config, journal
        self.seed, self.plateau = journal.seed(config.seed), Plateau()
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
            self.seed,
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

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW; `on_train_batch_start` sets its learning rate."""
        config = self.settings
        trained = [parameter for parameter in self.backend.parameters() if parameter.requires_grad]
        return torch.optim.AdamW(
            trained, lr=config.lr, weight_decay=config.weight_decay, betas=config.betas, eps=config.eps, fused=True
        )

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        config = self.settings
        steps = config.epochs * (config.steps_per_epoch or -(-len(self.train_windows) // config.batch))
        return config.lr * share_of_peak(step, steps, config) * (self.plateau.scale * self.journal.scale)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the schedule's state."""
        checkpoint["plateau"] = self.plateau.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the schedule's state."""
        self.plateau = Plateau(**checkpoint["plateau"])

    def on_train_epoch_start(self) -> None:
        """Seed every draw of the epoch, so that a resumed run repeats it."""
        torch.manual_seed(derive_seed(self.seed, "epoch", self.current_epoch, self.trainer.global_rank))
        self.sums, self.counts = {"train": {}, "valid": {}}, {"train": 0, "valid": 0}

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set what depends on the number of steps done: learning rate and the back-end's own warm-up."""
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.learning_rate(self.global_step)
        self.backend.warm(self.global_step)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss of one batch; step back if it is not finite."""
        source = generator(self.seed, "step", self.global_step, self.trainer.global_rank)
        parts = self.backend.loss(batch, source)
        values = torch.stack(list(parts.values()))
        numbers = dict(zip(parts, values.tolist(), strict=True))
        if not all(map(math.isfinite, numbers.values())):
            self.step_back("the loss", ", ".join(f"{name} {number:g}" for name, number in numbers.items()))
        self._add("train", numbers, 1)
        return values.sum()

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient's norm; step back if it is not finite."""
        gradients = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(gradients, gradient_clip_val or math.inf).item()
        if not math.isfinite(norm):
            self.step_back("the gradient", f"norm {norm:g}")

    def step_back(self, what: str, found: str) -> NoReturn:
        """Leave the epoch, to repeat it at a lower learning rate."""
        reason = f"{what} is not finite at step {self.global_step} ({found})"
        self.journal.step_back(self.current_epoch + 1, self.global_step, reason)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Move the average towards the weights."""
        if self.average is None or self.settings.ema is None:
            return
        step = self.global_step
        keep = min(self.settings.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for kept, current in zip(self.average.parameters(), self.backend.parameters(), strict=True):
                kept.lerp_(current, 1 - keep)

    def on_validation_epoch_start(self) -> None:
        """Weight every part of the loss fully."""
        self.result.warm(None)

    def validation_step(self, batch: Batch, index: int) -> None:
        """Add up the loss parts of one validation batch; its draws are the same in every epoch."""
        parts = self.result.loss(batch, generator(self.seed, "validation", index))
        self._add("valid", {name: value.item() for name, value in parts.items()}, batch.x.shape[0])

    def means(self, part: str) -> dict[str, float]:
        """Return the mean of every loss part in this epoch, and of their sum as `loss`."""
        means = {name: total / self.counts[part] for name, total in self.sums[part].items()}
        return means | ({"loss": math.fsum(means.values())} if means else {})

    def _add(self, part: str, values: dict[str, float], weight: int) -> None:
        for name, value in values.items():
            self.sums[part][name] = self.sums[part].get(name, 0.0) + weight * value
        self.counts[part] += weight
