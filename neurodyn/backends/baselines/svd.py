"""Low-rank imputation: what is hidden in a frame from what is seen of it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from neurodyn.backends.base import Backend, Batch, Layout, Prediction
from neurodyn.backends.settings import FrameConfig
from neurodyn.nn.components import Components
from neurodyn.nn.frames import Frames, mean_where
from neurodyn.nn.masking import without_inner_frames


class SVDConfig(FrameConfig):
    """Configuration of imputation by principal components."""

    components: int = Field(50, gt=0, description="rank, at most the entries of a frame")
    shrink: bool = Field(
        True, description="draw uncertain scores towards zero; without, the fixed point of iterative SVD imputation"
    )
    hide: int = Field(5, gt=0, description="most inner frames hidden in the reported hidden-frame error")


class SVD(Backend):
    """Principal components of training frames, their scores from the visible entries of each frame.

    The equations are those of `nn.components.Components`. Visible entries come back smoothed, as the components have
    them. Troyanskaya O. et al. 2001, Bioinformatics 17:520; Tipping & Bishop 1999, J. R. Stat. Soc. B 61:611.
    """

    Config = SVDConfig
    capabilities = frozenset({"reconstruct", "latents", "uncertainty"})
    citation = (
        "Troyanskaya O. et al. (2001). Missing value estimation methods for DNA microarrays. Bioinformatics 17:520."
    )
    config: SVDConfig

    def __init__(self, config: SVDConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.frames = Frames(layout.brain, image=False)
        self.components = Components(len(self.frames.cells), config.components, config.shrink)

    def stages(self) -> tuple[str, ...]:
        """`prepare` fits it entirely."""
        return ()

    def prepare(self, frames: Iterable[np.ndarray]) -> None:
        """Fit the unit, then the components."""
        self.frames.fit(frames, self.config.normalise)
        self.components.fit(self.frames.chunks(frames))

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Estimate every entry; latents are the scores, in units of the standardised frames."""
        seen = batch.visible & batch.valid
        z, known = self.frames.standardised(batch.x, seen), self.frames.mask(seen)
        return Prediction(
            mean=self.frames.restored(self.components(z, known, batch.t)),
            std=self.frames.scaled(self.components.std(known)),
            latents=self.components.scores(z, known),
        )

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the squared error on hidden and on visible frames, z-scored; nothing is trained by it."""
        seen = without_inner_frames(batch.visible & batch.valid, self.config.hide, generator)
        error = (self._estimate(batch, seen) - self.frames.standardised(batch.target, batch.valid)) ** 2
        valid, seen = self.frames.mask(batch.valid), self.frames.mask(seen)
        return {"hidden": mean_where(error, valid & ~seen), "visible": mean_where(error, valid & seen)}

    def _estimate(self, batch: Batch, seen: Bool[Tensor, "batch time *space"]) -> Float[Tensor, "batch time entry"]:
        return self.components(self.frames.standardised(batch.x, seen), self.frames.mask(seen), batch.t)
