"""What all models share that read a whole window at once and fill in its hidden frames."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neurodyn.backends.batch import Batch, Prediction
from neurodyn.backends.framed import Framed
from neurodyn.backends.settings.base import HidingConfig
from neurodyn.nn.interpolation import interpolate
from neurodyn.nn.masking import without_inner_frames
from neurodyn.nn.parts import mean_where, normal


@dataclass(frozen=True)
class Given:
    """What a network reads.

    Parameters
    ----------
    values
        Visible values interpolated linearly in time, z-scored, shape (batch, time, *frame).
    seen
        Which of them were visible, bool, like values.
    t
        Time on [0, 1] from the first frame to the end of a regular window, shape (batch, time).
    asked
        Times of the frames to give, on the same clock, shape (batch, query).
    """

    values: Tensor
    seen: Tensor
    t: Tensor
    asked: Tensor


@dataclass(frozen=True)
class Estimate:
    """What a network gives.

    Parameters
    ----------
    frames
        z-scored, shape (batch, query, *frame).
    latents
        Shape (batch, query, feature).
    parts
        Further parts of the loss.
    """

    frames: Tensor
    latents: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


class WholeWindow(Framed):
    """Fills in the frames of a window from those that are visible.

    The network reads the visible values, interpolated linearly in time. Training hides some inner frames; loss: mean
    squared error on them, `hidden`, plus that on the visible ones, `visible`.
    """

    config: HidingConfig

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Predict every frame."""
        estimate = self._estimate(self._given(batch, batch.visible & batch.valid, batch.t), None)
        return Prediction(mean=self.frames.restored(estimate.frames), latents=estimate.latents)

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `hidden`, `visible` and the network's own parts, in z-scored units."""
        seen = without_inner_frames(batch.visible & batch.valid, self.config.hide, generator)
        given = self._given(batch, seen, batch.t)
        if self.training and self.config.noise:
            noise = normal(*given.values.shape, generator=generator).to(given.values)
            given = replace(given, values=given.values + self.config.noise * noise)
        estimate = self._estimate(given, generator)
        valid = self.frames.mask(batch.valid)
        error = (estimate.frames - self.frames.standardised(batch.target, batch.valid)) ** 2
        parts = {
            "hidden": mean_where(error, valid & ~given.seen),
            "visible": self.config.visible_weight * mean_where(error, valid & given.seen),
        }
        return parts | estimate.parts

    def _given(
        self, batch: Batch, seen: Bool[Tensor, "batch time *space"], times: Float[Tensor, "batch query"]
    ) -> Given:
        values, known = self.frames.standardised(batch.x, seen), self.frames.mask(seen)
        t, asked = (self.layout.unit_time(batch.t, some) for some in (batch.t, times))
        return Given(interpolate(values, t, known, t), known, t, asked)

    @abstractmethod
    def _estimate(self, given: Given, generator: torch.Generator | None) -> Estimate:
        """Fill in the frames asked for; those of the window, where a model knows no other times.

        Parameters
        ----------
        generator
            Source of samples in training; None for expectations.
        """


class ContinuousWindow(WholeWindow):
    """A model of whole windows that gives frames at any time."""

    def at(self, batch: Batch, times: Float[Tensor, "batch query"]) -> Float[Tensor, "batch query *space"]:
        """Predict frames at any times, in seconds on the clock of `batch.t`, from the visible entries."""
        given = self._given(batch, batch.visible & batch.valid, times)
        return self.frames.restored(self._estimate(given, None).frames)
