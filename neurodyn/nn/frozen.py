"""Transformers with the weights of now, for answers at once on a processor: what is known beforehand is not computed.

Tokens lie token first, sequence second, so that some tokens of all sequences are one piece of memory. On some processors
PyTorch multiplies float32 matrices half as fast as its oneDNN does, and its attention needs a microsecond per sequence and
head however few the tokens: hence products by oneDNN where it is there, attention by `compiled.transformer` where it fits.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from neurodyn.compiled.transformer import LANES, add_and_normalise, attend
from neurodyn.nn.attention import ALL, MultiHeadAttention
from neurodyn.nn.quantizer import PatchTransformer
from neurodyn.nn.transformer import TransformerBlock


class FrozenLinear:
    """x Wᵀ + b, and GELU of it if wanted, by oneDNN where PyTorch has it.

    Parameters
    ----------
    weight, bias
        As those of `nn.Linear`.
    gelu
        Apply GELU.
    """

    def __init__(self, weight: Tensor, bias: Tensor, gelu: bool = False) -> None:
        self.weight, self.bias, self.gelu = weight.detach().contiguous(), bias.detach().contiguous(), gelu
        self.fused = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")

    def __call__(self, x: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch out"]:
        """Multiply."""
        if self.fused:
            activation = "gelu" if self.gelu else "none"
            return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, activation, [], "none")
        product = functional.linear(x, self.weight, self.bias)
        return functional.gelu(product) if self.gelu else product


class Entering(NamedTuple):
    """Tokens that enter a transformer, and their queries, keys and values in its first block."""

    tokens: Float[Tensor, "token sequence width"]
    query: Float[Tensor, "token sequence width"]
    both: Float[Tensor, "token sequence twice"]


class FrozenBlock:
    """A post-norm `TransformerBlock` with multi-head attention."""

    def __init__(self, block: TransformerBlock) -> None:
        attention = cast("MultiHeadAttention", block.attention)
        self.width, self.heads = attention.join.in_features, attention.heads
        project, (up, _, down) = attention.project, cast("tuple[nn.Linear, nn.GELU, nn.Linear]", block.feedforward)
        self.query = FrozenLinear(project.weight[: self.width], project.bias[: self.width])
        self.both = FrozenLinear(project.weight[self.width :], project.bias[self.width :])
        self.join = FrozenLinear(attention.join.weight, attention.join.bias)
        self.up, self.down = FrozenLinear(up.weight, up.bias, gelu=True), FrozenLinear(down.weight, down.bias)
        norms = [cast("nn.LayerNorm", norm) for norm in block.norms]
        self.norms = [(n.weight.detach().numpy(), n.bias.detach().numpy(), np.float32(n.eps)) for n in norms]

    def __call__(
        self, tokens: Float[Tensor, "token sequence width"], keep: slice
    ) -> Float[Tensor, "kept sequence width"]:
        """Return what becomes of the tokens of `keep`."""
        return self.entered(Entering(tokens, self.query(tokens[keep]), self.both(tokens)), keep)

    def entered(self, given: Entering, keep: slice) -> Float[Tensor, "kept sequence width"]:
        """Return what becomes of the tokens of `keep`, whose queries alone are given."""
        tokens = self._normalised(0, given.tokens[keep], self.join(self._attended(given.query, given.both)))
        return self._normalised(1, tokens, self.down(self.up(tokens)))

    def _attended(self, query: Tensor, both: Tensor) -> Tensor:
        if self.width == self.heads * LANES and len(both) <= LANES:
            out = np.empty(query.shape, np.float32)
            attend(query.numpy(), both.numpy(), out)
            return torch.from_numpy(out)
        parts = (query, both[..., : self.width], both[..., self.width :])
        q, k, v = (part.unflatten(2, (self.heads, -1)).permute(1, 2, 0, 3) for part in parts)
        return functional.scaled_dot_product_attention(q, k, v).permute(2, 0, 1, 3).flatten(2).contiguous()

    def _normalised(self, which: int, tokens: Tensor, added: Tensor) -> Tensor:
        weight, bias, eps = self.norms[which]
        rows, more = (part.reshape(-1, self.width).numpy() for part in (tokens, added))
        out = np.empty_like(rows)
        add_and_normalise(rows, more, weight, bias, eps, out)
        return torch.from_numpy(out).view_as(tokens)


class FrozenTransformer:
    """A `PatchTransformer` over always as many sequences; what enters it stays until it is replaced.

    Parameters
    ----------
    transformer
        What to compute.
    sequences
        How many.
    before
        Tokens without a place that stand before the patches.
    """

    def __init__(self, transformer: PatchTransformer, sequences: int, before: int = 0) -> None:
        self.first, *self.rest = [FrozenBlock(cast("TransformerBlock", block)) for block in transformer.blocks]
        self.place, self.before = transformer.place.detach()[:, None], before
        shape = (before + len(self.place), sequences)
        self.given = Entering(*(self.place.new_zeros(*shape, times * self.first.width) for times in (1, 1, 2)))

    def enter(self, where: slice, tokens: Float[Tensor, "token sequence width"]) -> None:
        """Have tokens, places included, stand where they are put; those of one sequence stand in all."""
        for goal, value in zip(self.given, self.projected(tokens), strict=True):
            goal[where] = value

    def projected(self, tokens: Float[Tensor, "token sequence width"]) -> Entering:
        """Return tokens with what the first block makes of them."""
        return Entering(tokens, self.first.query(tokens), self.first.both(tokens))

    def patches(self, which: slice) -> tuple[Float[Tensor, "patch 1 width"], Entering]:
        """Return the places of some patches, and the memory that these enter by."""
        places = self.place[which]
        start = self.before + range(len(self.place))[which].start
        return places, Entering(*(goal[start : start + len(places)] for goal in self.given))

    def __call__(self, keep: slice) -> Float[Tensor, "kept sequence width"]:
        """Return what becomes of the tokens of `keep`."""
        if not self.rest:
            tokens, query, both = self.given
            return self.first.entered(Entering(tokens, query[keep], both), keep)
        *blocks, last = self.rest
        tokens = self.first.entered(self.given, ALL)
        for block in blocks:
            tokens = block(tokens, ALL)
        return last(tokens, keep)


class LinearEntrance:
    """Patches that enter as W x + b + place: their queries, keys and values are linear maps of x, too.

    Parameters
    ----------
    transformer
        Which they enter.
    which
        Patches.
    embed
        W and b.
    """

    def __init__(self, transformer: FrozenTransformer, which: slice, embed: nn.Linear) -> None:
        places, self.goals = transformer.patches(which)
        self.offsets = transformer.projected(places + embed.bias)
        columns, first = embed.weight.detach().T, transformer.first
        maps = columns, columns @ first.query.weight.T, columns @ first.both.weight.T
        self.maps = [each.expand(len(places), -1, -1) for each in maps]

    def enter(self, values: Float[Tensor, "patch sequence sample"]) -> None:
        """Have patches enter."""
        for offset, weight, goal in zip(self.offsets, self.maps, self.goals, strict=True):
            torch.baddbmm(offset, values, weight, out=goal)


class TableEntrance:
    """Patches that enter as one of a few vectors, or a mean of them, + place: what the first block makes of each is known.

    Parameters
    ----------
    transformer
        Which they enter.
    which
        Patches.
    vectors
        Shape (code, width).
    """

    def __init__(self, transformer: FrozenTransformer, which: slice, vectors: Float[Tensor, "code width"]) -> None:
        places, self.goals = transformer.patches(which)
        self.tables = transformer.projected(vectors + places)  # (patch, code, width)
        self.rows = torch.arange(len(places))[:, None] * len(vectors)

    def enter(self, codes: Int[Tensor, "patch sequence"]) -> None:
        """Have vectors enter."""
        rows = (codes + self.rows).flatten()
        for table, goal in zip(self.tables, self.goals, strict=True):
            torch.index_select(table.flatten(0, 1), 0, rows, out=goal.view(len(rows), -1))

    def enter_means(self, shares: Float[Tensor, "patch sequence code"]) -> None:
        """Have means of vectors enter, whose shares sum to one."""
        for table, goal in zip(self.tables, self.goals, strict=True):
            torch.bmm(shares, table, out=goal)
