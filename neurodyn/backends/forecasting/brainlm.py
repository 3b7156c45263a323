"""BrainLM: a masked autoencoder over patches of every cell, which knows where cells lie."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from neurodyn.backends.base import TRAINING_SEARCH
from neurodyn.backends.batch import Batch
from neurodyn.backends.forecasting.forecaster import Trained
from neurodyn.backends.forecasting.transformer import ATTENTION_SEARCH
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.forecasting import BrainLMConfig
from neurodyn.core.search import Range
from neurodyn.nn.parts import mean_where, uniform
from neurodyn.nn.positions import FourierFeatures
from neurodyn.nn.quantizer import patched
from neurodyn.nn.transformer import TransformerBlock

BAND = 4.0  # cycles across the field of view


class BrainLM(Trained):
    """Reconstructs hidden patches of all cells from those that are seen; in use, the horizon is what is hidden.

        h = encoder(W x + P φ(place) + time) over seen patches,  x̂ = V decoder(h or mask, + P φ(place) + time)

    φ are Fourier features of a cell's row and column (a pixel's, for movies); where ROIs have no centres, each cell's place
    is learned. The stimulus, where it is told, is a token of its own. Loss: squared error of the horizon, `forecast`, and
    of the hidden source patches, `masked`, z-scored.

    Caro et al. 2024, BrainLM: a foundation model for brain activity recordings, ICLR (after He et al. 2022, masked
    autoencoders). Its checkpoint is not used: this one is trained on the recording at hand.
    """

    Config = BrainLMConfig
    SEARCH = TRAINING_SEARCH | ATTENTION_SEARCH | {"model.mask": Range(0.0, 0.5)}
    citation = "Caro J.O., et al. (2024). BrainLM: a foundation model for brain activity recordings. ICLR."
    config: BrainLMConfig
    lies: Tensor

    def __init__(self, config: BrainLMConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        width = config.width
        self.before, self.ahead = -(-self.source // config.patch), -(-layout.horizon // config.patch)
        self.embed, self.out = nn.Linear(config.patch, width), nn.Linear(width, config.patch)
        self.time = nn.Parameter(0.02 * torch.randn(self.before + self.ahead, width))
        self.hidden = nn.Parameter(0.02 * torch.randn(width))
        self.stimulus = nn.Linear(self.told, width) if self.told else None
        centres, fourier = _centres(layout), FourierFeatures((BAND, BAND))
        self.place = nn.Embedding(self.entries, width) if centres is None else nn.Linear(fourier.features, width)
        lies = torch.arange(self.entries) if centres is None else fourier(centres)
        self.register_buffer("lies", lies, persistent=False)
        self.encoder, self.decoder = (
            nn.ModuleList(
                TransformerBlock(width, config.heads, config.feedforward, config.dropout) for _ in range(config.layers)
            )
            for _ in range(2)
        )

    def forecast(
        self, source: Float[Tensor, "batch source entry"], batch: Batch
    ) -> Float[Tensor, "batch horizon entry"]:
        """Reconstruct the hidden horizon."""
        patches = self._patches(source)
        seen = torch.ones(patches.shape[:3], dtype=torch.bool, device=source.device)
        return self._horizon(self._reconstructed(patches, seen, batch))

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `forecast` and, in training, `masked`, in z-scored units."""
        source, wanted, there = self._read(batch)
        source, base = self._split(source, batch)
        patches = self._patches(source)
        share = self.config.mask if self.training else 0.0
        seen = uniform(*patches.shape[:3], generator=generator).to(patches.device) >= share
        found = self._reconstructed(patches, seen, batch)
        ahead = base + self.begun.added(self._horizon(found))
        parts = {"forecast": mean_where((ahead - wanted) ** 2, there)}
        if share:
            error = (found[:, :, : self.before] - patches) ** 2
            parts["masked"] = mean_where(error, ~seen[..., None].expand_as(error))
        return parts

    def _patches(self, source: Float[Tensor, "batch source entry"]) -> Float[Tensor, "batch entry before sample"]:
        traces = source.transpose(1, 2).flatten(0, 1)
        return patched(traces, self.config.patch, front=True).unflatten(0, (len(source), -1))

    def _places(self) -> Float[Tensor, "entry patch width"]:
        return self.place(self.lies)[:, None] + self.time

    def _reconstructed(
        self,
        patches: Float[Tensor, "batch entry before sample"],
        seen: Bool[Tensor, "batch entry before"],
        batch: Batch,
    ) -> Float[Tensor, "batch entry patch sample"]:
        places = self._places()
        tokens = (self.embed(patches) + places[:, : self.before]).flatten(1, 2)
        allowed = seen.flatten(1)[:, None, :] | torch.eye(tokens.shape[1], dtype=torch.bool, device=tokens.device)
        told = self._told(batch, tokens)
        allowed = nn.functional.pad(allowed, (told.shape[1], 0, told.shape[1], 0), value=True)
        state = torch.cat([told, tokens], dim=1)
        for block in self.encoder:
            state = block(state, allowed)
        known = state[:, told.shape[1] :].unflatten(1, patches.shape[1:3])
        known = torch.where(seen[..., None], known, self.hidden) + places[:, : self.before]
        unknown = (self.hidden + places[:, self.before :]).expand(len(patches), -1, -1, -1)
        whole = torch.cat([state[:, : told.shape[1]], torch.cat([known, unknown], dim=2).flatten(1, 2)], dim=1)
        for block in self.decoder:
            whole = block(whole)
        return self.out(whole[:, told.shape[1] :]).unflatten(1, places.shape[:2])

    def _told(self, batch: Batch, like: Tensor) -> Float[Tensor, "batch told width"]:
        if self.stimulus is None or batch.stimulus is None:
            return like[:, :0]
        return self.stimulus(batch.stimulus)[:, None]

    def _horizon(self, found: Float[Tensor, "batch entry patch sample"]) -> Float[Tensor, "batch horizon entry"]:
        return found[:, :, self.before :].flatten(2)[..., : self.layout.horizon].transpose(1, 2)


def _centres(layout: Layout) -> Float[Tensor, "entry 2"] | None:
    """Return where cells or pixels lie, on [0, 1]; None where that is not known."""
    if len(layout.space) == 2:
        rows, columns = torch.from_numpy(layout.brain).nonzero(as_tuple=True)
        return torch.stack([rows, columns], dim=1) / max(1, max(layout.space) - 1)
    return torch.tensor(layout.centres, dtype=torch.float32) if layout.centres else None
