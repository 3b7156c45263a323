"""Measure what a training step of a model costs, in seconds and bytes, while one of its parameters varies."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from neurodyn.backends.base import Backend
from neurodyn.core.config import Layer, Params, resolve, validate
from neurodyn.core.errors import ConfigError
from neurodyn.core.registry import unknown
from neurodyn.data.scores import Score, write_evaluation
from neurodyn.metrics.intervals import bootstrap_interval
from neurodyn.training.batches import generator, read_batch
from neurodyn.training.devices import Devices, reproducible
from neurodyn.training.run import Run, load_run


class CostScoreConfig(Params):
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
    def _consistent(self) -> CostScoreConfig:
        if (self.vary is None) == bool(self.values):
            raise ValueError("vary and values go together")
        return self


class PeakMemory(TorchDispatchMode):
    """Largest memory, in bytes, that tensors made within held at once, on any device; scratch inside operations aside."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count what it made."""
        given = {_storage(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and not (_storage(leaf) in given or _storage(leaf) in self._known):
                self._count(leaf)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        address, size = _storage(tensor), storage.nbytes()
        self._known.add(address)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._freed, address, size)

    def _freed(self, address: int, size: int) -> None:
        self._known.discard(address)
        self.now -= size


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def score_cost(paths: Sequence[Path], out: Path, config: CostScoreConfig) -> Path:
    """Measure loss and gradients of models on windows of their training data, and write one table.

    `seconds`: median over the steps, the models taking turns. `megabytes`: most memory that tensors made in a step held
    at once, the gradients among them. On the CPU, with as many threads as the run was trained with.

    Parameters
    ----------
    paths
        Run folders.
    out
        Folder for scores.csv (one row per step, and the whole with fold "all") and evaluate.json.

    Raises
    ------
    ConfigError
        If a model has no such parameter, or its weights depend on it.
    """
    runs = [load_run(path) for path in paths]
    cases = [(run, value) for value in config.values or (None,) for run in runs]
    steps = [_step(run, value, config) for run, value in cases]
    threads = {run.config.training.threads for run in runs}
    with reproducible(max(threads), Devices(())):
        peaks = [_peak(step) for step in steps]
        seconds = np.array([[_seconds(step) for step in steps] for _ in range(config.steps)])
    scores = []
    for (run, value), peak, times in zip(cases, peaks, seconds.T, strict=True):
        scores += _scores(run, value, peak, times, config)
    return write_evaluation(out, "cost", scores, [path for run in runs for path in run.recordings], config)


def _step(run: Run, value: float | None, config: CostScoreConfig) -> Callable[[], None]:
    """Return what computes the loss and its gradients on the first training windows."""
    model = run.backend if value is None else _varied(run, str(config.vary), value)
    model.train()
    train = run.windows["train"]
    batch = read_batch(train, slice(0, min(config.windows, len(train))))

    def step() -> None:
        model.zero_grad()
        torch.stack(list(model.loss(batch, generator(config.seed, "step")).values())).sum().backward()

    return step


def _varied(run: Run, name: str, value: float) -> Backend:
    """Return a run's model with another value of one parameter."""
    own = run.backend.config
    fields = type(own).model_fields
    if name not in fields:
        raise unknown("parameter", name, sorted(fields))
    changed = Layer(own.model_dump() | {name: int(value) if float(value).is_integer() else value}, "--set vary")
    model = type(run.backend)(validate(type(own), resolve([changed])), run.backend.layout)
    try:
        model.load_state_dict(run.backend.state_dict())
    except RuntimeError as error:
        raise ConfigError(
            f"The weights of {run.config.name} depend on {name}.",
            "A cost is measured with the weights of the run.",
            "Vary another parameter, or train a run for each value.",
        ) from error
    return model


def _peak(step: Callable[[], None]) -> int:
    with PeakMemory() as memory:
        step()
    return memory.peak


def _seconds(step: Callable[[], None]) -> float:
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def _scores(run: Run, value: float | None, peak: int, times: np.ndarray, config: CostScoreConfig) -> Iterator[Score]:
    nothing = float("nan")
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
        fold="all",
        value=float(np.median(times)),
        ci_low=low,
        ci_high=high,
        null_mean=nothing,
        p=nothing,
        n=times.size,
        unit="steps",
        features="" if value is None else f"{value:g}",
    )
    yield whole
    for k, seconds in enumerate(times):
        yield replace(whole, fold=str(k), value=float(seconds), ci_low=nothing, ci_high=nothing, n=1)
    yield replace(whole, metric="megabytes", value=peak / 1e6, ci_low=nothing, ci_high=nothing, n=1)
