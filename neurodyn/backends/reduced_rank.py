"""Reduced-rank regression of the next frames on those of a window: the linear predictive reference."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from neurodyn.backends.base import Backend
from neurodyn.backends.batch import Batch, Prediction
from neurodyn.backends.foresight import Foresight, known_scores
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.interpolation import ReducedRankConfig
from neurodyn.core.search import Range
from neurodyn.nn.frame_components import FrameComponents
from neurodyn.nn.masking import without_inner_frames
from neurodyn.nn.parts import mean_where


class ReducedRank(Backend):
    """Reduced-rank regression of the next frames on those of a window: the linear predictive reference.

    Latents are the codes of `Foresight` at every frame, the summary that of the last one. Frames are reconstructed from
    their principal components; those that are hidden, by interpolation.

    Izenman 1975, Reduced-rank regression for the multivariate linear model.
    """

    Config = ReducedRankConfig
    SEARCH = {
        "model.components": Range(5, 100, log=True),
        "model.rank": Range(2, 64, log=True),
    }
    citation = (
        "Izenman A.J. (1975). Reduced-rank regression for the multivariate linear model. J. Multivar. Anal. 5:248-264."
    )
    config: ReducedRankConfig

    def __init__(self, config: ReducedRankConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.components = FrameComponents(layout.brain, config.components)
        self.foresight = Foresight(layout.frames, layout.ahead, len(self.components), config.rank)

    def prepare(self, frames: Iterable[np.ndarray]) -> None:
        """Find the components of training frames."""
        self.components.fit(frames)

    def prepare_batches(self, batches: Iterable[Batch]) -> None:
        """Regress what follows training windows on them."""
        self.foresight.fit(self.components, batches)

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Reconstruct every frame; latents have no unit but that of the data."""
        scores = known_scores(self.components, batch, batch.visible & batch.valid)
        code = self.foresight.code(scores)
        return Prediction(
            mean=self.components.frames(scores),
            latents=self.foresight.codes(scores),
            summary=self.foresight.sources(code) if self.config.sparse else code,
        )

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the squared error on hidden, visible and following frames; nothing is trained by it."""
        seen = without_inner_frames(batch.visible & batch.valid, self.config.hide, generator)
        filled = self.components.frames(known_scores(self.components, batch, seen))
        error = (filled - batch.target) ** 2
        parts = {"hidden": mean_where(error, batch.valid & ~seen), "visible": mean_where(error, seen)}
        if batch.ahead is not None:
            whole = known_scores(self.components, batch, batch.visible & batch.valid)
            after = self.components.frames(self.foresight.forecast(self.foresight.code(whole)))
            parts["ahead"] = mean_where((after - batch.ahead.x) ** 2, batch.ahead.valid)
        return parts
