"""Batches and models that the tests of the comparison models share."""

from typing import Any

import numpy as np
import torch

from neurodyn.backends import BACKENDS
from neurodyn.backends.base import Backend
from neurodyn.backends.batch import Batch
from neurodyn.backends.layout import Layout

SPACE = (5, 6)


def brain() -> np.ndarray:
    mask = np.ones(SPACE, dtype=bool)
    mask[:2, :3] = False
    return mask


def make(name: str, frames: int = 8, space: tuple[int, ...] = SPACE, **config: Any) -> Backend:
    """A model prepared on data of mean 3 and standard deviation 2, with weights away from their start."""
    torch.manual_seed(0)
    kind = BACKENDS.get(name)
    inside = brain() if space == SPACE else np.ones(space, bool)
    model = kind(kind.Config(**config), Layout(frames, space, 10.0, inside))
    data = np.random.default_rng(0).normal(3, 2, (30, frames, *space)).astype(np.float32)
    data[:, :, ~inside] = np.nan
    model.prepare([data])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    return model.eval()


def make_batch(
    frames: int = 8, space: tuple[int, ...] = SPACE, hide: tuple[int, ...] = (), irregular: bool = False, count: int = 4
) -> Batch:
    rng = torch.Generator().manual_seed(1)
    x = 3 + 2 * torch.randn(count, frames, *space, generator=rng)
    inside = brain() if space == SPACE else np.ones(space, bool)
    valid = torch.from_numpy(inside).expand(x.shape).clone()
    visible = valid.clone()
    visible[:, list(hide)] = False
    t = (torch.arange(frames) / 10.0).expand(count, -1)
    if irregular:
        t = t + 0.04 * torch.rand(t.shape, generator=rng)
    return Batch(x.where(valid, 0.0), t, visible, valid, torch.zeros(count, dtype=torch.long))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def parameters(name: str, layout: Layout, config: dict[str, Any]) -> int:
    """Count without allocating."""
    kind = BACKENDS.get(name)
    with torch.device("meta"):
        model = kind(kind.Config(**config), layout)
    return sum(parameter.numel() for parameter in model.parameters())
