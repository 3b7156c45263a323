"""The BERT-style Transformer that CST is compared with."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neurodyn.backends.base import TRAINING_SEARCH
from neurodyn.backends.batch import Batch, Prediction
from neurodyn.backends.framed import Framed
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.base import TOKEN_SEARCH
from neurodyn.backends.settings.movies import TransformerConfig
from neurodyn.core.search import Range
from neurodyn.nn.attention import isolating_mask
from neurodyn.nn.parts import mean_where, normal, shuffled, uniform
from neurodyn.nn.patches import Patches
from neurodyn.nn.tokens import TokenTransformer, placed


class Transformer(Framed):
    """A transformer over patches that learns to guess masked ones, as BERT does words.

    ŷ(t, s) = V LN h(t, s),  h = blocks(W x + P φ(t, row, column)). In training 30 % of the tokens are chosen; of these
    80 % become a constant, 10 % another token of the batch, 10 % stay. Loss: mean squared error on the chosen tokens.
    Frames that are hidden, and times between frames, are tokens that hold the constant. Latents: tokens averaged over
    patches.

    Devlin et al. 2019, BERT, NAACL; as a baseline in Fonseca et al. 2023, ICML.
    """

    Config = TransformerConfig
    SEARCH = {
        **TRAINING_SEARCH,
        **TOKEN_SEARCH,
        "model.layers": Range(1, 6),
        "model.noise": Range(0.0, 0.2),
    }
    citation = (
        "Devlin J. et al. (2019). BERT: pre-training of deep bidirectional transformers for language understanding. "
        "NAACL, 4171-4186."
    )
    config: TransformerConfig

    def __init__(self, config: TransformerConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.patches = Patches(layout.brain, config.patch, config.rois)
        self.network = TokenTransformer(
            self.patches.pixels,
            config.width,
            config.heads,
            config.layers,
            config.feedforward,
            config.dropout,
            None if config.official else config.bands,
        )

    @property
    def attention_grid(self) -> tuple[int, int]:
        """Rows and columns of patches; (1, 1) for traces."""
        return self.patches.grid

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Predict every frame; attention rows of dropped patches are 0."""
        values, known = self._tokens(batch)
        hidden = self._hidden(values, known, self.layout.unit_time(batch.t, batch.t))
        summary = self.patches.spread(self.attention_maps(batch)[:, 0, 0]) if attention else None
        return Prediction(mean=self._restored(hidden), latents=hidden.mean(2), attention=summary)

    def attention_maps(
        self, batch: Batch, *, layers: bool = False, heads: bool = False, rows: Literal["last", "all"] = "last"
    ) -> Float[Tensor, "batch layer head query token"]:
        """Return rows of the maps."""
        values, known = self._tokens(batch)
        state = self._embedded(values, self.layout.unit_time(batch.t, batch.t))
        last = values.shape[2] if rows == "last" else None
        return self.network.maps(state, self._mask(known), last=last, layers=layers, heads=heads)

    def at(self, batch: Batch, times: Float[Tensor, "batch query"]) -> Float[Tensor, "batch query *space"]:
        """Predict frames at any times, in seconds on the clock of `batch.t`, `at_once` of them at a time."""
        values, known = self._tokens(batch)
        chunks = self.layout.unit_time(batch.t, times).split(self.config.at_once or max(1, times.shape[1]), dim=1)
        return torch.cat(
            [self._asked(values, known, self.layout.unit_time(batch.t, batch.t), chunk) for chunk in chunks], dim=1
        )

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `masked`, the mean squared error on chosen tokens, in z-scored units."""
        values, known = self._tokens(batch)
        chosen, masked, swapped = (
            some[..., None].to(values.device) for some in choose_tokens(values.shape[:3], self.config, generator)
        )
        others = shuffled(len(values), values[0, ..., 0].numel(), generator=generator).to(values.device)
        other = values.flatten(0, 2)[others].view(values.shape)
        shown = torch.where(masked, self._unknown(), torch.where(swapped, other, values))
        if self.training and self.config.noise:
            shown = shown + self.config.noise * normal(*shown.shape, generator=generator).to(shown)
        hidden = self._hidden(shown, known & ~masked[..., 0], self.layout.unit_time(batch.t, batch.t))
        target = self.patches.split(self.frames.standardised(batch.target, batch.valid))
        error = (self.network.head(hidden) - target) ** 2
        return {"masked": mean_where(error, chosen & self.patches.split(self.frames.mask(batch.valid)))}

    def _unknown(self) -> Float[Tensor, "site pixel"]:
        return self.config.constant * self.patches.inside.to(self.frames.cells.mean)

    def _tokens(self, batch: Batch) -> tuple[Float[Tensor, "batch time site pixel"], Bool[Tensor, "batch time site"]]:
        """Return tokens with the constant where nothing is visible, and which of them hold anything."""
        visible = batch.visible & batch.valid
        seen = self.patches.split(self.frames.mask(visible))
        values = self.patches.split(self.frames.standardised(batch.x, visible))
        return values.where(seen, self._unknown()), seen.any(-1)

    def _asked(
        self,
        values: Float[Tensor, "batch time site pixel"],
        known: Bool[Tensor, "batch time site"],
        t: Float[Tensor, "batch time"],
        asked: Float[Tensor, "batch query"],
    ) -> Float[Tensor, "batch query *space"]:
        """Predict at other times, from tokens that hold the constant."""
        empty = self._unknown().expand(*asked.shape, -1, -1)
        known = torch.nn.functional.pad(known, (0, 0, 0, asked.shape[1]))
        hidden = self._hidden(torch.cat([values, empty], dim=1), known, torch.cat([t, asked], dim=1))
        return self._restored(hidden[:, t.shape[1] :])

    def _mask(self, known: Bool[Tensor, "batch time site"]) -> Bool[Tensor, "batch token token"] | None:
        return isolating_mask(known.flatten(1)) if self.config.query == "isolated" else None

    def _hidden(
        self,
        values: Float[Tensor, "batch time site pixel"],
        known: Bool[Tensor, "batch time site"],
        t: Float[Tensor, "batch time"],
    ) -> Float[Tensor, "batch time site width"]:
        return self.network(self._embedded(values, t), self._mask(known)).unflatten(1, known.shape[1:])

    def _embedded(
        self, values: Float[Tensor, "batch time site pixel"], t: Float[Tensor, "batch time"]
    ) -> Float[Tensor, "batch token width"]:
        return self.network.embedded(values.flatten(1, 2), placed(t, self.patches.centres).flatten(1, 2))

    def _restored(self, hidden: Float[Tensor, "batch time site width"]) -> Float[Tensor, "batch time *space"]:
        z = self.patches.join(self.network.head(hidden))
        return self.frames.restored(z.reshape(*z.shape[:2], *self.frames.shape))


def choose_tokens(
    shape: tuple[int, ...], config: TransformerConfig, generator: torch.Generator
) -> tuple[Bool[Tensor, "*shape"], Bool[Tensor, "*shape"], Bool[Tensor, "*shape"]]:
    """Draw which tokens are chosen, and which of these become the constant and which another token.

    Every sample has the same number of chosen tokens, the nearest to the share and at least one.
    """
    samples, tokens = shape[0], int(np.prod(shape[1:]))
    count = max(1, round(config.chosen * tokens))
    chosen = uniform(samples, tokens, generator=generator).argsort(1).argsort(1) < count
    fate = uniform(samples, tokens, generator=generator)
    masked = chosen & (fate < config.masked)
    swapped = chosen & ~masked & (fate < config.masked + config.swapped)
    return chosen.view(shape), masked.view(shape), swapped.view(shape)
