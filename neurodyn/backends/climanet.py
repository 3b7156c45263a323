"""ClimaNet: movies with gaps, filled in from what was seen nearby and at other times."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from neurodyn.backends.base import Backend, Batch, Layout, Prediction
from neurodyn.backends.settings import FrameConfig
from neurodyn.core.errors import ConfigError
from neurodyn.nn.frames import Frames, mean_where
from neurodyn.nn.interpolation import interpolate
from neurodyn.nn.masking import hide_blocks, without_inner_frames
from neurodyn.nn.positions import paired_sinusoids
from neurodyn.nn.transformer import TransformerBlock
from neurodyn.nn.video import AttentionPooling, OverlappingDecoder, VideoEncoder

LEAST_STD = 1e-3


class ClimaNetConfig(FrameConfig):
    """Configuration of ClimaNet."""

    patch: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        (2, 8, 8), description="frames, rows and columns of a patch; traces are one row"
    )
    width: int = Field(64, gt=0, multiple_of=4, description="features per token")
    hidden: int = Field(64, ge=4, multiple_of=2, description="channels of the decoder, half as many per pixel")
    overlap: int = Field(1, ge=0, description="pixels by which decoded patches reach into their neighbours")
    depth: int = Field(2, gt=0, description="transformer blocks within each frame")
    heads: int = Field(4, gt=0, description="attention heads; divides width")
    dropout: float = Field(0.0, ge=0, lt=1, description="share dropped in training")
    parts: int = Field(1, gt=0, description="equal, consecutive parts of a window that have dates of their own")
    head: Literal["frames", "mean"] = Field(
        "frames", description="what is predicted: every frame, or the mean of each part (the published model)"
    )
    base: Literal["interpolation"] = Field(
        "interpolation", description="what the network corrects (head: frames): every entry interpolated in time"
    )
    hide: tuple[float, float] = Field((0.1, 0.3), description="least and largest share of blocks hidden in training")
    block: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        (5, 8, 8), description="frames, rows and columns of a hidden block; traces are one row"
    )
    hide_frames: int = Field(5, ge=0, description="most inner frames hidden whole in a training window")
    frame_windows: float = Field(0.5, ge=0, le=1, description="share of training windows that lack whole frames, too")
    visible_weight: float = Field(1.0, ge=0, description="weight of the error on what is visible")
    error: Literal["squared", "absolute"] = Field("squared", description="how errors count (published: absolute)")
    checkpoint: bool = Field(False, description="compute the spatial blocks twice, to need less memory in training")

    @model_validator(mode="after")
    def _consistent(self) -> ClimaNetConfig:
        if self.width % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide width ({self.width})")
        if not 0 <= self.hide[0] <= self.hide[1] <= 1:
            raise ValueError(f"hide {self.hide} must be two shares in [0, 1], the smaller one first")
        return self


@dataclass(frozen=True)
class Given:
    """What the network reads.

    Parameters
    ----------
    values
        z-scored, 0 where not seen, shape (batch, time, row, column).
    seen
        Entries that were observed, bool, like values; never outside the brain.
    t
        Seconds from the window's start, shape (batch, time).
    """

    values: Tensor
    seen: Tensor
    t: Tensor

    def without(self, hidden: Bool[Tensor, "batch time row column"]) -> Given:
        """Return what is left when more is hidden."""
        seen = self.seen & ~hidden
        return replace(self, values=self.values.where(seen, 0.0), seen=seen)


class ClimaNet(Backend):
    """A movie with gaps, filled in from space-time patches that attend to each other along time and within frames.

    z = LN(W vec(x ⊙ o, o, b) + c) + φ(frame, part), one token per patch of frames, rows and columns, o what was observed
    and b a base estimate;  h = temporal block over the tokens of a place;  s = spatial blocks over (h + φ(row, column)) of
    a time;  x̂ = b + D s, D an overlapping transposed convolution with refinement, zero at first. φ are sinusoids.

    head "frames": b interpolates every entry linearly in time. head "mean": tokens of a part are pooled first,
    Σₗ aₗ zₗ with a = softmax(v · GELU(W LN(z))), the temporal block runs over the parts, b is the mean of the visible values of a
    part (0, the training mean, where there is none), and so is x̂ for every frame of it. Training hides further blocks
    of space and time, and whole frames; loss: mean error on hidden entries plus that on visible ones. With head "mean" an
    entry of a part is hidden when not all of its frames are seen. `std` is the root mean square error of hidden or of
    visible entries in validation windows, per entry, and 1 z-scored unit before that; in the data's units.

    After ESMValGroup, ClimaNet (github.com/ESMValGroup/ClimaNet), a model of monthly from daily maps of sea surface
    temperature: day and month stand for frame and part. Differently from there: frames as output, and the training by hiding,
    since recordings come with no finished means; row and column, and frame and part, are encoded in halves of the
    features, since their sums confuse (a, b) with (b, a); pooling knows the observed share and neglects what is
    unobserved; pixels outside the brain count as unobserved, and their patches are left out; the last score has no bias, which softmax would ignore; group
    normalisation, and no scale and bias per month.
    """

    Config = ClimaNetConfig
    capabilities = frozenset({"reconstruct", "latents", "uncertainty"})
    citation = "ESMValGroup (2026). ClimaNet: spatio-temporal models for climate data. github.com/ESMValGroup/ClimaNet."
    config: ClimaNetConfig
    sites: Tensor
    places: Tensor
    errors: Tensor

    def __init__(self, config: ClimaNetConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        layout.require_frames(3, "ClimaNet")
        self.length = _part_length(config.parts, layout)
        self.frames = Frames(layout.brain)
        self.shape = self.frames.shape
        self.patch = _clipped(config.patch, (self.length, *self.shape))
        self.grid = tuple(-(-side // patch) for side, patch in zip(self.shape, self.patch[1:], strict=True))
        width, by_frame = config.width, config.head == "frames"
        self.encoder = VideoEncoder(2 + by_frame, self.patch, width)
        self.pooling = None if by_frame else AttentionPooling(width)
        self.temporal = TransformerBlock(width, config.heads, 4 * width, config.dropout)
        self.spatial = nn.Sequential(
            *(TransformerBlock(width, config.heads, 4 * width, config.dropout, "post") for _ in range(config.depth))
        )
        self.decoder = OverlappingDecoder(
            width, config.hidden, self.patch[1:], config.overlap, self.patch[0] if by_frame else 1, config.dropout
        )
        self._place()
        self.register_buffer("errors", torch.ones(2, *self.shape))

    def _place(self) -> None:
        """Keep the patches that hold any brain, and encode where they are."""
        whole = self.encoder.share(self.frames.inside.expand(self.patch[0], -1, -1)[None].float())[0, 0]
        self.register_buffer("sites", whole.nonzero()[:, 0], persistent=False)
        row, column = self.sites // self.grid[1], self.sites % self.grid[1]
        where = paired_sinusoids(row.float(), column.float(), self.config.width)
        self.register_buffer("places", where, persistent=False)

    def prepare(self, frames: Iterable[np.ndarray]) -> None:
        """Fit mean and standard deviation."""
        self.frames.fit(frames, self.config.normalise)

    def calibrate(self, batches: Iterable[Batch], generator: torch.Generator) -> None:
        """Fit the root mean square error of hidden and of visible entries, hiding as in training.

        An entry never hidden, or never seen, gets the mean over the others.
        """
        total, count = torch.zeros(2, *self.shape, dtype=torch.float64), torch.zeros(2, *self.shape)
        with torch.no_grad():
            for batch in batches:
                given = self._partly(self._given(batch), generator)
                valid = self.frames.mask(batch.valid)
                target = self.frames.standardised(batch.target, batch.valid)
                error = (self._every_frame(self._estimate(given)[0]) - target) ** 2
                for kind, chosen in enumerate((valid & ~given.seen, valid & given.seen)):
                    total[kind] += error.where(chosen, 0.0).sum((0, 1)).to(total)
                    count[kind] += chosen.sum((0, 1)).to(count)
        for kind in range(2):
            self.errors[kind].copy_(_root_mean(total[kind], count[kind]))

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Predict every frame; latents are the tokens averaged over places, the same for all frames of a token."""
        given = self._given(batch)
        estimate, tokens = self._estimate(given)
        std = torch.where(given.seen, self.errors[1], self.errors[0]).clamp(min=LEAST_STD)
        return Prediction(
            mean=self.frames.restored(self._every_frame(estimate)),
            std=self.frames.spread(std),
            latents=self._by_part(tokens.mean(2), self.patch[0] if self.pooling is None else self.length),
        )

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `hidden` and `visible`, in z-scored units."""
        given = self._partly(self._given(batch), generator)
        target, hidden, visible = self._asked(batch, given.seen)
        error = self._estimate(given)[0] - target
        error = error.abs() if self.config.error == "absolute" else error**2
        return {
            "hidden": mean_where(error, hidden),
            "visible": self.config.visible_weight * mean_where(error, visible),
        }

    def _given(self, batch: Batch) -> Given:
        seen = batch.visible & batch.valid
        return Given(self.frames.standardised(batch.x, seen), self.frames.mask(seen), batch.t - batch.t[:, :1])

    def _partly(self, given: Given, generator: torch.Generator) -> Given:
        """Hide blocks, and in some windows whole frames."""
        config, (batch, *shape) = self.config, given.seen.shape
        least, most = config.hide
        share = least + (most - least) * torch.rand(batch, generator=generator)
        hidden = hide_blocks(tuple(shape), _clipped(config.block, tuple(shape)), share, generator)
        rest = without_inner_frames(~hidden, config.hide_frames, generator)
        some = torch.rand(batch, 1, 1, 1, generator=generator) < config.frame_windows
        return given.without(torch.where(some, ~rest, hidden).to(given.seen.device))

    def _asked(
        self, batch: Batch, seen: Bool[Tensor, "batch time row column"]
    ) -> tuple[
        Float[Tensor, "batch map row column"],
        Bool[Tensor, "batch map row column"],
        Bool[Tensor, "batch map row column"],
    ]:
        """Return what the estimate should be, and where it is of hidden and where of visible entries."""
        valid = self.frames.mask(batch.valid)
        target = self.frames.standardised(batch.target, batch.valid)
        if self.pooling is None:
            return target, valid & ~seen, valid & seen
        some, whole = self._parted(valid).any(2), self._parted(seen | ~valid).all(2)
        return self._mean(target, valid), some & ~whole, some & whole

    def _estimate(
        self, given: Given
    ) -> tuple[Float[Tensor, "batch map row column"], Float[Tensor, "batch step site width"]]:
        """Return frames or means of parts, z-scored, and the tokens they are decoded from."""
        if self.pooling is None:
            base = interpolate(given.values, given.t, given.seen, given.t)
            tokens = self._mixed(self._encoded([given.values, given.seen.to(base), base], given.t))
        else:
            base = self._mean(given.values, given.seen)
            tokens = self._encoded([given.values, given.seen.to(base)], given.t)
            tokens = self._mixed(self.pooling(tokens, self._observed(given.seen.to(base))))
        return base + self._decoded(tokens), tokens

    def _encoded(self, channels: list[Tensor], t: Float[Tensor, "batch time"]) -> Tensor:
        """Return dated tokens; of every frame where nothing is pooled, by part otherwise."""
        movie = torch.stack([self._parted(channel) for channel in channels], dim=2).flatten(0, 1)
        tokens = self.encoder(movie)[:, :, self.sites].unflatten(0, (-1, self.config.parts))
        tokens = tokens + self._dates(t)[:, :, :, None].to(tokens)  # (batch, part, step, site, width)
        return tokens.flatten(1, 2) if self.pooling is None else tokens

    def _dates(self, t: Float[Tensor, "batch time"]) -> Float[Tensor, "batch part step width"]:
        """Encode the first frame of every token: its time in its part, in frames, and its part's in the window, in parts."""
        frame = self._parted(t * self.layout.rate_hz)
        start = frame[:, :, :1]
        step = (frame - start)[:, :, :: self.patch[0]]
        return paired_sinusoids(step, (start / self.length).expand_as(step), self.config.width)

    def _observed(self, seen: Float[Tensor, "batch time row column"]) -> Float[Tensor, "batch part step site"]:
        share = self.encoder.share(self._parted(seen).flatten(0, 1))
        return share[..., self.sites].unflatten(0, (-1, self.config.parts))

    def _mixed(self, tokens: Float[Tensor, "batch step site width"]) -> Float[Tensor, "batch step site width"]:
        """Let tokens attend to each other, first along time in every place, then across places at every time."""
        batch, steps = tokens.shape[:2]
        moved = self.temporal(tokens.transpose(1, 2).flatten(0, 1)).unflatten(0, (batch, -1))
        placed = (moved.transpose(1, 2) + self.places).flatten(0, 1)
        if self.config.checkpoint and torch.is_grad_enabled():
            return checkpoint(self.spatial, placed, use_reentrant=False).unflatten(0, (batch, steps))
        return self.spatial(placed).unflatten(0, (batch, steps))

    def _decoded(self, tokens: Float[Tensor, "batch step site width"]) -> Float[Tensor, "batch map row column"]:
        batch, steps, _, width = tokens.shape
        grid = tokens.new_zeros(batch * steps, width, self.grid[0] * self.grid[1])
        grid[..., self.sites] = tokens.flatten(0, 1).transpose(1, 2)
        images = self.decoder(grid.unflatten(2, self.grid))[..., : self.shape[0], : self.shape[1]]
        maps = images.unflatten(0, (batch, self.config.parts, -1)).flatten(2, 3)
        return maps[:, :, : self.length].flatten(1, 2)  # of the last token's frames, those that exist

    def _every_frame(self, maps: Float[Tensor, "batch map row column"]) -> Float[Tensor, "batch time row column"]:
        return maps if self.pooling is None else maps.repeat_interleave(self.length, 1)

    def _by_part(self, values: Float[Tensor, "batch step width"], frames: int) -> Float[Tensor, "batch time width"]:
        """Repeat what holds for so many frames, as far as a part has them."""
        return self._parted(values).repeat_interleave(frames, 2)[:, :, : self.length].flatten(1, 2)

    def _parted(self, values: Tensor) -> Tensor:
        """Split time into (part, frame)."""
        return values.unflatten(1, (self.config.parts, -1))

    def _mean(
        self, values: Float[Tensor, "batch time row column"], chosen: Bool[Tensor, "batch time row column"]
    ) -> Float[Tensor, "batch part row column"]:
        """Average each part over chosen entries; 0 where none is chosen."""
        total = self._parted(values.where(chosen, 0.0)).sum(2)
        return total / self._parted(chosen).sum(2).clamp(min=1)


def _part_length(parts: int, layout: Layout) -> int:
    if layout.frames % parts:
        raise ConfigError(
            f"{parts} parts do not divide the window.",
            f"It has {layout.frames} frames at {layout.rate_hz:g} Hz.",
            "Choose a divisor: --set model.parts=1",
        )
    return layout.frames // parts


def _clipped(sides: tuple[int, int, int], shape: tuple[int, ...]) -> tuple[int, int, int]:
    frames, rows, columns = (min(side, length) for side, length in zip(sides, shape, strict=True))
    return frames, rows, columns


def _root_mean(total: Tensor, count: Tensor) -> Tensor:
    """Return the root of the mean square; the mean over the others where nothing was counted, 1 where nowhere was."""
    known = count > 0
    root = (total / count.clamp(min=1)).sqrt()
    return root.where(known, root[known].mean() if known.any() else 1.0)
