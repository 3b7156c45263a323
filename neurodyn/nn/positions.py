"""Positional encodings of continuous coordinates."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class FourierFeatures(nn.Module):
    """Fixed Fourier features of coordinates on [0, 1]: x − ½, sin 2πfx and cos 2πfx for f = ½, 1, … up to the band.

    Deterministic frequencies in the manner of Tancik et al. 2020, Fourier features let networks learn high frequency
    functions in low dimensional domains.

    Parameters
    ----------
    bands
        Highest frequency of each coordinate, in cycles per unit interval; 0 leaves the linear term alone.
    """

    frequencies: Tensor

    def __init__(self, bands: tuple[float, ...]) -> None:
        super().__init__()
        self.counts = [int(2 * band) for band in bands]
        top = max(1, *self.counts)
        self.register_buffer("frequencies", torch.arange(1, top + 1) / 2, persistent=False)

    @property
    def features(self) -> int:
        """Number of features per position."""
        return sum(1 + 2 * count for count in self.counts)

    def forward(self, position: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch feature"]:
        """Encode positions."""
        parts = [position - 0.5]
        for axis, count in enumerate(self.counts):
            angle = 2 * math.pi * position[..., axis : axis + 1] * self.frequencies[:count]
            parts += [angle.sin(), angle.cos()]
        return torch.cat(parts, dim=-1)
