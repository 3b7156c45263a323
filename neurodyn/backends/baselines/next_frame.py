"""What all predictors of the next frame share: the recursion through hidden frames."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neurodyn.backends.batch import Batch, Prediction
from neurodyn.backends.framed import Framed
from neurodyn.backends.settings.movies import NextFrameConfig
from neurodyn.nn.parts import mean_where


class NextFrame(Framed):
    """Predicts each frame from those before it; a hidden entry is replaced by its own prediction.

    x̂ₜ₊₁ = g(sₜ),  sₜ = f(uₜ, sₜ₋₁),  uₜ = xₜ where visible, x̂ₜ elsewhere; the first frame is predicted from the state
    before any input. Loss: mean squared error of the predictions from seen frames, `next`, plus that of the later
    frames, which nothing but predictions precede, `recursive`.
    """

    config: NextFrameConfig

    @property
    def context(self) -> int:
        """Frames seen in training."""
        return self.config.context or max(1, self.layout.frames // 2)

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Predict every frame from the visible entries before it; latents are states after each frame."""
        predicted, latents = self._unroll(batch, batch.visible & batch.valid)
        return Prediction(mean=self.frames.restored(predicted), latents=latents)

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `next` and `recursive`, in z-scored units."""
        early = torch.arange(batch.t.shape[1], device=batch.t.device) < self.context
        seen = batch.visible & batch.valid & early.reshape(-1, *[1] * (batch.x.ndim - 2))
        predicted, _ = self._unroll(batch, seen)
        error = (predicted - self.frames.standardised(batch.target, batch.valid)) ** 2
        valid, first = self.frames.mask(batch.valid), self.context + 1
        return {
            "next": mean_where(error[:, :first], valid[:, :first]),
            "recursive": mean_where(error[:, first:], valid[:, first:]),
        }

    def _unroll(
        self, batch: Batch, seen: Bool[Tensor, "batch time *space"]
    ) -> tuple[Float[Tensor, "batch time *frame"], Float[Tensor, "batch time feature"]]:
        values, known = self.frames.standardised(batch.x, seen), self.frames.mask(seen)
        state = self._start(values[:, 0])
        expected, _ = self._read(state)
        predicted, latents = [], []
        for frame, there in zip(values.unbind(1), known.unbind(1), strict=True):
            predicted.append(expected)
            guessed = ~there & self.frames.inside
            state = self._advance(torch.where(guessed, expected, frame), state)
            expected, features = self._read(state)
            latents.append(features)
        return torch.stack(predicted, 1), torch.stack(latents, 1)

    @abstractmethod
    def _start(self, like: Float[Tensor, "batch *frame"]) -> Any:
        """Return the state before any frame."""

    @abstractmethod
    def _advance(self, frame: Float[Tensor, "batch *frame"], state: Any) -> Any:
        """Take in a frame."""

    @abstractmethod
    def _read(self, state: Any) -> tuple[Float[Tensor, "batch *frame"], Float[Tensor, "batch feature"]]:
        """Return the next frame, and the state as latents."""
