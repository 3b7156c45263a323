"""A signal as tokens of space and time, and an ensemble of answers for each of its entries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from neurodyn.nn.components import Components
from neurodyn.nn.frames import Frames
from neurodyn.nn.interpolation import interpolate
from neurodyn.nn.multiformer import Tail
from neurodyn.nn.patches import Patches
from neurodyn.nn.positions import FourierFeatures
from neurodyn.nn.token_masks import TokenGrid
from neurodyn.nn.tokens import placed

Base = Literal["none", "interpolation", "components", "both"]


@dataclass(frozen=True)
class Given:
    """What a network is shown of a field.

    Parameters
    ----------
    values
        z-scored, 0 where not seen, shape (batch, time, site, pixel).
    seen
        bool, like values.
    """

    values: Tensor
    seen: Tensor


class TokenField(nn.Module):
    """One signal of several: standardised, cut into tokens, embedded, and answered by an ensemble.

        token = E [z, seen] + e + H b + P φ(t, row, column),   y_m = base + A_m LN(h)

    z are seen values, 0 elsewhere; b are estimates of the unseen ones; h is what a network makes of the tokens, e the
    field's own embedding (the bias of E). With one estimate the base is (1 + g(h)) b, with two it is α b₁ + (1 − α) b₂,
    α = σ(a + g(h)) and a learned for every pixel. Where a value is seen, the base is that value. g and H start at zero:
    tokens that are full of estimates at first learn to look at other fields much more slowly than empty ones.

    Parameters
    ----------
    frames
        Frames of a window.
    brain
        Entries that are data, bool, shape (roi,), (y, x) or (1,).
    token
        Frames, rows and columns of a token, each at most the window's and the frame's.
    rois
        ROIs in a token of traces; None for all.
    width
        Features per token.
    members
        Size of the ensemble.
    bands
        Highest frequency of time, row and column in the position.
    base
        Nothing, linear interpolation in time, what principal components say of each frame, or both.
    components
        Number of these.
    """

    factor: Tensor

    def __init__(
        self,
        frames: int,
        brain: np.ndarray,
        token: tuple[int, int, int],
        rois: int | None,
        width: int,
        members: int,
        bands: tuple[float, float, float],
        base: Base = "interpolation",
        components: int = 20,
    ) -> None:
        super().__init__()
        height, length = np.atleast_2d(brain).shape
        patch = min(token[1], height), min(token[2], length)
        self.frames, self.patches = Frames(brain), Patches(brain, patch, rois)
        patch = patch if brain.ndim == 2 else (1, self.patches.pixels)
        kept = tuple(self.patches.sites.tolist())
        self.grid = TokenGrid(frames, min(token[0], frames), patch, self.patches.grid, kept)
        self.base, estimates = base, {"none": 0, "both": 2}.get(base, 1)
        low_rank = base in ("components", "both")
        self.components = Components(len(self.frames.cells), components) if low_rank else None
        values = self.grid.depth * self.patches.pixels
        self.fourier = FourierFeatures(bands)
        self.embed = nn.Linear(2 * values, width)
        self.hint = _from_zero(nn.Linear(estimates * values, width, bias=False)) if estimates else None
        self.place = nn.Linear(self.fourier.features, width, bias=False)
        self.tail = Tail(width, members, values)
        self.gate = _from_zero(nn.Linear(width, 1)) if estimates else None
        self.blend = nn.Parameter(torch.zeros(self.patches.inside.shape)) if estimates > 1 else None
        self.register_buffer("factor", torch.ones(()))

    def fit(self, chunks: Iterable[np.ndarray], normalise: Literal["entry", "global"]) -> None:
        """Take mean and standard deviation, and the components, of training frames (window, time, *space); NaN is no datum."""
        self.frames.fit(chunks, normalise)
        if self.components is not None:
            self.components.fit(self.frames.chunks(chunks))

    def given(self, x: Float[Tensor, "batch time *space"], seen: Bool[Tensor, "batch time *space"]) -> Given:
        """Return frames as z-scores, patch by patch."""
        known = self.patches.split(self.frames.mask(seen))
        return Given(self.patches.split(self.frames.standardised(x, seen)), known)

    def estimates(self, given: Given, t: Float[Tensor, "batch time"]) -> list[Float[Tensor, "batch time site pixel"]]:
        """Return what is known without the network; seen values as they are.

        Of an entry that is never seen in the window, the interpolation is 0, or what the components say where they may.
        """
        found = []
        if self.base in ("interpolation", "both"):
            found.append(interpolate(given.values, t, given.seen, t))
        if self.components is not None:
            found.append(self._low_rank(self.components, given, t))
        if self.base == "both":
            found[0] = torch.where(given.seen.any(1, keepdim=True), *found)
        return [torch.where(given.seen, given.values, some) for some in found]

    def _low_rank(
        self, components: Components, given: Given, t: Float[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time site pixel"]:
        values, known = (self.patches.join(some) for some in (given.values, given.seen))
        return self.patches.split(self.frames.filled(components, values, t, known))

    def embedded(
        self, given: Given, estimates: list[Tensor], t: Float[Tensor, "batch time"]
    ) -> Float[Tensor, "batch token width"]:
        """Return tokens, along time and then along places."""
        told = torch.cat([self._tokens(given.values), self._tokens(given.seen.to(given.values))], dim=-1)
        state = self.embed(told) + self.place(self.fourier(self.places(t)))
        if self.hint is None:
            return state
        return state + self.hint(torch.cat([self._tokens(some) for some in estimates], dim=-1))

    def places(self, t: Float[Tensor, "batch time"]) -> Float[Tensor, "batch token 3"]:
        """Return time, row and column of every token's middle."""
        return placed(self._centres(t), self.patches.centres).flatten(1, 2)

    def _tokens(self, values: Float[Tensor, "batch time site pixel"]) -> Float[Tensor, "batch token value"]:
        return self.tiled(values).flatten(1, 2)

    def answered(
        self, tokens: Float[Tensor, "batch token width"], given: Given, estimates: list[Tensor]
    ) -> Float[Tensor, "batch member time site pixel"]:
        """Return every member's answer, z-scored."""
        answers = self.tail(tokens)
        batch, members = answers.shape[:2]
        apart = self.untiled(answers.flatten(0, 1).unflatten(1, (self.grid.steps, -1))).unflatten(0, (batch, members))
        return apart if self.gate is None else apart + self._base(tokens, given, estimates, self.gate)[:, None]

    def _base(
        self, tokens: Tensor, given: Given, estimates: list[Tensor], gate: nn.Module
    ) -> Float[Tensor, "batch time site pixel"]:
        opened = self.grid.framed(gate(tokens)[..., 0].unflatten(1, (self.grid.steps, -1)))
        if self.blend is None:
            mixed = (1 + opened) * estimates[0]
        else:
            mixed = torch.lerp(estimates[1], estimates[0], torch.sigmoid(self.blend + opened))
        return torch.where(given.seen, given.values, mixed)

    def tiled(self, values: Float[Tensor, "batch time site pixel"]) -> Float[Tensor, "batch step site value"]:
        """Put the frames of a token one after the other; frames beyond the window are 0."""
        missing = -values.shape[1] % self.grid.depth
        whole = torch.nn.functional.pad(values, (0, 0, 0, 0, 0, missing))
        return whole.unflatten(1, (-1, self.grid.depth)).transpose(2, 3).flatten(3)

    def untiled(self, tokens: Float[Tensor, "batch step site value"]) -> Float[Tensor, "batch time site pixel"]:
        """Undo `tiled`."""
        whole = tokens.unflatten(3, (self.grid.depth, -1)).transpose(2, 3).flatten(1, 2)
        return whole[:, : self.grid.frames]

    def _centres(self, t: Float[Tensor, "batch time"]) -> Float[Tensor, "batch step"]:
        """Return the mean time of each token's frames."""
        parts = t.split(self.grid.depth, dim=1)
        return torch.stack([part.mean(1) for part in parts], dim=1)

    def restored(self, z: Float[Tensor, "*batch time site pixel"]) -> Float[Tensor, "*batch time *space"]:
        """Return z-scores in the data's units."""
        frames = self.frames.restored(self.patches.join(z.flatten(0, -4)))
        return frames.unflatten(0, z.shape[:-3])

    def scaled(self, spread: Float[Tensor, "batch time site pixel"]) -> Float[Tensor, "batch time *space"]:
        """Return a standard deviation in the data's units."""
        return self.frames.scaled(self.patches.join(spread))


def _from_zero(layer: nn.Linear) -> nn.Linear:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
