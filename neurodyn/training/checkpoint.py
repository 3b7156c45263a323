"""What survives a kill: one checkpoint per epoch, and the metrics table made from it."""

from __future__ import annotations

import csv
import logging
import math
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytorch_lightning as pl
import torch

from neurodyn.core.errors import DataError
from neurodyn.core.files import atomic, writing
from neurodyn.core.log import LOGGER, log_to
from neurodyn.data.damage import DAMAGED, reason
from neurodyn.training.module import TrainingModule
from neurodyn.training.ranks import arrive, join_in
from neurodyn.training.stability import Journal, Progress, Row


class Keeper(pl.Callback):
    """After every epoch: a row of metrics, a look at the model's health, the best weights and an atomic checkpoint.

    Parameters
    ----------
    journal
        What went wrong before, and the run folder.
    progress
        Called with every new row, which also holds `epochs`, the number planned.
    """

    def __init__(self, journal: Journal, progress: Progress | None = None) -> None:
        self.journal, self.progress = journal, progress
        self.rows: list[Row] = []
        self.best: dict[str, Any] = {"epoch": -1, "value": math.inf, "weights": {}, "warm": False}
        self.finished = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin in a process of its own, before the trainer there says anything."""
        vars(self).update(state)
        arrive()

    @property
    def state_key(self) -> str:
        """Name of the state in a checkpoint."""
        return "neurodyn"

    def state_dict(self) -> dict[str, Any]:
        """Return rows, best weights and whether training is over."""
        return {"attempt": self.journal.attempt, "rows": self.rows, "best": self.best, "finished": self.finished}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what an interrupted run had."""
        self.rows, self.best, self.finished = state_dict["rows"], state_dict["best"], state_dict["finished"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin as one of several processes."""
        if trainer.world_size > 1:
            join_in(_module(pl_module).settings.threads)
            if trainer.is_global_zero:
                LOGGER.setLevel(logging.INFO)
                log_to(self.journal.folder / "log.jsonl")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch."""
        module = _module(pl_module)
        row = _row(trainer, module)
        self.rows.append(row)
        patience, epochs = module.settings.patience, module.settings.epochs
        if trainer.is_global_zero:
            LOGGER.info("epoch %d/%d", row["epoch"], epochs, extra={"fields": dict(row)})
            if self.progress:
                self.progress(row | {"epochs": epochs})
        self._judge(row, module)
        module.plateau.add(module.means("train")["loss"], module.settings)
        stale = patience is not None and row["epoch"] - self.best["epoch"] >= patience
        self.finished = stale or row["epoch"] >= epochs
        trainer.should_stop = trainer.should_stop or stale
        self._save(trainer)

    def _judge(self, row: Row, module: TrainingModule) -> None:
        """Keep the weights with the smallest hidden-frame error on validation windows; the latest if there are none.

        While the model's own warm-up lasts, the latest are kept: its losses cannot be compared yet. Training steps
        back from a loss that is not finite, and starts anew when the model says that it has collapsed.
        """
        value = row.get("valid_hidden", row.get("valid_loss", -float(row["epoch"])))
        if not math.isfinite(value):
            module.step_back("the validation loss", f"{value:g}")
        parts = {name: mean for name, mean in module.means("valid").items() if name != "loss"}
        reason = module.result.health(parts, int(row["step"])) if parts else None
        if reason is not None:
            epoch, step = int(row["epoch"]), int(row["step"])
            module.leave(partial(self.journal.restart, epoch, step, reason, self.rows), reason)
        warm = row["step"] < module.backend.warm_steps
        if value < self.best["value"] or self.best["warm"]:
            weights = {name: tensor.detach().cpu().clone() for name, tensor in module.result.state_dict().items()}
            self.best = {"epoch": row["epoch"], "value": value, "weights": weights, "warm": warm}

    def _save(self, trainer: pl.Trainer) -> None:
        path = checkpoint_path(self.journal.folder)
        partial = path.with_suffix(".partial")
        with writing(path), _short_of_memory():
            trainer.save_checkpoint(partial)
            if trainer.is_global_zero:
                partial.replace(path)
        if trainer.is_global_zero:
            write_metrics(self.journal.folder, [*self.journal.rows, *self.rows])


@contextmanager
def _short_of_memory() -> Iterator[None]:
    """Tell what torch's archive, which is put together in memory, makes of a lack of it."""
    try:
        yield
    except RuntimeError as error:
        if "inline_container" in str(error):
            raise MemoryError("A checkpoint needs as much again as weights and optimiser do.") from error
        raise


def _row(trainer: pl.Trainer, module: TrainingModule) -> Row:
    row: Row = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
    row["lr"] = module.learning_rate(trainer.global_step)
    row |= {"attempt": module.journal.attempt, "step_backs": module.journal.step_backs}
    for part in ("train", "valid"):
        row |= {f"{part}_{name}": value for name, value in module.means(part).items()}
    return row


def _module(module: pl.LightningModule) -> TrainingModule:
    if not isinstance(module, TrainingModule):
        raise TypeError(type(module).__name__)
    return module


def checkpoint_path(folder: Path) -> Path:
    """Return the path of a run's only checkpoint."""
    return folder / "checkpoints" / "last.ckpt"


def read_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Read what the Keeper kept, without running any code from the file; None if there is no checkpoint.

    Raises
    ------
    DataError
        If the checkpoint is damaged.
    """
    path = checkpoint_path(folder)
    if not path.exists():
        return None
    try:
        _compare_checksums(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        return state["callbacks"]["neurodyn"]
    except (*DAMAGED, pickle.UnpicklingError) as error:
        raise DataError(
            f"{path} is damaged.",
            f"{type(error).__name__}: {reason(error)}.",
            "Start over in this folder: --existing overwrite",
        ) from error


def _compare_checksums(path: Path) -> None:
    """Refuse an archive with a changed part, which torch reads without a word."""
    with ZipFile(path) as archive:
        changed = archive.testzip()
    if changed is not None:
        raise ValueError(f"the checksum of its part {changed} is wrong")


def write_metrics(folder: Path, rows: list[Row]) -> None:
    """Write metrics.csv atomically, one row per epoch."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with atomic(folder / "metrics.csv") as path, path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, names)
        writer.writeheader()
        writer.writerows(rows)
