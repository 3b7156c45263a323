"""Convolutions by products of Fourier coefficients, on grids of any dimension."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn


class SpectralConvolution(nn.Module):
    """A linear map of channels for every low frequency of a periodic grid.

        y = F⁻¹(R_k F(x)_k), with R_k a complex matrix for −m ≤ k < m (0 ≤ k < m in the last dimension), 0 elsewhere

    Li et al. 2021, Fourier neural operator for parametric partial differential equations, ICLR.

    Parameters
    ----------
    inputs, outputs
        Channels.
    grid
        Points in each dimension.
    modes
        m of each dimension; what the grid does not have is left out.
    """

    kept: Tensor

    def __init__(self, inputs: int, outputs: int, grid: tuple[int, ...], modes: tuple[int, ...]) -> None:
        super().__init__()
        self.grid, self.spectrum = grid, (*grid[:-1], grid[-1] // 2 + 1)
        kept = _low_frequencies(grid, modes)
        self.register_buffer("kept", torch.from_numpy(kept), persistent=False)
        scale = 1 / math.sqrt(2 * inputs)
        self.weight = nn.Parameter(scale * torch.randn(inputs, outputs, kept.size, 2))

    def forward(self, x: Float[Tensor, "batch inputs *grid"]) -> Float[Tensor, "batch outputs *grid"]:
        """Convolve."""
        dims = tuple(range(-len(self.grid), 0))
        x = x.to(self.weight.dtype)  # there are no transforms in bfloat16
        coefficients = torch.fft.rfftn(x, dim=dims).flatten(2)[..., self.kept]
        product = torch.einsum("bik,iok->bok", coefficients, torch.view_as_complex(self.weight))
        out = product.new_zeros(*product.shape[:2], math.prod(self.spectrum))
        out[..., self.kept] = product
        return torch.fft.irfftn(out.unflatten(2, self.spectrum), s=self.grid, dim=dims)


class FourierLayers(nn.Module):
    """A stack of Fourier layers: v ← GELU(K v + W v + b), the last one without GELU.

    K is a spectral convolution, W a linear map of the channels at each point. Li et al. 2021, ICLR.

    Parameters
    ----------
    width
        Channels.
    layers
        Number of layers.
    grid, modes
        As for `SpectralConvolution`.
    """

    def __init__(self, width: int, layers: int, grid: tuple[int, ...], modes: tuple[int, ...]) -> None:
        super().__init__()
        self.global_maps = nn.ModuleList([SpectralConvolution(width, width, grid, modes) for _ in range(layers)])
        self.local_maps = nn.ModuleList([nn.Conv1d(width, width, 1) for _ in range(layers)])

    def forward(self, v: Float[Tensor, "batch width *grid"]) -> Float[Tensor, "batch width *grid"]:
        """Transform features."""
        for number, (spectral, local) in enumerate(zip(self.global_maps, self.local_maps, strict=True), start=1):
            v = spectral(v) + local(v.flatten(2)).view(v.shape)
            v = nn.functional.gelu(v) if number < len(self.local_maps) else v
        return v


def coordinates(height: int, width: int) -> Float[Tensor, "2 height width"]:
    """Return row and column of each pixel's centre on [0, 1]."""
    rows, columns = (torch.arange(n) / n + 0.5 / n for n in (height, width))
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"))


def _low_frequencies(grid: tuple[int, ...], modes: tuple[int, ...]) -> np.ndarray:
    """Return where the kept coefficients lie in a flattened half spectrum."""
    axes = [np.fft.fftfreq(n, 1 / n).round() for n in grid[:-1]]
    chosen = [np.flatnonzero((k >= -m) & (k < m)) for k, m in zip(axes, modes, strict=False)]
    chosen.append(np.arange(min(modes[-1], grid[-1] // 2 + 1)))
    spectrum = (*grid[:-1], grid[-1] // 2 + 1)
    return np.ravel_multi_index(np.meshgrid(*chosen, indexing="ij"), spectrum).ravel()
