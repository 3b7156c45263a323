"""The one LightningModule: any back-end, its optimiser, its schedule and its weight average."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

import pytorch_lightning as pl
import torch
from torch import Tensor, distributed

from neurodyn.backends.base import Backend
from neurodyn.data.windows import Windows
from neurodyn.nn.parts import Part, computing, counts, knowing
from neurodyn.training.batches import Piece, TrainingBatches, Turn, ValidationBatches, derive_seed, generator
from neurodyn.training.config import TrainingConfig
from neurodyn.training.schedule import Plateau, share_of_peak
from neurodyn.training.stability import Journal, UnstableError


class TrainingModule(pl.LightningModule):
    """Trains a back-end: AdamW, a schedule, clipped gradients, exponential average of the weights.

    The average decays by min(ema, (1 + n) / (10 + n)) after step n, so that it forgets the initial weights soon.

    Every batch may be shared by several processes and computed in several turns. What is drawn for a window, and what a
    mean is over, is that of the whole batch; all processes see the same losses, and decide alike.

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
        self.totals: list[Tensor] = []

    @property
    def result(self) -> Backend:
        """The back-end that is validated and kept: the average where there is one."""
        return self.backend if self.average is None else self.average

    def train_dataloader(self) -> TrainingBatches:
        """Return the batches of the current epoch."""
        config, place = self.settings, (self.trainer.global_rank, self.trainer.world_size)
        order = (config.batch * config.accumulate, config.steps_per_epoch, self.seed, self.current_epoch)
        return TrainingBatches(self.train_windows, *order, *place, config.accumulate)

    def val_dataloader(self) -> ValidationBatches | list[Piece]:
        """Return the validation windows in order."""
        place = self.trainer.global_rank, self.trainer.world_size
        return ValidationBatches(self.valid_windows, self.settings.batch, *place) if len(self.valid_windows) else []

    def transfer_batch_to_device(self, batch: Turn | Piece, device: torch.device, dataloader_idx: int) -> Turn | Piece:
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
        steps = config.epochs * self.train_dataloader().steps_here
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

    def on_train_batch_start(self, batch: Turn, batch_idx: int) -> None:
        """Set what depends on the number of steps done: learning rate and the back-end's own warm-up."""
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.learning_rate(self.global_step)
        self.backend.warm(self.global_step)

    def training_step(self, turn: Turn, index: int) -> Tensor:
        """Return the loss of one turn; step back if it is not finite."""
        if turn.ahead:
            self.totals = self._counted(turn.ahead)
        turns = self.settings.accumulate
        part = self._part(turn.piece, self.totals if turns > 1 else None)
        with computing(part):
            parts = self.backend.loss(turn.piece.batch, self._source())
        values = torch.stack(list(parts.values()))
        numbers = self._numbers(parts, part)
        if not all(map(math.isfinite, numbers.values())):
            self.step_back("the loss", ", ".join(f"{name} {number:g}" for name, number in numbers.items()))
        self._add("train", numbers, int((index + 1) % turns == 0))
        if part is None:
            return values.sum()
        return values.sum() * (part.share * turns * self.trainer.world_size)  # the trainer averages over both

    def _source(self) -> torch.Generator:
        return generator(self.seed, "step", self.global_step)

    def _part(self, piece: Piece, totals: Sequence[Tensor] | None = None) -> Part | None:
        if len(piece.rows) == piece.whole:
            return None
        if totals is not None:
            return knowing(piece.rows, piece.whole, totals)
        return Part(piece.rows, piece.whole, self._over_ranks)

    def _counted(self, pieces: Sequence[Piece]) -> list[Tensor]:
        """Find out, before the first of several turns, what the means of all turns and processes are over."""
        kept = {name: buffer.clone() for name, buffer in self.backend.named_buffers()}
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            each = [
                counts(piece.rows, piece.whole, partial(self.backend.loss, piece.batch, self._source()))
                for piece in pieces
            ]
        for name, buffer in self.backend.named_buffers():
            buffer.copy_(kept[name])
        return [self._over_ranks(torch.stack(asked).sum(0)) for asked in zip(*each, strict=True)]

    def _over_ranks(self, values: Tensor) -> Tensor:
        """Add up over all processes."""
        if self.trainer.world_size > 1:
            values = values.detach().clone()
            distributed.all_reduce(values)
        return values

    def _numbers(self, parts: dict[str, Tensor], part: Part | None) -> dict[str, float]:
        """Return what the parts of the loss add to those of the whole batch, of all processes."""
        values = torch.stack([value.detach() for value in parts.values()])
        if part is not None:
            values = self._over_ranks(values.double() * part.share)
        return dict(zip(parts, values.tolist(), strict=True))

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
        self.leave(partial(self.journal.step_back, self.current_epoch + 1, self.global_step, reason), reason)

    def leave(self, write: Callable[[], NoReturn], reason: str) -> NoReturn:
        """Leave training in all processes once one of them has written why; the first to end would end it, too."""
        try:
            if self.trainer.is_global_zero:
                write()
        finally:
            self.trainer.strategy.barrier()
        raise UnstableError(reason)

    def on_train_batch_end(self, outputs: Any, batch: Turn, batch_idx: int) -> None:
        """Move the average towards the weights, once they have moved."""
        if self.average is None or self.settings.ema is None or (batch_idx + 1) % self.settings.accumulate:
            return
        step = self.global_step
        keep = min(self.settings.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for kept, current in zip(self.average.parameters(), self.backend.parameters(), strict=True):
                kept.lerp_(current, 1 - keep)

    def on_validation_epoch_start(self) -> None:
        """Weight every part of the loss fully."""
        self.result.warm(None)

    def validation_step(self, piece: Piece, index: int) -> None:
        """Add up the loss parts of one validation batch; its draws are the same in every epoch."""
        part = self._part(piece)
        with computing(part):
            parts = self.result.loss(piece.batch, generator(self.seed, "validation", index))
        numbers = self._numbers(parts, part)
        self._add("valid", {name: piece.whole * value for name, value in numbers.items()}, piece.whole)

    def means(self, part: str) -> dict[str, float]:
        """Return the mean of every loss part in this epoch, and of their sum as `loss`."""
        means = {name: total / self.counts[part] for name, total in self.sums[part].items()}
        return means | ({"loss": math.fsum(means.values())} if means else {})

    def _add(self, part: str, values: dict[str, float], count: int) -> None:
        for name, value in values.items():
            self.sums[part][name] = self.sums[part].get(name, 0.0) + value
        self.counts[part] += count
