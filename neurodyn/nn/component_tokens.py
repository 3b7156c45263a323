"""Frames as single tokens, told by their principal components."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from neurodyn.nn.components import principal_components


class ComponentTokens(nn.Module):
    """One token per frame that holds the scores of its principal components; in place of `Patches`.

    A frame that is not seen as a whole is not seen.

    Parameters
    ----------
    brain
        Entries of a frame that are data, bool, shape (*space).
    components
        At most the entries.
    """

    brain: Tensor
    centres: Tensor
    inside: Tensor
    level: Tensor
    axes: Tensor
    grid = (1, 1)

    def __init__(self, brain: np.ndarray, components: int) -> None:
        super().__init__()
        self.space = brain.shape
        entries = int(brain.sum())
        components = min(components, entries)
        self.register_buffer("brain", torch.from_numpy(brain.ravel().copy()), persistent=False)
        self.register_buffer("centres", torch.full((1, 2), 0.5), persistent=False)
        self.register_buffer("inside", torch.ones(1, components, dtype=torch.bool), persistent=False)
        self.register_buffer("level", torch.zeros(entries))
        self.register_buffer("axes", torch.zeros(components, entries))

    @property
    def pixels(self) -> int:
        """Numbers per token."""
        return self.axes.shape[0]

    def fit(self, frames: Iterable[np.ndarray]) -> float:
        """Find the components of training frames, chunks of shape (window, time, *space); return their largest deviation.

        Returns
        -------
        float
            Standard deviation of the scores over all components, the data's unit.
        """
        inside = self.brain.numpy()
        flat = (chunk.reshape(-1, inside.size)[:, inside] for chunk in frames)
        mean, axes, variance = principal_components(flat, len(self.axes))
        self.level.copy_(torch.from_numpy(mean))
        self.axes[: len(axes)].copy_(torch.from_numpy(axes))
        return float(np.sqrt(max(variance.mean(), 1e-30)))

    def split(self, frames: Shaped[Tensor, "batch time *space"]) -> Shaped[Tensor, "batch time 1 component"]:
        """Return the scores of frames, or, of truth values, whether frames are true as a whole."""
        flat = frames.flatten(2)[..., self.brain]
        if frames.dtype == torch.bool:
            return flat.all(-1)[..., None, None].expand(-1, -1, 1, self.pixels)
        return ((flat - self.level) @ self.axes.T)[:, :, None]

    def join(self, tokens: Shaped[Tensor, "batch time 1 component"]) -> Shaped[Tensor, "batch time *space"]:
        """Return frames of these scores; entries outside the brain are 0."""
        out = tokens.new_zeros(*tokens.shape[:2], self.brain.shape[0])
        out[..., self.brain] = tokens[:, :, 0] @ self.axes + self.level
        return out.unflatten(2, self.space)

    def nearness(self, place: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 1"]:
        """Return the weight of the one token, wherever a place lies."""
        return place.new_ones(*place.shape[:-1], 1)

    def spread(self, weights: Tensor) -> Tensor:
        """Return attention of one frame to all tokens, shape (batch, 1, time, 1)."""
        return weights[..., None]
