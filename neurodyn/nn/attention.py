"""Multi-head attention that never keeps an N×N map unless rows of it are asked for: full, landmark-based, factorised."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

PINV_STEPS = 12
ALL = slice(None)


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
        self,
        tokens: Float[Tensor, "batch token width"],
        mask: Bool[Tensor, "batch token token"] | None = None,
        keep: slice = ALL,
    ) -> Float[Tensor, "batch kept width"]:
        """Attend.

        Parameters
        ----------
        mask
            True where the token of a row may see the token of a column; None lets all see all. No row may be empty.
        keep
            Tokens whose answers are wanted.
        """
        query, key, value = self._heads(tokens)
        allowed = None if mask is None else mask[:, None, keep]
        out = F.scaled_dot_product_attention(
            query[:, :, keep], key, value, attn_mask=allowed, dropout_p=self.dropout if self.training else 0.0
        )
        return self.join(out.transpose(1, 2).flatten(2))

    def weights(
        self,
        tokens: Float[Tensor, "batch token width"],
        rows: Int[Tensor, " query"],
        mask: Bool[Tensor, "batch token token"] | None = None,
    ) -> Float[Tensor, "batch head query token"]:
        """Return chosen rows of the attention map of every head.

        Parameters
        ----------
        rows
            Indices of the query tokens.
        """
        query, key, _ = self._heads(tokens)
        scores = query[:, :, rows] @ key.mT / query.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, rows], float("-inf"))
        return scores.softmax(-1)


class NystromAttention(MultiHeadAttention):
    """Attention through landmarks, its cost linear in the number of tokens.

        softmax(Q Kᵀ) ≈ F₁ F₂⁺ F₃,  F₁ = softmax(Q K̃ᵀ), F₂ = softmax(Q̃ K̃ᵀ), F₃ = softmax(Q̃ Kᵀ)

    Q̃, K̃ are means of consecutive visible tokens (in the tokens' order, so that the order matters), F₂⁺ is found by twelve
    steps of Razavi's iteration (published: six, too few for more than a handful), each sample from its own start.
    convolution, as Fonseca et al. 2023 use it. With as many landmarks as tokens it is full attention.

    Parameters
    ----------
    width, heads, dropout
        As for `MultiHeadAttention`; dropout is not applied to the three factors.
    landmarks
        Number of landmarks; no more than there are visible tokens are used.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0, landmarks: int = 52) -> None:
        super().__init__(width, heads, dropout)
        self.landmarks = landmarks

    def forward(
        self, tokens: Float[Tensor, "batch token width"], mask: Bool[Tensor, "batch token"] | None = None
    ) -> Float[Tensor, "batch token width"]:
        """Attend.

        Parameters
        ----------
        mask
            Tokens that may be seen; None for all. At least one per sample.
        """
        query, key, value = self._heads(tokens)
        first, middle, last = self._factors(query, key, mask)
        return self.join((first @ (middle @ (last @ value))).transpose(1, 2).flatten(2))

    def weights(
        self,
        tokens: Float[Tensor, "batch token width"],
        rows: Int[Tensor, " query"],
        mask: Bool[Tensor, "batch token"] | None = None,
    ) -> Float[Tensor, "batch head query token"]:
        """Return chosen rows of F₁ F₂⁺ F₃ of every head; they sum to about one, and entries may be negative."""
        query, key, _ = self._heads(tokens)
        first, middle, last = self._factors(query, key, mask)
        return first[:, :, rows] @ middle @ last

    def _factors(self, query: Tensor, key: Tensor, seen: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        if seen is None:
            seen = torch.ones(query.shape[0], query.shape[2], dtype=torch.bool, device=query.device)
        pool = _segment_means(seen, self.landmarks).to(query.dtype)
        scale = query.shape[-1] ** -0.5
        q, k = (pool[:, None] @ x for x in (query, key))
        empty = ~pool.any(-1)[:, None, None]  # landmarks beyond the visible tokens
        hidden = ~seen[:, None, None]
        first = (query @ k.mT * scale).masked_fill(empty, float("-inf")).softmax(-1)
        core = (q @ k.mT * scale).masked_fill(empty, float("-inf")).softmax(-1)
        last = (q @ key.mT * scale).masked_fill(hidden, float("-inf")).softmax(-1)
        there = ~empty.mT & ~empty  # rows of absent landmarks do not take part in the inverse
        return first, _pseudo_inverse(core.where(there, 0.0)), last


def _segment_means(seen: Bool[Tensor, "batch token"], landmarks: int) -> Float[Tensor, "batch landmark token"]:
    """Return weights that average consecutive visible tokens, in as many segments as there are landmarks."""
    landmarks = min(landmarks, seen.shape[1])
    rank = seen.cumsum(1) - 1
    count = seen.sum(1, keepdim=True)
    segment = rank * count.clamp(max=landmarks) // count
    member = (segment[:, None] == torch.arange(landmarks, device=seen.device)[:, None]) & seen[:, None]
    return member / member.sum(-1, keepdim=True).clamp(min=1)


def _pseudo_inverse(matrix: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Approximate the Moore-Penrose inverse: Z ← ¼ Z (13 I - A (15 I - A (7 I - A))), A = M Z (Razavi et al. 2014).

    Gradients pass through one further step Z ← 2 Z - Z M Z alone, which has those of the inverse, -Z dM Z.
    """
    with torch.no_grad():
        norms = matrix.abs().sum(-2).amax(-1) * matrix.abs().sum(-1).amax(-1)
        guess = matrix.mT / norms[..., None, None]
        one = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        for _ in range(PINV_STEPS):
            product = matrix @ guess
            guess = 0.25 * guess @ (13 * one - product @ (15 * one - product @ (7 * one - product)))
    return 2 * guess - guess @ matrix @ guess


class Grid(NamedTuple):
    """How flattened tokens lie in time and space.

    Parameters
    ----------
    sites
        Tokens per time; time is the slower index.
    seen
        Tokens that tokens of other times may see, bool, shape (batch, token); None for all.
    """

    sites: int
    seen: Tensor | None


class FactorisedAttention(MultiHeadAttention):
    """Half of the heads attend along time within every site, the others across the sites of every time.

    N (T + S) / 2 pairs per head instead of N², and no more parameters than full attention; two blocks connect all tokens.
    Arnab et al. 2021, ViViT (factorised dot-product attention). Where some tokens are queries, those of one time may see
    each other, and no other token sees them.

    Parameters
    ----------
    width, heads, dropout
        As for `MultiHeadAttention`.

    Raises
    ------
    ValueError
        If the number of heads is odd.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__(width, heads, dropout)
        if heads % 2:
            raise ValueError(f"factorised attention needs an even number of heads, found {heads}")

    def forward(self, tokens: Float[Tensor, "batch token width"], mask: Grid) -> Float[Tensor, "batch token width"]:
        """Attend; `mask` tells the tokens' places."""
        drop = self.dropout if self.training else 0.0
        along, across = _masks(mask)
        time, space = self._halves(tokens, mask.sites)
        moved = F.scaled_dot_product_attention(
            *time, attn_mask=along, dropout_p=drop
        )  # (batch, site, head, time, part)
        mixed = F.scaled_dot_product_attention(
            *space, attn_mask=across, dropout_p=drop
        )  # (batch, time, head, site, part)
        joined = torch.cat(
            [moved.permute(0, 3, 1, 2, 4), mixed.transpose(2, 3)], dim=3
        )  # (batch, time, site, head, part)
        return self.join(joined.flatten(3).flatten(1, 2))

    def weights(
        self, tokens: Float[Tensor, "batch token width"], rows: Int[Tensor, " query"], mask: Grid
    ) -> Float[Tensor, "batch head query token"]:
        """Return chosen rows of the maps: heads of time see one site alone, heads of space one time alone."""
        sites, count = mask.sites, tokens.shape[1] // mask.sites
        when, where = rows // sites, rows % sites
        time, space = (
            _map(query, key, allowed)
            for (query, key, _), allowed in zip(self._halves(tokens, sites), _masks(mask), strict=True)
        )
        out = tokens.new_zeros(len(tokens), self.heads, len(rows), count, sites)
        each = torch.arange(len(rows), device=tokens.device)
        out[:, : self.heads // 2, each, :, where] = time[:, where, :, when]
        out[:, self.heads // 2 :, each, when] = space[:, when, :, where].permute(1, 2, 0, 3)
        return out.flatten(-2)

    def _halves(self, tokens: Tensor, sites: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return query, key and value of the heads of time, (batch, site, head, time, part), and of space, sites and times swapped."""
        batch, count, width = tokens.shape
        joined = self.project(tokens).view(batch, count // sites, sites, 3, 2, self.heads // 2, width // self.heads)
        time, space = joined.unbind(4)  # (batch, time, site, 3, head, part)
        return time.permute(3, 0, 2, 4, 1, 5).unbind(0), space.permute(3, 0, 1, 4, 2, 5).unbind(0)


def _masks(grid: Grid) -> tuple[Tensor | None, Tensor | None]:
    """Return who may see whom along time, (batch, site, 1, time, time), and across space, (batch, time, 1, site, site)."""
    if grid.seen is None:
        return None, None
    seen = grid.seen.unflatten(1, (-1, grid.sites))  # (batch, time, site)
    itself = torch.eye(seen.shape[1], dtype=torch.bool, device=seen.device)
    along = seen.transpose(1, 2)[:, :, None, None, :] | itself
    return along, seen[:, :, None, None, :] | ~seen[:, :, None, :, None]


def _map(query: Tensor, key: Tensor, allowed: Tensor | None) -> Tensor:
    scores = query @ key.mT / query.shape[-1] ** 0.5
    return (scores if allowed is None else scores.masked_fill(~allowed, float("-inf"))).softmax(-1)


def isolating_mask(real: Bool[Tensor, "batch token"]) -> Bool[Tensor, "batch token token"]:
    """Let every token see the real ones and itself, so that queries never change each other or the real tokens.

    Parameters
    ----------
    real
        Tokens that carry observed data; the others are queries.
    """
    itself = torch.eye(real.shape[1], dtype=torch.bool, device=real.device)
    return real[:, None, :] | itself
