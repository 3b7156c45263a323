"""A transformer over several fields of tokens that look at each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.nn.normalisation import LayerNorm

States = dict[str, Tensor]  # a field's tokens, (batch, token, width)
NEARNESS = 100.0


class Heads(nn.Module):
    """Some heads of an attention, and their share of the map that joins all heads: Σ_h W_h softmax(Q_h K_hᵀ / √d) V_h.

    Linear in the heads, the map of all concatenated heads is the sum of these shares; nothing has a bias. Where the tokens'
    places are told, −γ_h d² is added to the scores, d their distance and γ_h learned: what is near is looked at first.

    Parameters
    ----------
    width
        Features per token.
    heads, size
        Number of heads, and features of each.
    every
        Heads that are joined together, these included; decides how large the first weights are.
    dropout
        Share of attention weights dropped in training.
    placed
        Be told the distances.
    """

    def __init__(
        self, width: int, heads: int, size: int, every: int, dropout: float = 0.0, placed: bool = False
    ) -> None:
        super().__init__()
        self.nearness = nn.Parameter(torch.full((heads,), math.log(NEARNESS))) if placed else None
        self.heads, self.size, self.dropout = heads, size, dropout
        self.ask = nn.Linear(width, heads * size, bias=False)
        self.answer = nn.Linear(width, 2 * heads * size, bias=False)
        self.join = nn.Linear(heads * size, width, bias=False)
        bound = (every * size) ** -0.5
        nn.init.uniform_(self.join.weight, -bound, bound)

    def forward(
        self,
        tokens: Float[Tensor, "batch token width"],
        source: Float[Tensor, "batch other width"],
        distance: Float[Tensor, "batch token other"] | None = None,
    ) -> Float[Tensor, "batch token width"]:
        """Let tokens look at those of a source; `distance` is squared."""
        query = self.ask(tokens).unflatten(2, (self.heads, self.size)).transpose(1, 2)
        answers = self.answer(source).unflatten(2, (2, self.heads, self.size)).transpose(1, 3)
        key, value = answers.unbind(2)  # each (batch, head, token, size)
        bias = None
        if self.nearness is not None and distance is not None:
            bias = -self.nearness.exp()[:, None, None] * distance[:, None]
        drop = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=drop)
        return self.join(out.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A field's tokens look at each other and at other sources, each through heads of its own; then a feed-forward network.

        h = x + D(Σ_own A(x̂, x̂) + Σ_source A(x̂, source)),  out = h + D(W₂ D(GELU(W₁ LN h)))

    x̂ is x, normalised without weights; W₁ has twice as many features as a token.

    Parameters
    ----------
    width
        Features per token.
    heads, size
        Own heads, and features of every head.
    sources
        Heads for every other source.
    dropout
        Share dropped in training.
    placed
        Tell the heads for other sources how far these tokens are.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        size: int,
        sources: Mapping[str, int],
        dropout: float,
        placed: bool = False,
    ) -> None:
        super().__init__()
        every = heads + sum(sources.values())
        self.own = Heads(width, heads, size, every, dropout)
        others = {name: Heads(width, count, size, every, dropout, placed) for name, count in sources.items()}
        self.others = nn.ModuleDict(others)
        self.drop = nn.Dropout(dropout)
        self.feedforward = nn.Sequential(
            LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width)
        )

    def forward(
        self, state: Float[Tensor, "batch token width"], sources: States, distances: States | None = None
    ) -> Float[Tensor, "batch token width"]:
        """Transform tokens; `sources` are normalised, and `distances` to their tokens squared."""
        read = normalised(state)
        attended = self.own(read, read)
        for name, heads in self.others.items():
            attended = attended + heads(read, sources[name], (distances or {}).get(name))
        state = state + self.drop(attended)
        return state + self.drop(self.feedforward(state))


class Multiformer(nn.Module):
    """An encoder in which every field looks at itself and at its partners, and a decoder for each field.

    Encoder: `Block`s with `heads` own heads and one for every partner, which looks at near tokens first; all fields read what the previous layer left, so
    that their order does not matter, and may have different numbers of tokens. Decoder: blocks with half the heads for
    the field's own tokens, and half for those that its encoder left after the mirrored layer, the last one first.

    Lessig et al. 2023, AtmoRep, arXiv:2308.13280.

    Parameters
    ----------
    partners
        For every field, those that it looks at.
    width
        Features per token.
    heads
        Heads per field, even; divides `width`.
    layers, decoder_layers
        Blocks of the encoder and of the decoder.
    dropout
        Share dropped in training.
    """

    def __init__(
        self,
        partners: Mapping[str, tuple[str, ...]],
        width: int,
        heads: int,
        layers: int,
        decoder_layers: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.partners, size, half = dict(partners), width // heads, heads // 2
        looked_at = {name: dict.fromkeys(found, 1) for name, found in partners.items()}
        self.encoder = nn.ModuleList(
            nn.ModuleDict({name: Block(width, heads, size, some, dropout, True) for name, some in looked_at.items()})
            for _ in range(layers)
        )
        self.decoder = nn.ModuleDict(
            {
                name: nn.ModuleList(Block(width, half, size, {"encoder": half}, dropout) for _ in range(decoder_layers))
                for name in partners
            }
        )

    def encode(self, states: States, places: States) -> list[States]:
        """Return what every layer leaves.

        Parameters
        ----------
        places
            Time, row and column of every field's tokens, in windows and frames, shape (batch, token, 3).
        """
        apart = {
            name: {other: torch.cdist(places[name], places[other]).square() for other in found}
            for name, found in self.partners.items()
        }
        left = []
        for layer in self.encoder:
            read = {name: normalised(state) for name, state in states.items()}
            blocks = cast("nn.ModuleDict", layer)
            states = {name: blocks[name](state, read, apart[name]) for name, state in states.items()}
            left.append(states)
        return left

    def decode(self, name: str, left: list[States]) -> Float[Tensor, "batch token width"]:
        """Return a field's tokens after its decoder."""
        state = left[-1][name]
        for depth, block in enumerate(cast("nn.ModuleList", self.decoder[name])):
            mirrored = left[max(0, len(left) - 1 - depth)]
            state = block(state, {"encoder": normalised(mirrored[name])})
        return state


def normalised(state: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
    """Return tokens with mean 0 and variance 1."""
    return F.layer_norm(state, state.shape[-1:])


class Tail(nn.Module):
    """Independent linear heads on a token: an ensemble of answers, whose mean starts at 0 and whose members start apart.

    y_e = A_e LN(h) + b_e, in single precision.

    Parameters
    ----------
    width
        Features per token.
    members
        Number of heads, at least two.
    values
        Numbers that each gives.
    apart
        Standard deviation of the members' first answers.
    """

    def __init__(self, width: int, members: int, values: int, apart: float = 0.1) -> None:
        super().__init__()
        self.members, self.values = members, values
        self.norm = LayerNorm(width)
        weight = apart * width**-0.5 * torch.randn(members, values, width)
        self.weight = nn.Parameter((weight - weight.mean(0)).flatten(0, 1))
        self.bias = nn.Parameter(torch.zeros(members * values))

    def forward(self, tokens: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch member token value"]:
        """Return every member's answer."""
        with torch.autocast(tokens.device.type, enabled=False):
            out = F.linear(self.norm(tokens.float()), self.weight, self.bias)
        return out.unflatten(2, (self.members, self.values)).transpose(1, 2)
