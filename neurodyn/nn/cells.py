"""Frames of any shape as standardised cells, time first, and back."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from neurodyn.nn.parts import summed, windows_of


class Cells(nn.Module):
    """Picks the entries of a frame that are data, and standardises each.

    Parameters
    ----------
    brain
        Entries of a frame that are data, bool, shape (*space).
    sessions
        Sessions whose cells have means and variances of their own.
    """

    brain: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, brain: np.ndarray, sessions: int = 1) -> None:
        super().__init__()
        self.space = brain.shape
        self.register_buffer("brain", torch.from_numpy(brain.ravel().copy()), persistent=False)
        self.register_buffer("mean", torch.zeros(sessions, int(brain.sum())))
        self.register_buffer("scale", torch.ones(sessions, int(brain.sum())))

    def __len__(self) -> int:
        return self.mean.shape[1]

    def fit(self, mean: np.ndarray, variance: np.ndarray, session: int = 0) -> None:
        """Take mean and variance of a session's training data; a cell that is constant keeps the scale 1.

        Parameters
        ----------
        mean, variance
            Shape (cell,); the cells beyond these do not exist in the session.
        """
        sd = np.sqrt(variance)
        self.mean[session, : len(mean)] = torch.from_numpy(mean).to(self.mean)
        self.scale[session, : len(mean)] = torch.from_numpy(np.where(sd > 0, sd, 1.0)).to(self.scale)

    def gather(self, frames: Float[Tensor, "batch time *space"]) -> Float[Tensor, "time batch cell"]:
        """Return the entries that are data."""
        return self._chosen(frames.flatten(2)).transpose(0, 1)

    def mask(self, frames: Bool[Tensor, "batch time *space"]) -> Bool[Tensor, "time batch cell"]:
        """Return a mask's entries where there are data."""
        return self._chosen(frames.flatten(2)).transpose(0, 1)

    def standardised(
        self,
        x: Float[Tensor, "time batch cell"],
        seen: Bool[Tensor, "time batch cell"],
        session: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "time batch cell"]:
        """Return x with mean 0 and variance 1 per cell; 0 where it is not seen.

        Parameters
        ----------
        session
            Session of every window; None where there is but one.
        """
        rows = slice(0, 1) if session is None else session
        return ((x - self.mean[rows]) / self.scale[rows]).where(seen, 0.0)

    def scatter(self, values: Float[Tensor, "time batch cell"]) -> Float[Tensor, "batch time *space"]:
        """Put values back into frames, 0 elsewhere."""
        out = values.new_zeros(values.shape[1], values.shape[0], len(self.brain))
        out[..., self.brain] = values.transpose(0, 1)
        return out.unflatten(2, self.space)

    def _chosen(self, entries: Tensor) -> Tensor:
        return entries if len(self) == len(self.brain) else entries[..., self.brain]


class RunningMoments:
    """Mean and variance over samples that come one by one. Welford, Technometrics 4, 419 (1962)."""

    def __init__(self) -> None:
        self.count = 0
        self._moments: tuple[Tensor, Tensor] | None = None

    def add(self, values: Tensor) -> None:
        """Take one sample."""
        self.count += 1
        if self._moments is None:
            self._moments = values.clone(), torch.zeros_like(values)
            return
        mean, square = self._moments
        gap = values - mean
        mean = mean + gap / self.count
        self._moments = mean, square + gap * (values - mean)

    @property
    def mean(self) -> Tensor:
        """Mean of the samples so far."""
        return self._known[0]

    @property
    def variance(self) -> Tensor:
        """Variance over the samples so far."""
        return self._known[1] / self.count

    @property
    def _known(self) -> tuple[Tensor, Tensor]:
        if self._moments is None:
            raise ValueError("moments of no sample")
        return self._moments


class Spread:
    """How much factors differ between windows, gathered batch by batch."""

    def __init__(self) -> None:
        self.windows = 0
        self.total = self.square = torch.zeros(())

    def add(self, factors: Float[Tensor, "time batch factor"]) -> None:
        """Take in a batch."""
        values = factors.double()
        self.windows += windows_of(values.shape[1])
        self.total = self.total.to(values.device) + summed(values.sum(dim=1))
        self.square = self.square.to(values.device) + summed(values.square().sum(dim=1))

    @property
    def share(self) -> float:
        """Variance over windows, averaged over time and factors, over their mean square; 1 with fewer than two."""
        if self.windows < 2:
            return 1.0
        square, mean = self.square / self.windows, self.total / self.windows
        return ((square - mean**2).mean() / square.mean()).item()
