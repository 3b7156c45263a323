"""A transformer over tokens that lie at continuous coordinates."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.nn.normalisation import LayerNorm
from neurodyn.nn.positions import FourierFeatures
from neurodyn.nn.transformer import Mask, TransformerBlock


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
    outputs
        Numbers read out of every token; None for as many as enter.
    from_zero
        Let the outputs start at zero.
    attention
        Makes what each block attends with; None for full attention.
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
        *,
        outputs: int | None = None,
        from_zero: bool = False,
        attention: Callable[[], nn.Module | None] = lambda: None,
    ) -> None:
        super().__init__()
        official = bands is None
        norm, eps = ("post", 1e-12) if official else ("pre", 1e-5)
        self.fourier = None if bands is None else FourierFeatures(bands)
        self.embed = nn.Linear(values, width, bias=not official)
        self.place = nn.Linear(self.fourier.features if self.fourier else 3, width)
        self.enter = LayerNorm(width, eps=eps) if official else nn.Identity()
        hidden = feedforward or 4 * width
        self.blocks = nn.ModuleList(
            [TransformerBlock(width, heads, hidden, dropout, norm, eps, attention()) for _ in range(layers)]
        )
        last = nn.Linear(width, outputs or values, bias=not official)
        self.head = nn.Sequential(LayerNorm(width, eps=eps), last)
        if from_zero:
            for parameter in last.parameters():
                nn.init.zeros_(parameter)
        elif official:
            nn.init.xavier_normal_(last.weight, gain=nn.init.calculate_gain("tanh"))
        if official:
            self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), *self.head)

    def embedded(
        self,
        values: Float[Tensor, "batch token value"],
        position: Float[Tensor, "batch token 3"],
        kind: Float[Tensor, "batch token width"] | None = None,
    ) -> Float[Tensor, "batch token width"]:
        """Return the tokens that enter the first block.

        Parameters
        ----------
        position
            Time, row and column, each on [0, 1].
        kind
            Added to every token; None for nothing.
        """
        state = self.embed(values) + self.place(self.fourier(position) if self.fourier else position)
        return self.enter(state if kind is None else state + kind)

    def forward(
        self, state: Float[Tensor, "batch token width"], mask: Mask = None
    ) -> Float[Tensor, "batch token width"]:
        """Return the tokens that leave the last block from those that enter the first; `mask` as the attention takes it."""
        for block in self.blocks:
            state = block(state, mask)
        return state

    def maps(
        self,
        state: Float[Tensor, "batch token width"],
        mask: Mask = None,
        *,
        last: int | None = None,
        layers: bool = False,
        heads: bool = False,
    ) -> Float[Tensor, "batch layer head query token"]:
        """Return the attention maps' rows, all or the `last` ones; layers and heads apart, or averaged one at a time."""
        rows = torch.arange(state.shape[1], device=state.device)[-(last or state.shape[1]) :]
        kept: list[Tensor] = []
        for block in cast("list[TransformerBlock]", list(self.blocks)):
            weights = block.attention_weights(state, rows, mask)[:, None]
            weights = weights if heads else weights.mean(2, keepdim=True)
            if layers or not kept:
                kept.append(weights)
            else:
                kept[0] = kept[0] + weights
            state = block(state, mask)
        return torch.cat(kept, dim=1) if layers else kept[0] / len(self.blocks)


def placed(t: Float[Tensor, "batch time"], centres: Float[Tensor, "site 2"]) -> Float[Tensor, "batch time site 3"]:
    """Return time, row and column of every token."""
    time = t[:, :, None, None].expand(-1, -1, centres.shape[0], 1)
    return torch.cat([time, centres.expand(*t.shape, -1, -1)], dim=-1)
