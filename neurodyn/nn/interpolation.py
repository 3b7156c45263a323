"""Linear interpolation and persistence in time, on the device, with every sample's own times and gaps."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def interpolate(
    values: Float[Tensor, "batch time *entry"],
    t: Float[Tensor, "batch time"],
    visible: Bool[Tensor, "batch time *entry"],
    at: Float[Tensor, "batch query"],
) -> Float[Tensor, "batch query *entry"]:
    """Interpolate visible values linearly in time; hold the nearest one beyond the ends.

    y(q) = y₀ + (q − t₀) / (t₁ − t₀) · (y₁ − y₀), with t₀ ≤ q ≤ t₁ the nearest visible times of that very entry.

    Parameters
    ----------
    values
        Finite everywhere; hidden values are not used.
    t
        Increasing along time.
    at
        Times to evaluate at, in any order.

    Returns
    -------
    Tensor
        0 for an entry without any visible value.
    """
    shape = values.shape
    values, visible = values.reshape(*shape[:2], -1), visible.reshape(*shape[:2], -1)
    before, after = _neighbours(visible, t, at)
    low, high = values.gather(1, before), values.gather(1, after)
    times = t[..., None].expand(*values.shape)
    start, stop = times.gather(1, before), times.gather(1, after)
    span = stop - start
    weight = (at[..., None] - start) / torch.where(span > 0, span, 1.0)
    out = torch.where(span > 0, low + weight * (high - low), low)
    out = out.where(visible.any(1, keepdim=True), 0.0)
    return out.reshape(*out.shape[:2], *shape[2:])


def hold(
    values: Float[Tensor, "batch time *entry"],
    t: Float[Tensor, "batch time"],
    visible: Bool[Tensor, "batch time *entry"],
    at: Float[Tensor, "batch query"],
) -> Float[Tensor, "batch query *entry"]:
    """Return the last visible value at or before each time, the first one where none came before; else as `interpolate`."""
    shape = values.shape
    values, visible = values.reshape(*shape[:2], -1), visible.reshape(*shape[:2], -1)
    out = values.gather(1, _neighbours(visible, t, at)[0]).where(visible.any(1, keepdim=True), 0.0)
    return out.reshape(*out.shape[:2], *shape[2:])


def _neighbours(
    visible: Bool[Tensor, "batch time entry"], t: Float[Tensor, "batch time"], at: Float[Tensor, "batch query"]
) -> tuple[Int[Tensor, "batch query entry"], Int[Tensor, "batch query entry"]]:
    """Return the last visible frame at or before each query and the first at or after it; the one there is, twice, at an end."""
    frames = visible.shape[1]
    order = torch.arange(frames, device=visible.device)[None, :, None]
    last = torch.where(visible, order, -1).cummax(1).values
    first = torch.where(visible, order, frames).flip(1).cummin(1).values.flip(1)
    entries = visible.shape[2]
    left = torch.searchsorted(t.contiguous(), at.contiguous(), right=True) - 1  # last frame at or before
    right = torch.searchsorted(t.contiguous(), at.contiguous())  # first frame at or after
    before = last.gather(1, left.clamp(min=0)[..., None].expand(-1, -1, entries))
    after = first.gather(1, right.clamp(max=frames - 1)[..., None].expand(-1, -1, entries))
    before = torch.where((left >= 0)[..., None], before, -1)
    after = torch.where((right < frames)[..., None], after, frames)
    either = torch.where(before < 0, after, before), torch.where(after >= frames, before, after)
    return either[0].clamp(0, frames - 1), either[1].clamp(0, frames - 1)
