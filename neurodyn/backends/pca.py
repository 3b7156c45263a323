"""Principal components of single frames: the linear reference."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import numpy as np
import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from neurodyn.backends.base import Backend, Batch, Layout, Prediction
from neurodyn.core.config import Params
from neurodyn.nn.interpolation import interpolate
from neurodyn.nn.masking import without_inner_frames

EXACT_ENTRIES = 4096
OVERSAMPLE = 20


class PCAConfig(Params):
    """Configuration of PCA."""

    components: int = Field(20, gt=0, description="principal components, at most the entries of a frame")
    hide: int = Field(5, gt=0, description="most inner frames hidden in the reported hidden-frame error")


class PCA(Backend):
    """Principal components of single frames: the linear reference.

    x̂ₜ = m + V sₜ with V the leading eigenvectors of the covariance of training frames and sₜ the least-squares scores
    of the visible entries; scores of a frame that is hidden altogether are interpolated linearly in time.

    Pearson 1901, On lines and planes of closest fit to systems of points in space.
    """

    Config = PCAConfig
    capabilities = frozenset({"reconstruct", "latents"})
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

    def stages(self) -> tuple[str, ...]:
        """`prepare` fits it entirely."""
        return ()

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
            "hidden": error.where(hidden, 0.0).sum() / hidden.sum().clamp(min=1),
            "visible": error.where(seen, 0.0).sum() / seen.sum().clamp(min=1),
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


def principal_components(chunks: Iterable[np.ndarray], components: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, leading axes and the variance along each, in one pass, as `PCA.prepare` explains.

    Parameters
    ----------
    chunks
        Each of shape (frame, entry), NaN where there is no datum.

    Returns
    -------
    tuple
        Shapes (entry,), (component, entry) and (component,); the largest entry of every axis is positive.
    """
    stream = iter(chunks)
    first = next(stream)
    fit = _by_covariance if first.shape[1] <= EXACT_ENTRIES else _by_incremental_svd
    mean, vectors, variance = fit(chain([first], stream), components)
    sign = np.sign(vectors[np.arange(len(vectors)), np.abs(vectors).argmax(1)])
    return mean, vectors * sign[:, None], variance


def _filled(chunk: np.ndarray, centre: np.ndarray) -> np.ndarray:
    return np.nan_to_num(chunk - centre, nan=0.0)


def _chunk_mean(chunk: np.ndarray) -> np.ndarray:
    data = np.isfinite(chunk)
    return np.where(data, chunk, 0.0).sum(0, dtype=np.float64) / np.maximum(data.sum(0), 1)


def _by_covariance(chunks: Iterable[np.ndarray], components: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count, centre, total, product = 0, np.zeros(0), np.zeros(0), np.zeros(0)
    for chunk in chunks:
        if not count:
            centre = _chunk_mean(chunk)
            total, product = np.zeros_like(centre), np.zeros((centre.size, centre.size))
        data = _filled(chunk, centre)
        count, total, product = count + len(data), total + data.sum(0), product + data.T @ data
    mean = total / count
    variance, vectors = np.linalg.eigh(product / count - np.outer(mean, mean))
    leading = slice(-1, -components - 1, -1)
    return centre + mean, vectors[:, leading].T, variance[leading].clip(min=0)


def _by_incremental_svd(chunks: Iterable[np.ndarray], components: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count, centre, mean, kept = 0, np.zeros(0), np.zeros(0), np.zeros((0, 0))
    for chunk in chunks:
        if not count:
            centre = _chunk_mean(chunk)
            mean, kept = np.zeros_like(centre), np.zeros((0, centre.size))
        data = _filled(chunk, centre)
        new, n = data.mean(0), len(data)
        bridge = np.sqrt(count * n / (count + n)) * (mean - new)
        _, scale, vectors = np.linalg.svd(np.vstack([kept, data - new, bridge]), full_matrices=False)
        kept = scale[: components + OVERSAMPLE, None] * vectors[: components + OVERSAMPLE]
        mean, count = (count * mean + n * new) / (count + n), count + n
    norms = np.linalg.norm(kept, axis=1)
    axes = kept / np.where(norms > 0, norms, 1.0)[:, None]
    return centre + mean, axes[:components], norms[:components] ** 2 / count
