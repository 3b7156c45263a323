"""Frames as single tokens, told by their principal components."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from neurodyn.nn.frame_components import FrameComponents


class ComponentTokens(FrameComponents):
    """One token per frame that holds the scores of its principal components; in place of `Patches`.

    A frame that is not seen as a whole is not seen.
    """

    centres: Tensor
    inside: Tensor
    grid = (1, 1)

    def __init__(self, brain: np.ndarray, components: int) -> None:
        super().__init__(brain, components)
        self.register_buffer("centres", torch.full((1, 2), 0.5), persistent=False)
        self.register_buffer("inside", torch.ones(1, len(self), dtype=torch.bool), persistent=False)

    @property
    def pixels(self) -> int:
        """Numbers per token."""
        return len(self)

    def split(self, frames: Shaped[Tensor, "batch time *space"]) -> Shaped[Tensor, "batch time 1 component"]:
        """Return the scores of frames, or, of truth values, whether frames are true as a whole."""
        if frames.dtype == torch.bool:
            return self.whole(frames)[..., None, None].expand(-1, -1, 1, self.pixels)
        return self.scores(frames)[:, :, None]

    def join(self, tokens: Shaped[Tensor, "batch time 1 component"]) -> Shaped[Tensor, "batch time *space"]:
        """Return frames of these scores; entries outside the brain are 0."""
        return self.frames(tokens[:, :, 0])

    def nearness(self, place: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 1"]:
        """Return the weight of the one token, wherever a place lies."""
        return place.new_ones(*place.shape[:-1], 1)

    def spread(self, weights: Tensor) -> Tensor:
        """Return attention of one frame to all tokens, shape (batch, 1, time, 1)."""
        return weights[..., None]
