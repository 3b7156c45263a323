"""The training loop, to be read from top to bottom: forward, backward, accumulate, clip, step, validate, keep."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NoReturn

import torch
from torch import Tensor

from neurodyn.backends.base import Backend
from neurodyn.core.log import LOGGER
from neurodyn.data.windows import Windows
from neurodyn.nn.optimisers import AdamW
from neurodyn.nn.parts import Part, computing, counts, knowing
from neurodyn.runs.config import TrainingConfig
from neurodyn.training.batches import MicroBatch, TrainingBatches, ValidationBatches, derive_seed, generator
from neurodyn.training.checkpoint import Checkpoint, last_checkpoint, save_checkpoint
from neurodyn.training.ranks import Ranks
from neurodyn.training.schedule import Plateau, share_of_peak
from neurodyn.training.stability import Journal, Progress, Row, UnstableError


class TrainingLoop:
    """Trains a back-end: AdamW, a schedule, clipped gradients, exponential average of the weights, a checkpoint per epoch.

    The average decays by min(ema, (1 + n) / (10 + n)) after step n, so that it forgets the initial weights soon.

    Every batch may be shared by several processes and computed in several micro-batches. What is drawn for a window, and
    what a mean is over, is that of the whole batch; all processes see the same losses, and decide alike.

    Parameters
    ----------
    backend
        A prepared back-end.
    config
        How to train.
    train, valid
        Windows; `valid` may be empty.
    journal
        What went wrong before, and the folder; where a loss that is not finite is recorded.
    device
        Where to compute.
    ranks
        This process among those that train together.
    progress
        Called by the first of them with every new row, which also holds `epochs`, the number planned.
    """

    def __init__(
        self,
        backend: Backend,
        config: TrainingConfig,
        train: Windows,
        valid: Windows,
        journal: Journal,
        device: torch.device,
        ranks: Ranks | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.config, self.journal, self.device = config, journal, device
        self.ranks, self.progress = ranks or Ranks(), progress
        self.train, self.valid = train, valid
        self.seed, self.plateau = journal.seed(config.seed), Plateau()
        self.ranks.own(backend)
        self.backend = backend.to(device)
        self.average = copy.deepcopy(self.backend).requires_grad_(False) if config.ema else None
        self.optimiser = self.make_optimiser()
        self.epoch = self.step = 0
        self.kept = Checkpoint()
        self.train_losses, self.valid_losses = Mean(), Mean()

    @property
    def result(self) -> Backend:
        """The back-end that is validated and kept: the average where there is one."""
        return self.backend if self.average is None else self.average

    def run(self) -> None:
        """Train to the end, from where the last checkpoint of this attempt has it."""
        self._resume()
        if not self.kept.rows and self.backend.keeps_start and len(self.valid):
            self._keep_start()
        while not self.kept.finished:
            self._train_epoch()
            self._validate()
            self._end_epoch()

    def _keep_start(self) -> None:
        """Let the weights that training starts from be the ones to beat."""
        self._validate()
        means = self.valid_losses.means()
        self._keep(0, means.get("hidden", means["loss"]), warm=False)

    def _train_epoch(self) -> None:
        torch.manual_seed(derive_seed(self.seed, "epoch", self.epoch, self.ranks.rank))  # a resumed epoch repeats it
        self.train_losses = Mean()
        for micro_batches in self._batches():
            self.training_step([micro_batch.to(self.device) for micro_batch in micro_batches])

    def training_step(self, micro_batches: Sequence[MicroBatch]) -> None:
        """Move the weights once; the gradient is that of all micro-batches of all processes."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(self.step)
        self.backend.warm(self.step)
        self.optimiser.zero_grad()
        totals = self._counted(micro_batches) if len(micro_batches) > 1 else None
        for micro_batch in micro_batches:
            self.forward_backward(micro_batch, totals)
        self.ranks.add_gradients(self.backend)
        self._clip()
        self.optimiser.step()
        self.step += 1
        self.train_losses.count += 1
        self._move_average()

    def forward_backward(self, micro_batch: MicroBatch, totals: Sequence[Tensor] | None) -> None:
        """Add the gradient of one micro-batch; step back if its loss is not finite."""
        part = self._part(micro_batch, totals)
        self.ranks.share_buffers(self.backend)
        with self._precision(), computing(part):
            losses = self.backend.loss(micro_batch.batch, self._source())
            loss = torch.stack(list(losses.values())).sum()
        numbers = self._numbers(losses, part)
        if not all(map(math.isfinite, numbers.values())):
            self.step_back("the loss", ", ".join(f"{name} {number:g}" for name, number in numbers.items()))
        self.train_losses.add(numbers)
        (loss if part is None else loss * part.share).backward()

    def _clip(self) -> None:
        """Clip the gradient's norm; step back if it is not finite."""
        trained = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(trained, self.config.clip or math.inf).item()
        if not math.isfinite(norm):
            self.step_back("the gradient", f"norm {norm:g}")

    @torch.no_grad()
    def _move_average(self) -> None:
        """Move the average towards the weights."""
        if self.average is None or self.config.ema is None:
            return
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for kept, current in zip(self.average.parameters(), self.backend.parameters(), strict=True):
            kept.lerp_(current, 1 - keep)

    @torch.inference_mode()
    def _validate(self) -> None:
        """Find the losses of the validation windows, every part of them weighted fully."""
        self.valid_losses = Mean()
        self.result.warm(None)
        with evaluating(self.result):
            batches = ValidationBatches(self.valid, self.config.batch, self.ranks.rank, self.ranks.count)
            for index, micro_batch in enumerate(batches):
                self.validation_step(micro_batch.to(self.device), index)

    def validation_step(self, micro_batch: MicroBatch, index: int) -> None:
        """Add the losses of one validation batch; its draws are the same in every epoch."""
        part = self._part(micro_batch)
        with self._precision(), computing(part):
            losses = self.result.loss(micro_batch.batch, generator(self.seed, "validation", index))
        self.valid_losses.add(self._numbers(losses, part), micro_batch.whole)
        self.valid_losses.count += micro_batch.whole

    def _end_epoch(self) -> None:
        """Record the epoch, look at the model's health, and write a checkpoint."""
        row = self._row()
        self.kept.rows.append(row)
        if self.ranks.first:
            LOGGER.info("epoch %d/%d", row["epoch"], self.config.epochs, extra={"fields": dict(row)})
            if self.progress:
                self.progress(row | {"epochs": self.config.epochs})
        self._judge(row)
        self.plateau.add(self.train_losses.means()["loss"], self.config)
        patience = self.config.patience
        stale = patience is not None and row["epoch"] - self.kept.best["epoch"] >= patience
        self.kept.finished = stale or row["epoch"] >= self.config.epochs
        self.epoch += 1
        self._save()

    def _row(self) -> Row:
        row: Row = {"epoch": self.epoch + 1, "step": self.step, "lr": self.learning_rate(self.step)}
        row |= {"attempt": self.journal.attempt, "step_backs": self.journal.step_backs}
        for name, losses in (("train", self.train_losses), ("valid", self.valid_losses)):
            row |= {f"{name}_{part}": value for part, value in losses.means().items()}
        return row

    def _judge(self, row: Row) -> None:
        """Keep the weights with the smallest hidden-frame error on validation windows; the latest if there are none.

        While the model's own warm-up lasts, the latest are kept: its losses cannot be compared yet. Training steps
        back from a loss that is not finite, and starts anew when the model says that it has collapsed.
        """
        value = row.get("valid_hidden", row.get("valid_loss", -float(row["epoch"])))
        if not math.isfinite(value):
            self.step_back("the validation loss", f"{value:g}")
        parts = {name: mean for name, mean in self.valid_losses.means().items() if name != "loss"}
        reason = self.result.health(parts, self.step) if parts else None
        if reason is not None:
            restart = partial(self.journal.restart, self.epoch + 1, self.step, reason, self.kept.rows)
            self.leave(restart, reason)
        warm = self.step < self.backend.warm_steps
        if value < self.kept.best["value"] or self.kept.best["warm"]:
            self._keep(int(row["epoch"]), value, warm)

    def _keep(self, epoch: int, value: float, warm: bool) -> None:
        weights = {name: tensor.detach().cpu().clone() for name, tensor in self.result.state_dict().items()}
        self.kept.best = {"epoch": epoch, "value": value, "weights": weights, "warm": warm}

    def step_back(self, what: str, found: str) -> NoReturn:
        """Leave the epoch, to repeat it at a lower learning rate."""
        reason = f"{what} is not finite at step {self.step} ({found})"
        self.leave(partial(self.journal.step_back, self.epoch + 1, self.step, reason), reason)

    def leave(self, write: Callable[[], NoReturn], reason: str) -> NoReturn:
        """Leave training in all processes once one of them has written why; the first to end would end it, too."""
        try:
            if self.ranks.first:
                write()
        finally:
            self.ranks.wait()
        raise UnstableError(reason)

    def _save(self) -> None:
        if not self.ranks.first:
            return
        state = {"epoch": self.epoch, "step": self.step, "plateau": self.plateau.state()}
        state |= {"weights": self.backend.state_dict(), "optimiser": self.optimiser.state_dict()}
        state["average"] = None if self.average is None else self.average.state_dict()
        save_checkpoint(self.journal, self.kept, state)

    def _resume(self) -> None:
        kept = last_checkpoint(self.journal)
        if kept is None:
            return
        self.kept = Checkpoint(kept["rows"], kept["best"], kept["finished"])
        self.epoch, self.step, self.plateau = kept["epoch"], kept["step"], Plateau(**kept["plateau"])
        self.backend.load_state_dict(kept["weights"])
        self.optimiser.load_state_dict(kept["optimiser"])
        if self.average is not None:
            self.average.load_state_dict(kept["average"])

    def make_optimiser(self) -> torch.optim.Optimizer:
        """Return AdamW; every step sets its learning rate."""
        config = self.config
        trained = [parameter for parameter in self.backend.parameters() if parameter.requires_grad]
        return AdamW(
            trained, lr=config.lr, weight_decay=config.weight_decay, betas=config.betas, eps=config.eps, fused=True
        )

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        share = share_of_peak(step, self.config.epochs * len(self._batches()), self.config)
        return self.config.lr * share * (self.plateau.scale * self.journal.scale)

    def _batches(self) -> TrainingBatches:
        config = self.config
        order = (config.batch * config.accumulate, config.steps_per_epoch, self.seed, self.epoch)
        return TrainingBatches(self.train, *order, self.ranks.rank, self.ranks.count, config.accumulate)

    def _precision(self) -> torch.autocast:
        half = self.config.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=half, cache_enabled=False)

    def _source(self) -> torch.Generator:
        return generator(self.seed, "step", self.step)

    def _part(self, micro_batch: MicroBatch, totals: Sequence[Tensor] | None = None) -> Part | None:
        if len(micro_batch.rows) == micro_batch.whole:
            return None
        if totals is not None:
            return knowing(micro_batch.rows, micro_batch.whole, totals)
        return Part(micro_batch.rows, micro_batch.whole, self.ranks.total)

    def _counted(self, micro_batches: Sequence[MicroBatch]) -> list[Tensor]:
        """Find out, before the first of several micro-batches, what the means of all of them and all processes are over."""
        kept = {name: buffer.clone() for name, buffer in self.backend.named_buffers()}
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []), self._precision():
            each = [
                counts(one.rows, one.whole, partial(self.backend.loss, one.batch, self._source()))
                for one in micro_batches
            ]
        for name, buffer in self.backend.named_buffers():
            buffer.copy_(kept[name])
        return [self.ranks.total(torch.stack(asked).sum(0)) for asked in zip(*each, strict=True)]

    def _numbers(self, losses: dict[str, Tensor], part: Part | None) -> dict[str, float]:
        """Return what the parts of a loss add to those of the whole batch, of all processes."""
        values = torch.stack([value.detach() for value in losses.values()])
        if part is not None:
            values = self.ranks.total(values.double() * part.share)
        return dict(zip(losses, values.tolist(), strict=True))


class Mean:
    """Means of the parts of a loss over an epoch: sums, and the number of batches or windows that they are over."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0

    def add(self, losses: dict[str, float], weight: int = 1) -> None:
        """Add the losses of one batch, or of some of its windows."""
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + weight * value

    def means(self) -> dict[str, float]:
        """Return the mean of every part, and their sum as `loss`; nothing where there was no batch."""
        means = {name: total / self.count for name, total in self.sums.items()}
        return means | ({"loss": math.fsum(means.values())} if means else {})


@contextmanager
def evaluating(backend: Backend) -> Iterator[None]:
    """Put a back-end into evaluation mode, and every module back into the mode that it was in."""
    before = {module: module.training for module in backend.modules()}
    backend.eval()
    try:
        yield
    finally:
        for module, mode in before.items():
            module.training = mode
