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


def sinusoids(position: Float[Tensor, "*batch"], features: int) -> Float[Tensor, "*batch feature"]:
    """Encode positions by sin(ωᵢ p) and cos(ωᵢ p), one after the other, with ωᵢ = 10000^(−2i / features).

    Vaswani et al. 2017, Attention is all you need; positions need not be whole numbers.

    Parameters
    ----------
    features
        Even.
    """
    exponent = torch.arange(0, features, 2, device=position.device, dtype=position.dtype) / features
    angle = position[..., None] * 10_000.0**-exponent
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)


def paired_sinusoids(
    first: Float[Tensor, "*batch"], second: Float[Tensor, "*batch"], features: int
) -> Float[Tensor, "*batch feature"]:
    """Encode two coordinates in a half of the features each, so that exchanging them is told apart.

    Parameters
    ----------
    features
        A multiple of four.
    """
    return torch.cat([sinusoids(first, features // 2), sinusoids(second, features // 2)], dim=-1)
