"""Principal components of single frames: the linear reference."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neurodyn.backends.base import Backend
from neurodyn.backends.batch import Batch, Prediction
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.interpolation import PCAConfig
from neurodyn.core.search import Range
from neurodyn.nn.components import principal_components
from neurodyn.nn.interpolation import interpolate
from neurodyn.nn.masking import without_inner_frames
from neurodyn.nn.parts import mean_where


class PCA(Backend):
    """Principal components of single frames: the linear reference.

    x̂ₜ = m + V sₜ with V the leading eigenvectors of the covariance of training frames and sₜ the least-squares scores
    of the visible entries; scores of a frame that is hidden altogether are interpolated linearly in time.

    Pearson 1901, On lines and planes of closest fit to systems of points in space.
    """

    Config = PCAConfig
    SEARCH = {
        "model.components": Range(2, 100, log=True),
    }
    citation = "Pearson K. (1901). On lines and planes of closest fit to systems of points in space. Phil. Mag. 2:559."
    config: PCAConfig
    brain: Tensor
    mean: Tensor
    components: Tensor

    def __init__(self, config: PCAConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        entries = int(layout.brain.sum())
        self.register_buffer("brain", torch.from_numpy(layout.brain.ravel().copy()), persistent=False)
        self.register_buffer("mean", torch.zeros(entries))
        self.register_buffer("components", torch.zeros(min(config.components, entries), entries))

    def prepare(self, frames: Iterable[np.ndarray]) -> None:
        """Fit mean and components in one pass; a missing entry counts as its mean in the first chunk.

        Up to 4096 entries through the covariance, beyond through an incremental SVD (Ross et al. 2008) that keeps
        `components` + 20 directions between chunks.
        """
        flat = (chunk.reshape(-1, self.brain.shape[0])[:, self.layout.brain.ravel()] for chunk in frames)
        mean, vectors, _ = principal_components(flat, len(self.components))
        self.mean.copy_(torch.from_numpy(mean))
        self.components[: len(vectors)].copy_(torch.from_numpy(vectors))

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Predict every frame; latents are the scores, in the data's units."""
        scores = self._scores(batch, batch.visible & batch.valid)
        return Prediction(mean=self._frames(scores), latents=scores)

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the squared error on hidden and on visible frames; nothing is trained by it."""
        seen = without_inner_frames(batch.visible & batch.valid, self.config.hide, generator)
        error = (self._frames(self._scores(batch, seen)) - batch.target) ** 2
        hidden = batch.valid & ~seen
        return {
            "hidden": mean_where(error, hidden),
            "visible": mean_where(error, seen),
        }

    def _scores(self, batch: Batch, seen: Bool[Tensor, "batch time *space"]) -> Float[Tensor, "batch time component"]:
        known = seen.flatten(2)[..., self.brain]
        centred = (batch.x.flatten(2)[..., self.brain] - self.mean).where(known, 0.0)
        scores = centred @ self.components.T
        partial = known.any(-1) & ~known.all(-1)
        if partial.any():  # V restricted to the seen entries is not orthonormal: solve its normal equations
            some = known[partial].to(centred.dtype)
            gram = torch.einsum("ne,ke,le->nkl", some, self.components, self.components)
            solved = torch.linalg.pinv(gram, hermitian=True) @ scores[partial][..., None]
            scores = scores.index_put((partial,), solved[..., 0])
        there = known.any(-1, keepdim=True).expand_as(scores)
        return interpolate(scores, batch.t, there, batch.t)

    def _frames(self, scores: Float[Tensor, "batch time component"]) -> Float[Tensor, "batch time *space"]:
        out = scores.new_zeros(*scores.shape[:2], self.brain.shape[0])
        out[..., self.brain] = scores @ self.components + self.mean
        return out.unflatten(2, self.layout.space)
