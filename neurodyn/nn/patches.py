"""Frames to patch tokens and back."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from neurodyn.nn.tiling import check_patches, patch_of


class Patches(nn.Module):
    """Exact tiling of a frame; the last row and column of patches are padded, patches without any brain are dropped.

    Traces are one patch that holds every ROI, or patches of so many ROIs in their order.

    Parameters
    ----------
    brain
        Entries that are data, bool, shape (roi,) or (y, x).
    patch
        Height and width of a patch in pixels; not used for traces.
    rois
        ROIs per patch of traces; None for all.

    Raises
    ------
    ConfigError
        If a patch is larger than the frame, or no entry is data.
    """

    sites: Tensor
    index: Tensor
    inside: Tensor
    home: Tensor
    centres: Tensor

    def __init__(self, brain: np.ndarray, patch: tuple[int, int], rois: int | None = None) -> None:
        super().__init__()
        frame = np.atleast_2d(brain)
        height, width = patch_of(brain, patch, rois)
        check_patches(brain, (height, width))
        self.space = brain.shape
        self.grid = (-(-frame.shape[0] // height), -(-frame.shape[1] // width))
        index = _tile(np.arange(frame.size).reshape(frame.shape), self.grid, (height, width))
        inside = (index >= 0) & frame.ravel()[index]
        kept = np.flatnonzero(inside.any(1))
        centres = (np.stack(np.unravel_index(kept, self.grid), -1) + 0.5) / np.array(self.grid)
        self.register_buffer("sites", torch.from_numpy(kept), persistent=False)
        self.register_buffer("index", torch.from_numpy(index[kept].clip(0)), persistent=False)
        self.register_buffer("inside", torch.from_numpy(inside[kept]), persistent=False)
        self.register_buffer("home", torch.from_numpy(_home(index[kept], inside[kept], frame.size)), persistent=False)
        self.register_buffer("centres", torch.from_numpy(centres.astype(np.float32)), persistent=False)

    @property
    def pixels(self) -> int:
        """Entries per token."""
        return self.index.shape[1]

    @property
    def positions(self) -> int:
        """Patches of the whole grid, dropped ones included."""
        return self.grid[0] * self.grid[1]

    def split(self, frames: Shaped[Tensor, "batch time *space"]) -> Shaped[Tensor, "batch time site pixel"]:
        """Cut frames into tokens; entries outside the brain become 0 or False."""
        tokens = frames.flatten(2)[..., self.index]
        return tokens.where(self.inside, torch.zeros((), dtype=tokens.dtype, device=tokens.device))

    def join(self, tokens: Shaped[Tensor, "batch time site pixel"]) -> Shaped[Tensor, "batch time *space"]:
        """Put tokens back into frames; entries outside the brain become 0."""
        flat = torch.nn.functional.pad(tokens.flatten(2), (0, 1))[..., self.home]
        return flat.unflatten(-1, self.space)

    def nearness(self, place: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch site"]:
        """Return weights of the patches whose bilinear interpolation stands for a place; they sum to 1.

        Parameters
        ----------
        place
            Row and column on [0, 1], as `centres`. Beyond the centres of the outer patches, and where patches were
            dropped, the nearest ones there are count alone.
        """
        grid = torch.tensor(self.grid, dtype=place.dtype, device=place.device)
        steps = (place[..., None, :] - self.centres.to(place.dtype)) * grid
        weights = (1 - steps.abs()).clamp(min=0).prod(-1)
        alone = steps.square().sum(-1)
        nearest = torch.nn.functional.one_hot(alone.argmin(-1), len(self.sites)).to(weights)
        total = weights.sum(-1, keepdim=True)
        return torch.where(total > 0, weights / torch.where(total > 0, total, 1.0), nearest)

    def spread(self, weights: Float[Tensor, "batch site token"]) -> Float[Tensor, "batch position time position"]:
        """Lay attention of one frame's patches to all tokens over the whole grid; rows of dropped patches are 0."""
        keys = self.scatter(weights.unflatten(2, (-1, len(self.sites))))
        return self.scatter(keys.movedim(1, -1)).movedim(-1, 1)

    def scatter(self, values: Float[Tensor, "*batch site"]) -> Float[Tensor, "*batch position"]:
        """Spread one value per kept patch over the whole grid; dropped patches get 0."""
        out = values.new_zeros(*values.shape[:-1], self.positions)
        out[..., self.sites] = values
        return out


def _tile(index: np.ndarray, grid: tuple[int, int], patch: tuple[int, int]) -> np.ndarray:
    """Return the flat frame index of every entry of every patch, -1 in the padding, shape (patch, pixel)."""
    padding = [(0, g * p - n) for g, p, n in zip(grid, patch, index.shape, strict=True)]
    padded = np.pad(index, padding, constant_values=-1)
    return padded.reshape(grid[0], patch[0], grid[1], patch[1]).swapaxes(1, 2).reshape(grid[0] * grid[1], -1)


def _home(index: np.ndarray, inside: np.ndarray, entries: int) -> np.ndarray:
    """Return for every frame entry its place among the flattened tokens; one past the last where it has none."""
    home = np.full(entries, index.size)
    home[index[inside]] = np.flatnonzero(inside)
    return home
