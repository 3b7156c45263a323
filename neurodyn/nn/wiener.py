"""Spatial components whose maps and courses are cleaned by Wiener filters, and which predict a pixel without seeing it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter1d
from torch import Tensor, nn

from neurodyn.nn.components import principal_components

Chunks = Callable[[], Iterator[np.ndarray]]
LATTICE = 4  # a pixel is told its frame's scores by the pixels outside its own 4 × 4 sublattice: 15 of 16
MARGIN = 1.1  # above the largest eigenvalue of noise
RINGS = 15  # of spatial frequency
RIDGE = 1e-2  # of the scores' precision, in units of the noise's
JITTER = 1e-3
LITTLE = 0.3  # of the norm of a map, which is about 1 before it is cleaned


class WienerComponents(nn.Module):
    """Frames in units of their noise as z = V s + noise, with everything that can be known of V and s taken into account.

    V: principal components of frames smoothed in time, as many as stand out from noise (Baik, Ben Arous & Péché 2005, Ann.
    Probab. 33:1643); the maps regressed on their courses, then freed of the regression's white noise by a Wiener filter in
    space. s: least squares; sₖ(t) is then estimated from the frames within `reach` by the Wiener filter that the courses'
    autocovariance and the known noise give; at the ends, and where frames are missing, from those that are there.

    Blind: the estimate of a pixel takes the scores of its own frame from the pixels that lie outside its sublattice.

    Parameters
    ----------
    brain
        Entries that are data, bool, shape (roi,) or (y, x).
    frames
        Of a window.
    components
        Most components.
    reach
        Frames before and after.
    """

    maps: Tensor
    autocovariance: Tensor
    spread: Tensor
    mine: Tensor

    def __init__(self, brain: np.ndarray, frames: int, components: int, reach: int) -> None:
        super().__init__()
        self.brain, self.reach = brain, min(reach, frames - 1)
        entries = int(brain.sum())
        rank = min(components, entries)
        self.register_buffer("maps", torch.zeros(rank, entries))
        self.register_buffer("autocovariance", torch.zeros(rank, 2 * self.reach + 1))
        self.register_buffer("spread", torch.ones(rank))
        self.register_buffer("mine", torch.from_numpy(_sublattice(brain)), persistent=False)

    def fit(self, chunks: Chunks, smooth: float) -> None:
        """Fit to training windows, in four passes.

        Parameters
        ----------
        chunks
            Gives, again and again, chunks of shape (window, time, entry), in units of the noise, 0 where there is no datum.
        smooth
            Standard deviation of the Gaussian in time, frames.
        """
        axes = _standing_out(chunks, len(self.maps), smooth)
        self.maps.zero_()
        self.autocovariance.zero_()
        if not len(axes):
            return
        maps = _regressed(chunks, axes, smooth, self.brain)
        if not len(maps):
            return
        self.maps[: len(maps)] = torch.from_numpy(maps).to(self.maps)
        gram = maps.astype(np.float64) @ maps.T + RIDGE * np.eye(len(maps))
        inverse = np.linalg.inv(gram)
        self.spread[: len(maps)] = torch.from_numpy(np.diag(inverse).copy()).to(self.spread)
        courses = (chunk.astype(np.float64) @ maps.T @ inverse for chunk in chunks())
        self.autocovariance[: len(maps)] = torch.from_numpy(_autocovariance(courses, self.autocovariance.shape[1])).to(
            self.autocovariance
        )

    def scores(
        self, z: Float[Tensor, "frame entry"], seen: Bool[Tensor, "frame entry"]
    ) -> tuple[Float[Tensor, "frame rank"], Float[Tensor, "frame group rank"]]:
        """Return the scores of every frame, and what they are without each sublattice; z is 0 where it is not seen."""
        groups = int(self.mine.max()) + 1
        pieces, grams = [], []
        known = None if bool(seen.all()) else seen
        for group in range(groups):
            maps, mine = self.maps[:, self.mine == group], self.mine == group
            pieces.append(z[:, mine] @ maps.T)
            weight = torch.ones(1, maps.shape[1]).to(z) if known is None else known[:, mine].to(z)
            grams.append(torch.einsum("fp,kp,lp->fkl", weight, maps, maps))
        projected, gram = torch.stack(pieces, 1), torch.stack(grams, 1)
        others = 1 - torch.eye(groups).to(z)  # a sum over the others: what a pixel adds to its own group is times 0
        ridge = RIDGE * torch.eye(len(self.maps)).to(z)
        blind = _solved(
            torch.einsum("gh,fhkl->fgkl", others, gram) + ridge, torch.einsum("gh,fhk->fgk", others, projected)
        )
        return _solved(gram.sum(1) + ridge, projected.sum(1)), blind

    def weights(self, there: Bool[Tensor, " time"]) -> Float[Tensor, "rank time tap"]:
        """Return, for every component and frame, what each frame from `reach` before to `reach` after counts for it.

        Parameters
        ----------
        there
            Frames of which anything is seen; the others, and what lies beyond the window, count nothing.
        """
        frames, taps = self._near(len(there))
        near = (frames == frames.clamp(0, len(there) - 1)).to(there.device)
        near = near & there[frames.clamp(0, len(there) - 1)]
        covariance = self.autocovariance.double()
        noisy = covariance[:, (taps[:, None] - taps).abs()]  # (rank, tap, tap)
        clean = covariance[:, taps.abs()]
        clean[:, self.reach] = (covariance[:, 0] - self.spread).clamp(min=0)
        system = torch.where(near[:, :, None] & near[:, None], noisy[:, None], 0.0)
        jitter = JITTER * covariance[:, 0] + 1e-9
        system = system + torch.diag_embed(torch.where(near, jitter[:, None, None], 1.0))
        found = torch.linalg.solve(system, torch.where(near, clean[:, None], 0.0)[..., None])
        return found[..., 0].to(self.maps)

    def _near(self, time: int) -> tuple[Tensor, Tensor]:
        """Return the frames around every frame, shape (time, tap), and how far away they are, shape (tap,)."""
        taps = torch.arange(-self.reach, self.reach + 1)
        return torch.arange(time)[:, None] + taps, taps

    def courses(
        self, scores: Float[Tensor, "time rank"], blind: Float[Tensor, "time group rank"], there: Bool[Tensor, " time"]
    ) -> Float[Tensor, "time group rank"]:
        """Return the filtered scores of a window as every sublattice may know them."""
        weights = self._weights(there)
        frames, _ = self._near(len(there))
        around = scores[frames.clamp(0, len(there) - 1)]
        own = weights[..., self.reach].T  # (time, rank)
        others = weights * (torch.arange(weights.shape[2]) != self.reach).to(weights)
        return torch.einsum("ktm,tmk->tk", others, around)[:, None] + own[:, None] * blind

    def spread_out(self, courses: Float[Tensor, "frame group rank"]) -> Float[Tensor, "frame entry"]:
        """Return the frames that scores stand for, every entry by those of its own sublattice."""
        out = courses.new_zeros(len(courses), self.maps.shape[1])
        for group in range(courses.shape[1]):
            mine = self.mine == group
            out[:, mine] = courses[:, group] @ self.maps[:, mine]
        return out

    def _weights(self, there: Bool[Tensor, " time"]) -> Tensor:
        """Keep the weights of windows of which every frame is there: nearly all are."""
        if not bool(there.all()):
            return self.weights(there)
        key = (len(there), self.autocovariance._version, str(there.device))
        if getattr(self, "_kept", (None,))[0] != key:
            self._kept = key, self.weights(there)
        return self._kept[1]


def _solved(gram: Tensor, projected: Tensor) -> Tensor:
    """Solve in double precision, one system per frame, or one for all frames."""
    inverse = torch.linalg.inv(gram.double()).to(projected)
    if gram.shape[0] == 1:
        return torch.einsum("...kl,f...l->f...k", inverse[0], projected)
    return torch.einsum("f...kl,f...l->f...k", inverse, projected)


def _sublattice(brain: np.ndarray) -> np.ndarray:
    """Number the sublattice of every entry, shape (entry,)."""
    if brain.ndim == 1:
        return np.arange(int(brain.sum())) % LATTICE**2
    y, x = np.nonzero(brain)
    return (y % LATTICE) * LATTICE + x % LATTICE


def _smoothed(chunk: np.ndarray, smooth: float) -> np.ndarray:
    return gaussian_filter1d(chunk, smooth, axis=1, mode="nearest") if smooth > 0 else chunk


def _standing_out(chunks: Chunks, most: int, smooth: float) -> np.ndarray:
    """Return the principal axes of smoothed frames whose variance noise alone would not have, shape (rank, entry)."""
    rng = np.random.default_rng(0)  # decides an edge, and so whether an axis at the edge is kept

    def flat(made: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        return (chunk.reshape(-1, chunk.shape[-1]) for chunk in made)

    def noise() -> Iterator[np.ndarray]:
        for chunk in chunks():
            drawn = rng.standard_normal(chunk.shape, dtype=np.float32) * (chunk != 0)
            yield _smoothed(drawn, smooth)

    _, axes, variance = principal_components(flat(_smoothed(chunk, smooth) for chunk in chunks()), most)
    edge = principal_components(flat(noise()), 1)[2][0]
    return axes[variance > MARGIN * edge].astype(np.float32)


def _regressed(chunks: Chunks, axes: np.ndarray, smooth: float, brain: np.ndarray) -> np.ndarray:
    """Return the maps of the axes' courses, by least squares and then freed of its noise, shape (rank, entry)."""
    gram, product = np.zeros((len(axes), len(axes))), np.zeros(axes.shape)
    for chunk in chunks():
        courses = _smoothed(chunk @ axes.T, smooth).reshape(-1, len(axes))
        gram += courses.T.astype(np.float64) @ courses
        product += courses.T @ chunk.reshape(len(courses), -1)
    noise = np.diag(np.linalg.inv(gram + 1e-9 * np.eye(len(gram))))
    maps = np.linalg.solve(gram, product)
    if brain.ndim == 1:
        return maps.astype(np.float32)
    return _apart(np.stack([_clean_map(one, brain, two) for one, two in zip(maps, noise, strict=True)]))


def _apart(maps: np.ndarray) -> np.ndarray:
    """Return the nearest orthonormal maps, without those of which little stayed, shape (rank, entry).

    Courses are filtered one by one: where maps resemble each other, large scores of opposite sign would no longer cancel.
    """
    kept = maps[np.linalg.norm(maps, axis=1) > LITTLE]
    left, _, right = np.linalg.svd(kept, full_matrices=False)
    return (left @ right).astype(np.float32)


def _clean_map(values: np.ndarray, brain: np.ndarray, noise: float) -> np.ndarray:
    """Filter a map with white noise of known variance, ring by ring of spatial frequency, shape (entry,)."""
    image = np.zeros(brain.shape)
    image[brain] = values
    spectrum = np.fft.fft2(image)
    frequency = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, brain.shape), indexing="ij"))
    width = 0.5 * np.sqrt(2) / RINGS
    ring = np.minimum((frequency / width).astype(int), RINGS - 1)
    many = np.bincount(ring.ravel(), minlength=RINGS)
    power = np.bincount(ring.ravel(), (np.abs(spectrum) ** 2).ravel(), RINGS) / np.maximum(many, 1) / image.size
    gain = np.clip(1 - noise * brain.mean() / np.maximum(power, 1e-30), 0, 1)
    filtered = np.fft.ifft2(spectrum * np.interp(frequency, (np.arange(RINGS) + 0.5) * width, gain)).real
    return filtered[brain]


def _autocovariance(courses: Iterable[np.ndarray], lags: int) -> np.ndarray:
    """Return the mean product of scores some frames apart, shape (rank, lag), from (window, time, rank); 0 beyond a window."""
    total, count = np.zeros(()), np.zeros(lags)
    for chunk in courses:
        pairs = [(chunk[:, : max(0, chunk.shape[1] - lag)], chunk[:, lag:]) for lag in range(lags)]
        total = total + np.stack([(before * after).sum((0, 1)) for before, after in pairs], 1)
        count += [before.shape[0] * before.shape[1] for before, _ in pairs]
    return total / np.maximum(count, 1)
