"""Dropout whose masks are cheap on the processor."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

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
        bits = np.random.Generator(np.random.SFC64(seed)).integers(LEVELS, size=x.shape, dtype=np.uint16)
        keep = np.multiply(bits >= dropped, np.float32(LEVELS / (LEVELS - dropped)), dtype=np.float32)
        return x * torch.from_numpy(keep).to(x.dtype)
