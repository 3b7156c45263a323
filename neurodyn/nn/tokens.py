"""A transformer over tokens that lie at continuous coordinates."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from neurodyn.nn.positions import FourierFeatures
from neurodyn.nn.transformer import TransformerBlock


class TokenTransformer(nn.Module):
    """Embeds values and places of tokens, lets them attend to each other, and reads values out again.

        h₀ = W x + P φ(t, row, column),  h = blocks(h₀),  y = V LN(h)

    Parameters
    ----------
    values
        Numbers per token.
    width, heads, layers, feedforward, dropout
        Of the blocks; `feedforward` None stands for 4 × width.
    bands
        Highest frequency of each coordinate's Fourier features φ, cycles per unit. None: the network of Fonseca et al.
        2023 with linear positions, post-norm, layer normalisation before the blocks and a head of two layers.
    """

    def __init__(
        self,
        values: int,
        width: int,
        heads: int,
        layers: int,
        feedforward: int | None,
        dropout: float,
        bands: tuple[float, float, float] | None,
    ) -> None:
        super().__init__()
        official = bands is None
        norm, eps = ("post", 1e-12) if official else ("pre", 1e-5)
        self.fourier = None if bands is None else FourierFeatures(bands)
        self.embed = nn.Linear(values, width, bias=not official)
        self.place = nn.Linear(self.fourier.features if self.fourier else 3, width)
        self.enter = nn.LayerNorm(width, eps=eps) if official else nn.Identity()
        hidden = feedforward or 4 * width
        self.blocks = nn.ModuleList([TransformerBlock(width, heads, hidden, dropout, norm, eps) for _ in range(layers)])
        last = nn.Linear(width, values, bias=not official)
        self.head = nn.Sequential(nn.LayerNorm(width, eps=eps), last)
        if official:
            nn.init.xavier_normal_(last.weight, gain=nn.init.calculate_gain("tanh"))
            self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), *self.head)

    def embedded(
        self, values: Float[Tensor, "batch token value"], position: Float[Tensor, "batch token 3"]
    ) -> Float[Tensor, "batch token width"]:
        """Return the tokens that enter the first block; position is time, row and column, each on [0, 1]."""
        place = self.fourier(position) if self.fourier else position
        return self.enter(self.embed(values) + self.place(place))

    def forward(
        self,
        values: Float[Tensor, "batch token value"],
        position: Float[Tensor, "batch token 3"],
        mask: Bool[Tensor, "batch token token"] | None = None,
    ) -> Float[Tensor, "batch token width"]:
        """Return the tokens that leave the last block; `mask` as in MultiHeadAttention."""
        state = self.embedded(values, position)
        for block in self.blocks:
            state = block(state, mask)
        return state

    def attention(
        self,
        values: Float[Tensor, "batch token value"],
        position: Float[Tensor, "batch token 3"],
        rows: Int[Tensor, " query"],
        mask: Bool[Tensor, "batch token token"] | None = None,
    ) -> Float[Tensor, "batch query token"]:
        """Return chosen rows of the attention map, averaged over heads and layers."""
        state = self.embedded(values, position)
        total = state.new_zeros(state.shape[0], len(rows), state.shape[1])
        for block in cast("list[TransformerBlock]", list(self.blocks)):
            total = total + block.attention_weights(state, rows, mask).mean(1) / len(self.blocks)
            state = block(state, mask)
        return total


def placed(t: Float[Tensor, "batch time"], centres: Float[Tensor, "site 2"]) -> Float[Tensor, "batch time site 3"]:
    """Return time, row and column of every token."""
    time = t[:, :, None, None].expand(-1, -1, centres.shape[0], 1)
    return torch.cat([time, centres.expand(*t.shape, -1, -1)], dim=-1)
