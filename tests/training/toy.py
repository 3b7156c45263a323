"""A model of one number that can be told to fail: at a planted step, or for unlucky seeds."""

import csv
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, distributed, nn

from neurodyn.backends.base import Backend
from neurodyn.backends.batch import Batch, Prediction
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.base import BackendConfig
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.core.search import Choice, Range
from neurodyn.runs.config import RunConfig
from neurodyn.training.fit import fit

FINAL = ("model.safetensors", "metrics.csv", "model.json", "status.json", "config.yaml")  # what a finished run leaves


def settings(model: dict | None = None, **training) -> RunConfig:
    """Five epochs of three steps of the toy, at a learning rate that stays."""
    training = {
        "epochs": 5, "steps_per_epoch": 3, "batch": 4, "lr": 0.01, "warmup": 0, "schedule": "constant",
        "weight_decay": 0.0, "ema": 0.5,
    } | training  # fmt: skip
    return RunConfig.model_validate({
        "name": "toy", "backend": "toy", "model": model or {}, "windows": {"duration": 0.8}, "training": training,
    })  # fmt: skip


def run(config: RunConfig, recording: Path, out: Path, **options) -> Path:
    """Train on the CPU."""
    return fit(config, None, [recording], out, gpu="none", **options)


def metrics(folder: Path) -> list[dict[str, str]]:
    """Read a run's metrics, a row per epoch."""
    with (folder / "metrics.csv").open() as handle:
        return list(csv.DictReader(handle))


class ToyConfig(BackendConfig):
    """When it fails.

    At step `planted` the loss or its gradient is NaN, if the number has by then been pulled above `ceiling`; a model
    whose seed gave it less `luck` than `unlucky` collapses after `healthy` steps. The part `prior` reaches its full
    weight after `ramp` steps; with `rising`, the validation loss rises by one learning rate a step. Of several processes
    only the last fails at `planted`, and at step `ends` it ends as `end` says: it raises a DataError or another error, or
    kills itself; once, where the file `once` is there, which it removes.
    """

    planted: int | None = None
    ceiling: float = 0.0
    where: str = "loss"
    unlucky: float = 0.0
    healthy: int = 0
    ramp: int = 0
    rising: bool = False
    ends: int | None = None
    end: str = "data"
    once: str | None = None
    capabilities: ClassVar = frozenset({"reconstruct"})


class Toy(Backend):
    """x̂ = x + b, pulled upwards by one learning rate a step."""

    Config = ToyConfig
    config: ToyConfig
    luck: Tensor
    seen: ClassVar[list[tuple[bool, float]]] = []

    def __init__(self, config: ToyConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.number = nn.Parameter(torch.zeros(()))
        self.register_buffer("luck", torch.rand(()))
        self.weight, self.step = 1.0, 0

    @property
    def warm_steps(self) -> int:
        return self.config.ramp

    def warm(self, step: int | None) -> None:
        self.weight = 1.0 if step is None or not self.config.ramp else min(1.0, step / self.config.ramp)
        self.step = step

    def health(self, valid: dict[str, float], step: int) -> str | None:
        assert set(valid) == {"pull", "prior"}
        unlucky = self.luck < self.config.unlucky and step >= self.config.healthy
        return f"the prior is {valid['prior']:.3f}" if unlucky else None

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        return Prediction(mean=batch.x + self.number)

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        self.seen.append((self.training, self.weight))
        noise = torch.randn((), generator=generator)
        parts = {"pull": -self.number * (1 + 0.01 * noise.abs()), "prior": self.weight * (self.luck + batch.x.mean())}
        if self.config.rising and not self.training:
            parts["pull"] = -parts["pull"]
        alone = not distributed.is_initialized()
        last = alone or distributed.get_rank() == distributed.get_world_size() - 1
        if self.training and last and self.step == self.config.ends:
            self.come_to_an_end()
        if last and self.step is not None and self.step == self.config.planted and self.number > self.config.ceiling:
            nothing = (self.number - self.number.detach()).abs()
            parts["pull"] = parts["pull"] + (torch.nan if self.config.where == "loss" else nothing.sqrt())
        return parts

    def come_to_an_end(self) -> None:
        once = None if self.config.once is None else Path(self.config.once)
        if once is not None and not once.exists():
            return
        if once is not None:
            once.unlink()
        if self.config.end == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.config.end == "data":
            raise DataError("The data are damaged.", "Found nothing.", "Fetch them again.")
        raise RuntimeError("the toy broke")


class SessionsConfig(BackendConfig):
    """No settings."""

    capabilities: ClassVar = frozenset({"reconstruct", "latents", "sessions"})


class Sessions(Backend):
    """x̂ = mean of each session's cells over its training windows, plus a trained number."""

    Config = SessionsConfig
    level: Tensor

    def __init__(self, config: SessionsConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.number = nn.Parameter(torch.zeros(()))
        self.register_buffer("level", torch.zeros(len(layout.cells), *layout.space))

    def prepare_sessions(self, frames: Iterable[tuple[int, np.ndarray]]) -> None:
        sums = {}
        for session, chunk in frames:
            assert chunk.shape[2] == self.layout.cells[session]
            total, count = sums.get(session, (0.0, 0))
            sums[session] = (total + np.nansum(chunk, (0, 1)), count + np.isfinite(chunk).sum((0, 1)))
        for session, (total, count) in sums.items():
            self.level[session, : total.size] = torch.from_numpy(total / count)

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        mean = (self.level[batch.session][:, None] + self.number).expand_as(batch.x)
        return Prediction(mean=mean, latents=mean[..., :2])

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        error = (self(batch).mean - batch.x) ** 2
        return {"error": error.where(batch.valid, 0.0).sum() / batch.valid.sum()}


class TunableConfig(BackendConfig):
    """Where it stands: `level` is best at 0.3, `shape` is [2, 2] or not, and a `bad` one cannot be built."""

    level: float = 0.9
    shape: tuple[int, int] = (1, 1)
    size: int | None = None
    bad: bool = False
    capabilities: ClassVar = frozenset({"reconstruct"})


class Tunable(Backend):
    """x̂ = m + b, m the mean of the training windows; the error falls to (level − 0.3)² + [shape is not (2, 2)]."""

    Config = TunableConfig
    SEARCH: ClassVar = {
        "model.level": Range(0.0, 1.0),
        "model.shape": Choice(((1, 1), (2, 2))),
        "training.lr": Range(1e-3, 1e-1, log=True),
    }
    config: TunableConfig
    mean: Tensor

    def __init__(self, config: TunableConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        if config.bad:
            raise ConfigError("Toy is bad.", "Found bad.", "Be good.")
        self.number = nn.Parameter(torch.ones(()))
        self.register_buffer("mean", torch.zeros(()))

    def prepare(self, frames: Iterable[np.ndarray]) -> None:
        self.mean.fill_(float(np.nanmean(np.concatenate([chunk.ravel() for chunk in frames]))))

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        return Prediction(mean=(self.mean + self.number).expand_as(batch.x))

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        error = ((self(batch).mean - batch.x) ** 2).where(batch.valid, 0.0).mean()
        away = (self.config.level - 0.3) ** 2 + float(self.config.shape != (2, 2))
        return {"hidden": error + away}
