"""Principal components of frames, and what they say of entries that are not seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from neurodyn.nn.interpolation import interpolate

EXACT_ENTRIES = 4096
OVERSAMPLE = 20
ROUNDS = 20
SETTLED = 1e-4
FRAMES_AT_ONCE = 256


class Components(nn.Module):
    """Low-rank frames: the mean of what is not seen, given what is seen of the same frame.

        xₜ = m + V sₜ + noise,  s ~ N(0, Λ − σ² I),  noise ~ N(0, σ² I)
        E[s | seen] = (V_oᵀ V_o + σ² (Λ − σ² I)⁻¹)⁻¹ V_oᵀ (x_o − m)

    V are the leading eigenvectors of the covariance of training frames, Λ their eigenvalues, σ² the mean of the others,
    o the seen entries. Tipping & Bishop 1999, Probabilistic principal component analysis. Without shrinkage (σ² = 0 in the
    scores) it is the fixed point of iterative SVD imputation, which fills in, projects on V, and fills in again (Troyanskaya
    et al. 2001). Scores of frames of which nothing is seen are interpolated linearly in time.

    Parameters
    ----------
    entries
        Entries of a frame.
    components
        Rank, at most the entries.
    shrink
        Draw scores towards zero as far as the noise makes them uncertain.
    """

    mean: Tensor
    axes: Tensor
    variance: Tensor
    noise: Tensor

    def __init__(self, entries: int, components: int, shrink: bool = True) -> None:
        super().__init__()
        self.shrink, rank = shrink, min(components, entries)
        self.register_buffer("mean", torch.zeros(entries))
        self.register_buffer("axes", torch.zeros(rank, entries))
        self.register_buffer("variance", torch.zeros(rank))
        self.register_buffer("noise", torch.ones(()))

    def fit(self, chunks: Iterable[np.ndarray]) -> None:
        """Fit to training frames; missing entries are filled in from the fit, and it is repeated until it settles.

        Parameters
        ----------
        chunks
            Each of shape (frame, entry), NaN where there is no datum; gone through again where data are missing.
        """
        missing = self._take(chunks)
        for _ in range(ROUNDS if missing else 0):
            before = self.axes.clone()
            self._take(self._filled(chunks))
            if self._turned(before) < SETTLED:
                break

    def _take(self, chunks: Iterable[np.ndarray]) -> bool:
        """Take mean, axes and variances of frames; say whether entries were missing."""
        whole = _Whole(chunks)
        mean, axes, variance = principal_components(whole, len(self.axes))
        rank = len(axes)
        left = max(whole.power / max(whole.frames, 1) - float(mean @ mean) - variance.sum(), 0.0)
        self.mean.copy_(torch.from_numpy(mean))
        self.axes.zero_()[:rank] = torch.from_numpy(axes).to(self.axes)
        self.variance.zero_()[:rank] = torch.from_numpy(variance).to(self.variance)
        self.noise.fill_(max(left / max(1, len(mean) - rank), 1e-8 * max(float(variance.sum()), 1e-12)))
        return whole.missing

    def _filled(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for chunk in chunks:
            for part in np.array_split(chunk, max(1, -(-len(chunk) // FRAMES_AT_ONCE))):
                known = torch.from_numpy(np.isfinite(part))[None]
                values = torch.from_numpy(np.nan_to_num(part)).float()[None]
                filled = self.mean + self.scores(values, known) @ self.axes
                yield torch.where(known, values, filled)[0].numpy()

    def _turned(self, before: Tensor) -> float:
        """Return the share of the variance that has left the span of earlier axes."""
        kept = (self.axes @ before.T).square().sum(1)
        return float(((1 - kept).clamp(min=0) * self.variance).sum() / self.variance.sum().clamp(min=1e-30))

    def forward(
        self,
        values: Float[Tensor, "batch time entry"],
        t: Float[Tensor, "batch time"],
        known: Bool[Tensor, "batch time entry"],
        at: Float[Tensor, "batch query"],
    ) -> Float[Tensor, "batch query entry"]:
        """Estimate every entry from the known ones, at any times, as `interpolate` does."""
        there = known.any(-1, keepdim=True)
        scores = self.scores(values, known)
        return self.mean + interpolate(scores, t, there.expand_as(scores), at) @ self.axes

    def scores(
        self, values: Float[Tensor, "batch time entry"], known: Bool[Tensor, "batch time entry"]
    ) -> Float[Tensor, "batch time component"]:
        """Return the scores of every frame; 0 where nothing of it is known."""
        centred = (values - self.mean).where(known, 0.0).double()
        projected = (centred @ self.axes.double().T)[..., None]
        return torch.linalg.solve(self._precision(known), projected)[..., 0].to(self.axes)

    def std(self, known: Bool[Tensor, "batch time entry"]) -> Float[Tensor, "batch time entry"]:
        """Return the standard deviation of a new value of every entry, given the known ones: √(σ² (1 + vᵀ P⁻¹ v))."""
        spread = torch.linalg.inv(self._precision(known)).flatten(-2) @ self._pairs()
        return (self.noise * (1 + spread)).sqrt().to(self.axes)

    def _precision(self, known: Tensor) -> Float[Tensor, "batch time component component"]:
        """In double precision: where nearly every axis is real, missing entries leave it close to singular."""
        gram = known.double() @ self._pairs().T
        return gram.unflatten(-1, (len(self.axes), len(self.axes))) + torch.diag(self._ridge())

    def _pairs(self) -> Float[Tensor, "pair entry"]:
        axes = self.axes.double()
        return (axes[:, None] * axes[None]).flatten(0, 1)

    def _ridge(self) -> Float[Tensor, " component"]:
        """Return σ² / (λ − σ²), and nearly nothing without shrinkage; an axis that does not exist stays at 0."""
        signal = (self.variance - self.noise).clamp(min=0)
        ridge = self.noise / signal.clamp(min=1e-3 * self.noise)
        return torch.where(self.variance > 0, ridge, 1.0) if self.shrink else torch.full_like(ridge, 1e-6)


class _Whole:
    """Chunks, counted and measured as they pass."""

    def __init__(self, chunks: Iterable[np.ndarray]) -> None:
        self.chunks, self.frames, self.power, self.missing = chunks, 0, 0.0, False

    def __iter__(self) -> Iterator[np.ndarray]:
        centre: np.ndarray | None = None
        for chunk in self.chunks:
            centre = _chunk_mean(chunk) if centre is None else centre
            data = np.isfinite(chunk)
            self.missing |= not data.all()
            filled = np.where(data, chunk, centre)
            self.frames, self.power = (
                self.frames + len(chunk),
                self.power + float((filled.astype(np.float64) ** 2).sum()),
            )
            yield filled


def principal_components(chunks: Iterable[np.ndarray], components: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, leading axes and the variance along each, in one pass, a missing entry counting as its mean in the first chunk.

    Up to 4096 entries through the covariance, beyond through an incremental SVD (Ross et al. 2008) that keeps
    `components` + 20 directions between chunks.

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
