"""CEBRA: frames that follow each other, or were seen under one stimulus, are near each other."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from neurodyn.backends.base import TRAINING_SEARCH
from neurodyn.backends.batch import Batch, Prediction
from neurodyn.backends.framed import Framed
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.cebra import CEBRAConfig
from neurodyn.core.search import Choice, Range
from neurodyn.nn.interpolation import interpolate
from neurodyn.nn.parts import mean_where, uniform
from neurodyn.nn.temporal import TemporalEncoder


class CEBRA(Framed):
    r"""A contrastive encoder of frames: what belongs together lies together on a sphere.

    Of a frame's point z, its partner z⁺ and the partners of frames in other windows of the batch, the partner must be told:

    .. math:: -\log \frac{e^{z \cdot z^+ / \tau}}{e^{z \cdot z^+ / \tau} + \sum_n e^{z \cdot z_n / \tau}}

    The partner is the frame `offset` later; with `labels`, the same frame of another window under the same stimulus, where
    the batch has one. A stimulus is asked for in training alone. No frame of the same window is a negative: it would be too
    near in time. `mean` is a linear reading of the points, which teaches them nothing.

    Schneider, Lee & Mathis 2023, Learnable latent embeddings for joint behavioural and neural analysis, Nature 617:360;
    there the sum of the denominator leaves out the partner, and frames see five of the frames that follow.
    """

    Config = CEBRAConfig
    SEARCH = TRAINING_SEARCH | {
        "model.dimensions": Range(3, 64, log=True),
        "model.width": Choice((32, 64, 128)),
        "model.temperature": Range(0.05, 2.0, log=True),
    }
    IMAGE = False
    citation = (
        "Schneider S., Lee J.H., Mathis M.W. (2023). Learnable latent embeddings for joint behavioural and neural analysis. "
        "Nature 617:360."
    )
    config: CEBRAConfig

    def __init__(self, config: CEBRAConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        entries = self.frames.shape[0]
        self.encoder = TemporalEncoder(entries, config.width, config.dimensions, config.layers)
        self.reading = nn.Linear(config.dimensions, entries)
        self.first, self.offset = config.reach - 1, config.frames_between(layout.rate_hz)

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Encode every frame, from it and those before it, and read frames from that; latents are unit vectors."""
        points = self._points(batch)
        return Prediction(mean=self.frames.restored(self.reading(points)), latents=points)

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `contrast`, nats per frame, and `reading`, the squared error of the frames read, in z-scored units."""
        points = self._points(batch)
        asked, later = points[:, self.first : -self.offset], points[:, self.first + self.offset :]
        if self.config.labels:
            partner, found = _same_condition(batch, generator)
            alike = found[:, None, None]
            later = asked[partner].where(alike, later)
        valid = self.frames.mask(batch.valid)
        error = (self.reading(points.detach()) - self.frames.standardised(batch.target, batch.valid)) ** 2
        return {"contrast": self._contrast(asked, later), "reading": mean_where(error, valid)}

    def _points(self, batch: Batch) -> Float[Tensor, "batch time dimension"]:
        seen = batch.visible & batch.valid
        values, known = self.frames.standardised(batch.x, seen), self.frames.mask(seen)
        return self.encoder(interpolate(values, batch.t, known, batch.t))

    def _contrast(
        self, asked: Float[Tensor, "batch frame dimension"], partner: Float[Tensor, "batch frame dimension"]
    ) -> Float[Tensor, ""]:
        near = asked.flatten(0, 1) @ partner.flatten(0, 1).T / self.config.temperature
        window = torch.arange(len(asked), device=near.device).repeat_interleave(asked.shape[1])
        own = (window[:, None] == window) & ~torch.eye(len(near), dtype=torch.bool, device=near.device)
        told = torch.arange(len(near), device=near.device)
        each = nn.functional.cross_entropy(near.masked_fill(own, -torch.inf), told, reduction="none")
        return mean_where(each, torch.ones_like(each, dtype=torch.bool))


def _same_condition(batch: Batch, generator: torch.Generator) -> tuple[Int[Tensor, " batch"], Bool[Tensor, " batch"]]:
    """Draw another window under the same stimulus for each, and say where there is one."""
    if batch.condition is None:
        raise TypeError("labels are asked for, and the batch has none")
    known = batch.condition >= 0
    alike = (batch.condition[:, None] == batch.condition) & known & known[:, None]
    alike.fill_diagonal_(fill_value=False)
    drawn = uniform(len(alike), len(alike), generator=generator).to(batch.x.device)
    return drawn.masked_fill(~alike, -1.0).argmax(1), alike.any(1)
