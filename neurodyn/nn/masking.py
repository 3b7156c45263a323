"""What training hides, and where it looks between frames."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from neurodyn.nn.parts import integers, uniform


def hide_inner_frames(batch: int, frames: int, most: int, generator: torch.Generator) -> Bool[Tensor, "batch frames"]:
    """Choose 1 to `most` inner frames per sample, uniformly in number and place; both ends stay. None where `most` is 0 or there is no inner frame.

    Parameters
    ----------
    most
        Capped at the number of inner frames; 0 for no frame.
    generator
        On the CPU.

    Returns
    -------
    Tensor
        True where a frame is hidden, on the CPU.
    """
    inner = frames - 2
    if min(most, inner) < 1:
        return torch.zeros(batch, frames, dtype=torch.bool)
    count = integers(1, min(most, inner) + 1, batch, 1, generator=generator)
    rank = uniform(batch, inner, generator=generator).argsort(1).argsort(1)
    return torch.nn.functional.pad(rank < count, (1, 1))


def without_inner_frames(
    seen: Bool[Tensor, "batch time *entry"], most: int, generator: torch.Generator
) -> Bool[Tensor, "batch time *entry"]:
    """Return what is still seen when `hide_inner_frames` hides frames."""
    hide = hide_inner_frames(seen.shape[0], seen.shape[1], most, generator).to(seen.device)
    return seen & ~hide.reshape(*hide.shape, *[1] * (seen.ndim - 2))


def hide_blocks(
    shape: tuple[int, ...], size: tuple[int, ...], share: Float[Tensor, " batch"], generator: torch.Generator
) -> Bool[Tensor, "batch time *space"]:
    """Choose blocks of a grid that lies anywhere over the frames of each sample, uniformly in place.

    Parameters
    ----------
    shape
        Frames, then the shape of a frame.
    size
        Of a block, along the same axes; cut off at the borders.
    share
        Share of the blocks that are hidden, in [0, 1], on the CPU; at least one where it is above 0.
    generator
        On the CPU.

    Returns
    -------
    Tensor
        True where an entry is hidden, on the CPU.
    """
    grid = [(length + side - 2) // side + 1 for length, side in zip(shape, size, strict=True)]
    offsets = [integers(0, side, len(share), 1, generator=generator) for side in size]
    places = [  # the block of every index along each axis, (batch, length)
        (torch.arange(length) + offset) // side for length, side, offset in zip(shape, size, offsets, strict=True)
    ]
    there = torch.ones(len(share), *grid, dtype=torch.bool)
    for axis, (place, many) in enumerate(zip(places, grid, strict=True), start=1):
        reached = torch.arange(many) <= place[:, -1:]
        there &= reached.reshape(len(share), *[1] * (axis - 1), many, *[1] * (len(grid) - axis))
    drawn = uniform(len(share), there[0].numel(), generator=generator).masked_fill(~there.flatten(1), torch.inf)
    count = (share * there.flatten(1).sum(1)).ceil()
    hidden = (drawn.argsort(1).argsort(1) < count[:, None]).unflatten(1, grid)
    for axis, place in enumerate(places, start=1):
        index = place.reshape(*place.shape[:1], *[1] * (axis - 1), -1, *[1] * (hidden.ndim - axis - 1))
        hidden = hidden.gather(axis, index.expand(*hidden.shape[:axis], -1, *hidden.shape[axis + 1 :]))
    return hidden


def times_between(
    t: Float[Tensor, "batch time"], count: int, generator: torch.Generator
) -> Float[Tensor, "batch count"]:
    """Draw times between frames, no two close to each other or to a frame.

    Every interval between frames is cut into as many slots as `count` asks for; distinct slots are drawn, and a time
    uniformly in the inner 80 % of each. Finite differences through the drawn times therefore stay well conditioned.

    Parameters
    ----------
    t
        Increasing along time.
    generator
        On the CPU.
    """
    intervals = t.shape[1] - 1
    slots = -(-count // intervals)
    chosen = uniform(t.shape[0], intervals * slots, generator=generator).argsort(1)[:, :count]
    place = (chosen % slots + 0.1 + 0.8 * uniform(t.shape[0], count, generator=generator)) / slots
    chosen, place = chosen.to(t.device), place.to(t.device)
    start, stop = t.gather(1, chosen // slots), t.gather(1, chosen // slots + 1)
    return start + place * (stop - start)
