"""Low-rank imputation: what is hidden in a frame from what is seen of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from neurodyn.backends.baselines.interpolator import Interpolator
from neurodyn.backends.batch import Batch, Prediction
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.interpolation import SVDConfig
from neurodyn.core.search import Choice, Range
from neurodyn.nn.components import Components


class SVD(Interpolator):
    """Principal components of training frames, their scores from the visible entries of each frame.

    The equations are those of `nn.components.Components`. Visible entries come back smoothed, as the components have
    them. Troyanskaya O. et al. 2001, Bioinformatics 17:520; Tipping & Bishop 1999, J. R. Stat. Soc. B 61:611.
    """

    Config = SVDConfig
    SEARCH = {
        "model.components": Range(2, 200, log=True),
        "model.shrink": Choice((False, True)),
    }
    citation = (
        "Troyanskaya O. et al. (2001). Missing value estimation methods for DNA microarrays. Bioinformatics 17:520."
    )
    config: SVDConfig

    def __init__(self, config: SVDConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.components = Components(len(self.frames.cells), config.components, config.shrink)

    def prepare(self, frames: Iterable[np.ndarray]) -> None:
        """Fit the unit, then the components."""
        super().prepare(frames)
        self.components.fit(self.frames.chunks(frames))

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Estimate every entry; latents are the scores, in units of the standardised frames."""
        seen = batch.visible & batch.valid
        known = self.frames.mask(seen)
        scores = self.components.scores(self.frames.standardised(batch.x, seen), known)
        std = self.frames.scaled(self.components.std(known))
        return replace(super().forward(batch), std=std, latents=scores)

    def _curve(
        self,
        values: Float[Tensor, "batch time entry"],
        t: Float[Tensor, "batch time"],
        seen: Bool[Tensor, "batch time entry"],
        at: Float[Tensor, "batch query"],
    ) -> Float[Tensor, "batch query entry"]:
        return self.components(values, t, seen, at)
