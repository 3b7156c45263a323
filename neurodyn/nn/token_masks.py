"""What training hides from, or spoils in, several fields that are cut into tokens of space and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from neurodyn.nn.masking import hide_blocks, hide_inner_frames
from neurodyn.nn.parts import integers, normal, uniform

NOISE = 0.1
M = TypeVar("M", bound=str)


@dataclass(frozen=True)
class TokenGrid:
    """How a field is cut.

    Parameters
    ----------
    frames
        Frames of the window.
    depth
        Frames per token; the last token has fewer where the window is no multiple.
    patch
        Height and width of a token, pixels.
    shape
        Rows and columns of tokens in a frame.
    kept
        Places of the grid that hold data, in the tokens' order.
    """

    frames: int
    depth: int
    patch: tuple[int, int]
    shape: tuple[int, int]
    kept: tuple[int, ...]

    @property
    def steps(self) -> int:
        """Tokens along time."""
        return -(-self.frames // self.depth)

    @property
    def tokens(self) -> int:
        """Tokens of a window."""
        return self.steps * len(self.kept)

    def framed(self, tokens: Tensor) -> Tensor:
        """Repeat what is said of tokens, shape (batch, step, site), for each of their frames: (batch, time, site, 1)."""
        return tokens.repeat_interleave(self.depth, dim=1)[:, : self.frames, :, None]

    def within(self, start: Int[Tensor, " batch"], stop: Int[Tensor, " batch"]) -> Bool[Tensor, "batch step site"]:
        """Return the tokens with a frame in start, …, stop − 1."""
        first = torch.arange(self.steps) * self.depth
        inside = (first < stop[:, None]) & (first + self.depth > start[:, None])
        return inside[..., None].expand(-1, -1, len(self.kept))

    def blocks(
        self, share: Float[Tensor, " batch"], generator: torch.Generator
    ) -> Bool[Tensor, "batch time site pixel"]:
        """Return blocks as large as a token that lie anywhere in the window; `share` of them, on the CPU."""
        (height, width), (rows, columns) = self.patch, self.shape
        whole = self.frames, rows * height, columns * width
        hidden = hide_blocks(whole, (self.depth, height, width), share, generator)
        patches = hidden.unflatten(3, (columns, width)).unflatten(2, (rows, height)).transpose(3, 4)
        return patches.flatten(4, 5).flatten(2, 3)[:, :, list(self.kept)]


@dataclass(frozen=True)
class Masked:
    """What is done to a field; on the CPU, bool, shape (batch, time, site, 1), or (…, pixel) where pixels differ.

    Parameters
    ----------
    chosen
        What is to be guessed; it includes all that follows.
    gone
        What is hidden.
    noisy, coarse
        What is shown weaker and with noise, or averaged over 2×2 pixels.
    """

    chosen: Tensor
    gone: Tensor
    noisy: Tensor
    coarse: Tensor


@dataclass(frozen=True)
class Masking:
    """Draws masks of several modes.

    Parameters
    ----------
    ratio
        Highest share of tokens chosen at random (bert).
    zero, noise, coarse
        Chances, each for itself, that a token chosen at random is hidden, noisy or coarse.
    synced
        Choose the same tokens in all fields that are cut alike.
    ahead
        Tokens along time of the first field that are hidden together (forecast, hindcast, interpolate).
    hide
        Most inner frames hidden (frames).
    """

    ratio: float = 0.5
    zero: float = 0.9
    noise: float = 0.1
    coarse: float = 0.05
    synced: bool = False
    ahead: int = 1
    hide: int = 10

    def draw(self, mode: str, grids: Sequence[TokenGrid], batch: int, generator: torch.Generator) -> tuple[Masked, ...]:
        """Draw what is done to each field.

        bert: tokens at random, in every sample and field another share of them; forecast, hindcast, interpolate: all
        fields during the last, the first, or some inner tokens of the first field; channel: one field during a random
        stretch, anew in every sample; blocks: as many as with bert, as large as tokens, that lie anywhere; frames:
        single inner frames of all fields.
        """
        if mode == "bert":
            return self._at_random(grids, batch, generator)
        if mode == "channel":
            hidden = _one_field(grids, batch, generator)
        elif mode == "blocks":
            hidden = [grid.blocks(self.ratio * uniform(batch, generator=generator), generator) for grid in grids]
        elif mode == "frames":
            inner = hide_inner_frames(batch, grids[0].frames, self.hide, generator)[..., None, None]
            hidden = [inner.expand(-1, -1, len(grid.kept), 1) for grid in grids]
        else:
            start, stop = self._stretch(mode, grids[0], batch, generator)
            hidden = [grid.framed(grid.within(start, stop)) for grid in grids]
        return tuple(Masked(one, one, torch.zeros_like(one), torch.zeros_like(one)) for one in hidden)

    def _at_random(self, grids: Sequence[TokenGrid], batch: int, generator: torch.Generator) -> tuple[Masked, ...]:
        drawn: dict[TokenGrid, Masked] = {}
        masks = []
        for grid in grids:
            if not self.synced or grid not in drawn:
                drawn[grid] = self._random_tokens(grid, batch, generator)
            masks.append(drawn[grid])
        return tuple(masks)

    def _random_tokens(self, grid: TokenGrid, batch: int, generator: torch.Generator) -> Masked:
        share = 1 - uniform(batch, 1, generator=generator)  # in (0, 1]
        rank = uniform(batch, grid.tokens, generator=generator).argsort(1).argsort(1)
        chosen = rank < (self.ratio * share * grid.tokens).ceil()
        fates = uniform(3, batch, grid.tokens, generator=generator, along=1)
        gone, noisy, coarse = (
            chosen & (fate < chance) for fate, chance in zip(fates, (self.zero, self.noise, self.coarse), strict=True)
        )
        every = (chosen, gone, noisy & ~gone, coarse & ~gone)
        return Masked(*(grid.framed(some.unflatten(1, (grid.steps, -1))) for some in every))

    def _stretch(
        self, mode: str, grid: TokenGrid, batch: int, generator: torch.Generator
    ) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]:
        """Return the first frame, and the one after the last."""
        inner = int(mode == "interpolate" and grid.steps > 2)
        count = min(self.ahead, max(1, grid.steps - 1 - inner))
        first = torch.zeros(batch, dtype=torch.long)
        if mode == "forecast":
            first = first + grid.steps - count
        if mode == "interpolate":
            first = integers(inner, grid.steps - inner - count + 1, batch, generator=generator)
        return first * grid.depth, (first + count) * grid.depth


def _one_field(
    grids: Sequence[TokenGrid], batch: int, generator: torch.Generator
) -> list[Bool[Tensor, "batch time site 1"]]:
    """Hide one field for a random stretch; an only field not as a whole, if it has more than one token along time."""
    which = integers(0, len(grids), batch, generator=generator)
    length, place = uniform(2, batch, generator=generator, along=1)
    hidden = []
    for index, grid in enumerate(grids):
        most = grid.steps if len(grids) > 1 else max(1, grid.steps - 1)
        count = 1 + (length * most).long().clamp(max=most - 1)
        first = (place * (grid.steps - count + 1)).long().clamp(max=grid.steps - 1)
        inside = grid.within(first * grid.depth, (first + count) * grid.depth)
        hidden.append(grid.framed(inside & (which == index)[:, None, None]))
    return hidden


def choose_mode(modes: Mapping[M, float], generator: torch.Generator) -> M:
    """Draw a mode by its weight; the order of the modes does not matter."""
    names = sorted(modes)
    weights = torch.tensor([modes[name] for name in names], dtype=torch.float64)
    return names[int(torch.multinomial(weights, 1, generator=generator))]


def disturbed(
    values: Float[Tensor, "batch time site pixel"],
    seen: Bool[Tensor, "batch time site pixel"],
    masked: Masked,
    grid: TokenGrid,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "batch time site pixel"], Bool[Tensor, "batch time site pixel"]]:
    """Return what is shown, 0 where it is not seen, and what is still seen.

    Noisy tokens are (1 − w) x + 0.1 ε, with w uniform on [0, 1] for every token and ε normal; x in standard deviations.
    """
    gone, noisy, coarse = (some.to(values.device) for some in (masked.gone, masked.noisy, masked.coarse))
    seen = seen & ~gone
    values = values.where(seen, 0.0)
    if masked.coarse.any():
        values = torch.where(coarse, coarsened(values, seen, grid.patch), values)
    if masked.noisy.any():
        kept = uniform(len(values), grid.steps, len(grid.kept), generator=generator)
        noise = NOISE * normal(*values.shape, generator=generator)
        values = torch.where(noisy, grid.framed(kept).to(values) * values + noise.to(values), values)
    return values.where(seen, 0.0), seen


def coarsened(
    values: Float[Tensor, "batch time site pixel"],
    seen: Bool[Tensor, "batch time site pixel"],
    patch: tuple[int, int],
) -> Float[Tensor, "batch time site pixel"]:
    """Return the mean of what is seen of every 2×2 pixels of a token (every 2 entries of traces); 0 where nothing is."""
    size = min(2, patch[0]), min(2, patch[1])

    def pooled(some: Tensor) -> Tensor:
        image = some.flatten(0, 2).unflatten(1, patch)[:, None]
        return F.avg_pool2d(image, size, ceil_mode=True, count_include_pad=False)

    count = pooled(seen.to(values))
    mean = pooled(values.where(seen, 0.0)) / torch.where(count > 0, count, 1.0)
    whole = mean.repeat_interleave(size[0], 2).repeat_interleave(size[1], 3)[:, 0, : patch[0], : patch[1]]
    return whole.reshape(values.shape)
