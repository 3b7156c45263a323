"""Principal components of frames: scores of frames, and frames of scores."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from neurodyn.nn.components import principal_components


class FrameComponents(nn.Module):
    """Frames as scores of their principal components: s = V (x - m).

    Parameters
    ----------
    brain
        Entries of a frame that are data, bool, shape (*space).
    components
        At most the entries.
    """

    brain: Tensor
    level: Tensor
    axes: Tensor

    def __init__(self, brain: np.ndarray, components: int) -> None:
        super().__init__()
        self.space, entries = brain.shape, int(brain.sum())
        self.register_buffer("brain", torch.from_numpy(brain.ravel().copy()), persistent=False)
        self.register_buffer("level", torch.zeros(entries))
        self.register_buffer("axes", torch.zeros(min(components, entries), entries))

    def __len__(self) -> int:
        return len(self.axes)

    def fit(self, frames: Iterable[np.ndarray]) -> np.ndarray:
        """Find the components of training frames; return the variance along each, shape (component,).

        Parameters
        ----------
        frames
            Chunks of windows, shape (window, time, *space), NaN where not valid.
        """
        inside = self.brain.numpy()
        flat = (chunk.reshape(-1, inside.size)[:, inside] for chunk in frames)
        mean, axes, variance = principal_components(flat, len(self))
        self.level.copy_(torch.from_numpy(mean))
        self.axes[: len(axes)].copy_(torch.from_numpy(axes))
        return variance

    def scores(self, frames: Float[Tensor, "batch time *space"]) -> Float[Tensor, "batch time component"]:
        """Return the scores of whole frames."""
        return (frames.flatten(2)[..., self.brain] - self.level) @ self.axes.T

    def whole(self, known: Bool[Tensor, "batch time *space"]) -> Bool[Tensor, "batch time"]:
        """Say which frames are known in every entry that is data."""
        return known.flatten(2)[..., self.brain].all(-1)

    def frames(self, scores: Float[Tensor, "batch time component"]) -> Float[Tensor, "batch time *space"]:
        """Return frames of these scores; entries outside the brain are 0."""
        out = scores.new_zeros(*scores.shape[:2], self.brain.shape[0])
        out[..., self.brain] = scores @ self.axes + self.level
        return out.unflatten(2, self.space)
