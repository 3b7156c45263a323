"""What all that fills in without training shares: estimates of every entry from the visible ones."""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neurodyn.backends.batch import Batch, Prediction
from neurodyn.backends.framed import Framed
from neurodyn.backends.settings.interpolation import InterpolatorConfig
from neurodyn.nn.masking import without_inner_frames
from neurodyn.nn.parts import mean_where


class Interpolator(Framed):
    """Every entry's course in time from the visible values, its own or those of others; nothing is trained.

    An entry of which nothing is known in a window gets its mean over the training windows.
    """

    Config = InterpolatorConfig
    SEARCH = {}
    IMAGE = False
    config: InterpolatorConfig

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Evaluate the curves at the frames; visible values come back as they are."""
        return Prediction(mean=self.at(batch, batch.t))

    def at(self, batch: Batch, times: Float[Tensor, "batch query"]) -> Float[Tensor, "batch query *space"]:
        """Evaluate the curves; beyond the ends the outermost value holds."""
        seen = batch.visible & batch.valid
        return self.frames.restored(self._through(batch, seen, times))

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the squared error on hidden and on visible frames, z-scored; nothing is trained by it."""
        seen = without_inner_frames(batch.visible & batch.valid, self.config.hide, generator)
        target = self.frames.standardised(batch.target, batch.valid)
        error = (self._through(batch, seen, batch.t) - target) ** 2
        valid, seen = self.frames.mask(batch.valid), self.frames.mask(seen)
        return {
            "hidden": mean_where(error, valid & ~seen),
            "visible": mean_where(error, valid & seen),
        }

    def _through(
        self, batch: Batch, seen: Bool[Tensor, "batch time *space"], times: Float[Tensor, "batch query"]
    ) -> Float[Tensor, "batch query entry"]:
        return self._curve(self.frames.standardised(batch.x, seen), batch.t, self.frames.mask(seen), times)

    @abstractmethod
    def _curve(
        self,
        values: Float[Tensor, "batch time entry"],
        t: Float[Tensor, "batch time"],
        seen: Bool[Tensor, "batch time entry"],
        at: Float[Tensor, "batch query"],
    ) -> Float[Tensor, "batch query entry"]:
        """Evaluate each entry's curve through its seen values; 0 where it has none."""
