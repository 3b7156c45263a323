"""Multi-head attention that never keeps an N×N map unless a few of its rows are asked for."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class MultiHeadAttention(nn.Module):
    """Scaled dot-product self-attention: softmax(Q Kᵀ / √d) V per head, then a linear map of the joined heads.

    Vaswani et al. 2017, Attention is all you need. The product is PyTorch's fused kernel; `weights` computes chosen
    rows of the map explicitly.

    Parameters
    ----------
    width
        Features per token.
    heads
        Number of heads; divides `width`.
    dropout
        Share of attention weights dropped in training.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.project = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)

    def _heads(self, tokens: Float[Tensor, "batch token width"]) -> tuple[Tensor, Tensor, Tensor]:
        batch, count, width = tokens.shape
        joined = self.project(tokens).view(batch, count, 3, self.heads, width // self.heads)
        query, key, value = joined.permute(2, 0, 3, 1, 4).unbind(0)  # each (batch, head, token, width / head)
        return query, key, value

    def forward(
        self, tokens: Float[Tensor, "batch token width"], mask: Bool[Tensor, "batch token token"] | None = None
    ) -> Float[Tensor, "batch token width"]:
        """Attend.

        Parameters
        ----------
        mask
            True where the token of a row may see the token of a column; None lets all see all. No row may be empty.
        """
        query, key, value = self._heads(tokens)
        allowed = None if mask is None else mask[:, None]
        out = F.scaled_dot_product_attention(
            query, key, value, attn_mask=allowed, dropout_p=self.dropout if self.training else 0.0
        )
        return self.join(out.transpose(1, 2).flatten(2))

    def weights(
        self,
        tokens: Float[Tensor, "batch token width"],
        rows: Int[Tensor, " query"],
        mask: Bool[Tensor, "batch token token"] | None = None,
    ) -> Float[Tensor, "batch query token"]:
        """Return chosen rows of the attention map, averaged over heads; one head is held at a time.

        Parameters
        ----------
        rows
            Indices of the query tokens.
        """
        query, key, _ = self._heads(tokens)
        query = query[:, :, rows]
        total = torch.zeros(query.shape[0], rows.shape[0], key.shape[2], dtype=key.dtype, device=key.device)
        for head in range(self.heads):
            scores = query[:, head] @ key[:, head].mT / query.shape[-1] ** 0.5
            if mask is not None:
                scores = scores.masked_fill(~mask[:, rows], float("-inf"))
            total += scores.softmax(-1)
        return total / self.heads


def isolating_mask(real: Bool[Tensor, "batch token"]) -> Bool[Tensor, "batch token token"]:
    """Let every token see the real ones and itself, so that queries never change each other or the real tokens.

    Parameters
    ----------
    real
        Tokens that carry observed data; the others are queries.
    """
    itself = torch.eye(real.shape[1], dtype=torch.bool, device=real.device)
    return real[:, None, :] | itself
