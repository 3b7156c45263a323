"""Frames standardised with training statistics, as images or as lists of entries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor, nn

from neurodyn.nn.cells import Cells
from neurodyn.nn.moments import levels


class Frames(nn.Module):
    """Standardises frames, and lays them out as a network wants them.

    z = (x − m) / s, with m and s the mean and the standard deviation of training data. Traces are images of height 1;
    entries outside the brain are 0.

    Parameters
    ----------
    brain
        Entries that are data, bool, shape (roi,) or (y, x).
    image
        Lay frames out as (height, width); otherwise as the list of entries inside the brain.
    """

    def __init__(self, brain: np.ndarray, image: bool = True) -> None:
        super().__init__()
        self.cells, self.image = Cells(brain), image
        self.shape = np.atleast_2d(brain).shape if image else (int(brain.sum()),)

    @property
    def inside(self) -> Bool[Tensor, "*frame"]:
        """Where a frame has data."""
        return self.cells.brain.reshape(self.shape) if self.image else self.cells.brain[self.cells.brain]

    def fit(self, chunks: Iterable[np.ndarray], normalise: Literal["entry", "global"]) -> None:
        """Take mean and standard deviation of training frames.

        Parameters
        ----------
        chunks
            Each of shape (window, time, *space), NaN where there is no datum.
        normalise
            One mean and standard deviation per entry, or one for all of them.
        """
        inside = self.cells.brain.cpu().numpy().reshape(self.cells.space)
        mean, sd = (values[inside] for values in levels(chunks, inside, normalise))
        self.cells.fit(mean, sd**2)

    def chunks(self, chunks: Iterable[np.ndarray]) -> Standardised:
        """Return training frames as `Components.fit` takes them."""
        return Standardised(self, chunks)

    def standardised(
        self, x: Float[Tensor, "batch time *space"], seen: Bool[Tensor, "batch time *space"]
    ) -> Float[Tensor, "batch time *frame"]:
        """Return z; 0 where it is not seen."""
        z = self.cells.standardised(self.cells.gather(x), self.cells.mask(seen))
        return self.cells.scatter(z).reshape(*x.shape[:2], *self.shape) if self.image else z.transpose(0, 1)

    def mask(self, frames: Bool[Tensor, "batch time *space"]) -> Bool[Tensor, "batch time *frame"]:
        """Lay a mask out in the same way; False outside the brain."""
        if not self.image:
            return self.cells.mask(frames).transpose(0, 1)
        return (frames.flatten(2) & self.cells.brain).reshape(*frames.shape[:2], *self.shape)

    def filled(
        self,
        estimate: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
        z: Float[Tensor, "batch time *image"],
        t: Float[Tensor, "batch time"],
        seen: Bool[Tensor, "batch time *image"],
    ) -> Float[Tensor, "batch time *image"]:
        """Have the entries inside the brain estimated at their own times; 0 outside.

        Parameters
        ----------
        estimate
            As `interpolate`, of lists of entries.
        z, seen
            Laid out as images or as the data are.
        """
        inside = self.cells.brain
        entries = estimate(z.flatten(2)[..., inside], t, seen.flatten(2)[..., inside], t)
        return self.cells.scatter(entries.transpose(0, 1)).reshape(z.shape)

    def scaled(self, spread: Float[Tensor, "batch time *frame"]) -> Float[Tensor, "batch time *space"]:
        """Return a standard deviation in the data's units; 0 outside the brain."""
        entries = spread.flatten(2)[..., self.cells.brain] if self.image else spread
        return self.cells.scatter(entries.transpose(0, 1) * self.cells.scale[0])

    def restored(self, z: Float[Tensor, "batch time *frame"]) -> Float[Tensor, "batch time *space"]:
        """Return x in the data's units; 0 outside the brain."""
        entries = z.flatten(2)[..., self.cells.brain] if self.image else z
        return self.cells.scatter(entries.transpose(0, 1) * self.cells.scale[0] + self.cells.mean[0])


@dataclass(frozen=True)
class Standardised:
    """Training frames as z-scores of the entries inside the brain; may be gone through again where the chunks may.

    Yields arrays of shape (frame, entry), NaN where there is no datum.
    """

    frames: Frames
    raw: Iterable[np.ndarray]

    def __iter__(self) -> Iterator[np.ndarray]:
        inside = self.frames.cells.brain.cpu().numpy()
        mean, scale = (values[0].cpu().numpy() for values in (self.frames.cells.mean, self.frames.cells.scale))
        for chunk in self.raw:
            yield (chunk.reshape(-1, inside.size)[:, inside] - mean) / scale
