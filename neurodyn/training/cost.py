"""Measure what a training step of a model takes, in seconds and bytes."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from neurodyn.backends.base import Backend
from neurodyn.core.config import Layer, resolve, validate
from neurodyn.core.errors import ConfigError
from neurodyn.core.registry import unknown
from neurodyn.training.batches import generator, read_batch
from neurodyn.training.devices import Devices, reproducible
from neurodyn.training.run import Run


@dataclass(frozen=True)
class StepCost:
    """What a training step of a model costs.

    Parameters
    ----------
    run
        The model's run.
    value
        Value of the parameter that varied; None where none did.
    seconds
        Of every step, shape (step,).
    peak
        Most memory that tensors made in a step held at once, bytes.
    """

    run: Run
    value: float | None
    seconds: np.ndarray
    peak: int


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


def step_costs(
    runs: Sequence[Run], vary: str | None, values: Sequence[float], *, windows: int, steps: int, seed: int
) -> list[StepCost]:
    """Measure loss and gradients on the first training windows, on the CPU, the models taking turns.

    Parameters
    ----------
    vary, values
        A number among the models' parameters, and its values; None and () for the models as they are.
    windows, steps
        Training windows in a step, and steps timed, after one that is not.
    seed
        Seed of the steps.

    Raises
    ------
    ConfigError
        If a model has no such parameter, or its weights depend on it.
    """
    cases = [(run, value) for value in values or (None,) for run in runs]
    models = [run.backend if value is None else _varied(run, str(vary), value) for run, value in cases]
    made = [_step(model, run, windows, seed) for model, (run, _) in zip(models, cases, strict=True)]
    with reproducible(max(run.config.training.threads for run in runs), Devices(())):
        peaks = [_peak(step) for step in made]
        times = np.array([[_seconds(step) for step in made] for _ in range(steps)])
    return [StepCost(*case, own, peak) for case, own, peak in zip(cases, times.T, peaks, strict=True)]


def _step(model: Backend, run: Run, windows: int, seed: int) -> Callable[[], None]:
    """Return what computes the loss and its gradients on the first training windows."""
    model.train()
    train = run.windows["train"]
    batch = read_batch(train, slice(0, min(windows, len(train))))

    def step() -> None:
        model.zero_grad()
        torch.stack(list(model.loss(batch, generator(seed, "step")).values())).sum().backward()

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
