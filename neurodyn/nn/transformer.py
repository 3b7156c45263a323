"""The transformer block."""

from __future__ import annotations

from typing import Literal, cast

from jaxtyping import Float, Int
from torch import Tensor, nn

from neurodyn.nn.attention import Grid, MultiHeadAttention
from neurodyn.nn.normalisation import LayerNorm

Mask = Tensor | Grid | None


class TransformerBlock(nn.Module):
    """Attention and a GELU feed-forward network, each with a skip connection.

    pre-norm: h = x + A(LN(x)), out = h + F(LN(h)); post-norm: h = LN(x + A(x)), out = LN(h + F(h)).

    Parameters
    ----------
    width
        Features per token.
    heads
        Attention heads.
    feedforward
        Hidden units of the feed-forward network.
    dropout
        Share dropped in training, on attention weights and on both branches.
    norm
        "pre" (Xiong et al. 2020) or "post" (Vaswani et al. 2017).
    eps
        Added to the variance in layer normalisation.
    attention
        What the tokens attend with; None for multi-head attention of `width`, `heads` and `dropout`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        feedforward: int,
        dropout: float = 0.0,
        norm: Literal["pre", "post"] = "pre",
        eps: float = 1e-5,
        attention: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.norm = norm
        self.attention = MultiHeadAttention(width, heads, dropout) if attention is None else attention
        self.feedforward = nn.Sequential(nn.Linear(width, feedforward), nn.GELU(), nn.Linear(feedforward, width))
        self.norms = nn.ModuleList([LayerNorm(width, eps=eps) for _ in range(2)])
        self.drop = nn.Dropout(dropout)

    def forward(
        self, tokens: Float[Tensor, "batch token width"], mask: Mask = None
    ) -> Float[Tensor, "batch token width"]:
        """Transform tokens; `mask` as the attention takes it."""
        return self._transformed(tokens, self.attention(self._read(tokens), mask))

    def some(self, tokens: Float[Tensor, "batch token width"], keep: slice) -> Float[Tensor, "batch kept width"]:
        """Return what becomes of some tokens, which all see all; multi-head attention only."""
        return self._transformed(tokens[:, keep], self.attention(self._read(tokens), keep=keep))

    def _read(self, tokens: Tensor) -> Tensor:
        return self.norms[0](tokens) if self.norm == "pre" else tokens

    def _transformed(self, tokens: Tensor, attended: Tensor) -> Tensor:
        first, second = self.norms
        if self.norm == "pre":
            tokens = tokens + self.drop(attended)
            return tokens + self.drop(self.feedforward(second(tokens)))
        tokens = first(tokens + self.drop(attended))
        return second(tokens + self.drop(self.feedforward(tokens)))

    def attention_weights(
        self,
        tokens: Float[Tensor, "batch token width"],
        rows: Int[Tensor, " query"],
        mask: Mask = None,
    ) -> Float[Tensor, "batch head query token"]:
        """Return rows of this block's attention map for the tokens that enter the block."""
        return cast("MultiHeadAttention", self.attention).weights(self._read(tokens), rows, cast("Tensor | None", mask))
