"""Recurrent cells whose states are images."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ConvLSTMCell(nn.Module):
    """A long short-term memory whose products are convolutions.

        i, f, o = σ(W * [x, h] + b),  g = tanh(W_g * [x, h] + b_g),  c' = f c + i g,  h' = o tanh c'

    Shi et al. 2015, Convolutional LSTM network, NeurIPS; without peepholes. The forget
    gate's bias begins at 1, so that a new cell remembers (Jozefowicz et al. 2015, ICML).

    Parameters
    ----------
    inputs, hidden
        Channels of the input and of the state.
    kernel
        Side of the convolutions' square kernel, odd.
    """

    def __init__(self, inputs: int, hidden: int, kernel: int = 3) -> None:
        super().__init__()
        self.gates = nn.Conv2d(inputs + hidden, 4 * hidden, kernel, padding="same")
        nn.init.constant_(cast("Tensor", self.gates.bias)[hidden : 2 * hidden], 1.0)

    def forward(
        self, x: Float[Tensor, "batch inputs height width"], state: tuple[Tensor, Tensor]
    ) -> tuple[Float[Tensor, "batch hidden height width"], Float[Tensor, "batch hidden height width"]]:
        """Return the next h and c."""
        h, c = state
        i, f, o, g = self.gates(torch.cat([x, h], dim=1)).chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class ConvGRUCell(nn.Module):
    """A gated recurrent unit whose products are convolutions.

        z, r = σ(W * [x, h] + b),  n = tanh(W_n * [x, r h] + b_n),  h' = (1 − z) h + z n

    Ballas et al. 2016, Delving deeper into convolutional networks for learning video representations, ICLR.

    Parameters
    ----------
    inputs, hidden
        Channels of the input and of the state.
    kernel
        Side of the convolutions' square kernel, odd.
    """

    def __init__(self, inputs: int, hidden: int, kernel: int = 3) -> None:
        super().__init__()
        self.gates = nn.Conv2d(inputs + hidden, 2 * hidden, kernel, padding="same")
        self.candidate = nn.Conv2d(inputs + hidden, hidden, kernel, padding="same")

    def forward(
        self, x: Float[Tensor, "batch inputs height width"], h: Float[Tensor, "batch hidden height width"]
    ) -> Float[Tensor, "batch hidden height width"]:
        """Return the next state."""
        z, r = self.gates(torch.cat([x, h], dim=1)).sigmoid().chunk(2, dim=1)
        n = self.candidate(torch.cat([x, r * h], dim=1)).tanh()
        return (1 - z) * h + z * n


def empty_map(like: Float[Tensor, "batch height width"], channels: int) -> Float[Tensor, "batch channels height width"]:
    """Return the state before any image: zero."""
    return like.new_zeros(like.shape[0], channels, *like.shape[1:])


def pooled(maps: Float[Tensor, "batch channel height width"], grid: tuple[int, int]) -> Float[Tensor, "batch feature"]:
    """Average maps over a coarse grid, no finer than the maps, and flatten: one vector per image."""
    height, width = (min(coarse, fine) for coarse, fine in zip(grid, maps.shape[-2:], strict=True))
    return F.adaptive_avg_pool2d(maps, (height, width)).flatten(1)
