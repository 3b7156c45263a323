"""Dropout whose masks are cheap on the processor."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.compiled.dropout import kept

LEVELS = 2**16


class Dropout(nn.Module):
    """Sets entries to 0 in training and scales the others up, each with the same probability.

    As `torch.nn.Dropout`, whose draws take as long as a layer on the processor: here 16 random bits decide. The draws
    follow torch's seed.

    Parameters
    ----------
    rate
        Share of entries left out, rounded to 1/65536.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return x with entries left out; x itself outside training."""
        dropped = round(self.rate * LEVELS)
        if not self.training or not dropped:
            return x
        if x.device.type != "cpu":
            return nn.functional.dropout(x, self.rate)
        seed = int(torch.randint(2**62, ()))
        bits = np.random.Generator(np.random.SFC64(seed)).integers(LEVELS, size=x.numel(), dtype=np.uint16)
        return _Dropped.apply(x, bits, dropped)  # pyright: ignore[reportReturnType]


class _Dropped(torch.autograd.Function):
    """x where its random bits are not below `dropped`, scaled up; 0 elsewhere."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bits: np.ndarray, dropped: int) -> Tensor:
        ctx.chosen = (bits, np.uint16(dropped), LEVELS / (LEVELS - dropped))
        return _kept(x, *ctx.chosen)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _kept(gradients[0], *ctx.chosen), None, None


def _kept(x: Tensor, bits: np.ndarray, dropped: np.uint16, scale: float) -> Tensor:
    values = x.detach().contiguous().numpy()
    out = kept(values.ravel(), bits, dropped, values.dtype.type(scale))
    return torch.from_numpy(out.reshape(values.shape))
