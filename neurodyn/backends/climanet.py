"""ClimaNet: movies with gaps, filled in from what was seen nearby and at other times."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from neurodyn.backends.base import TRAINING_SEARCH
from neurodyn.backends.batch import Batch, Prediction
from neurodyn.backends.framed import Framed
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.climanet import ClimaNetConfig
from neurodyn.core.search import Choice, Range
from neurodyn.nn.components import Components
from neurodyn.nn.frames import Frames
from neurodyn.nn.interpolation import interpolate
from neurodyn.nn.masking import hide_blocks, without_inner_frames
from neurodyn.nn.parts import mean_where, uniform
from neurodyn.nn.positions import paired_sinusoids
from neurodyn.nn.transformer import TransformerBlock
from neurodyn.nn.video import AttentionPooling, OverlappingDecoder, VideoEncoder

LEAST_STD = 1e-3


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


class ClimaNet(Framed):
    """A movie with gaps, filled in by space-time patches that attend to each other along time and within frames.

        z = LN(W vec(o x, o, b) + c) + φ(frame, part)   a token per patch of frames, rows and columns
        s = S(T(z) + φ(row, column)),  (r, g) = D s
        x̂ = r + (g + 1/K) · b

    o are the observed entries, b K base estimates, φ sinusoids; T is a transformer block over the tokens of a place, S
    are blocks over those of a time; D is a transposed convolution whose patches overlap, with refinement, and zero at
    first, so that training starts at the base. r and g are decoded twice, for seen and for hidden entries: where an
    entry was seen, the base holds its noise; where it was not, the base is a guess.

    head "frames": b interpolates every entry linearly in time, or has each frame as principal components have it
    (`Components`), or both. head "mean": x̂ is the mean of a part, for each of its frames; tokens of a part are pooled,
    Σₗ aₗ zₗ with a = softmax(v · GELU(W [LN(z), share observed])), before T runs over the parts; b, which W does not
    read, is the mean of what is visible of a part, 0 (the training mean) where that is nothing; there is one r, and no g.

    Training hides further blocks of space and time, and in some windows whole frames. Loss: mean error on hidden
    entries and on visible ones; a mean is hidden when not all of its part is seen. `std` is the root mean square error
    of an entry in validation windows, hidden or visible; before calibration, one standard deviation of the data.

    After ESMValGroup, ClimaNet (github.com/ESMValGroup/ClimaNet), which makes monthly of daily maps of sea surface
    temperature: day and month stand for frame and part, and the head "mean" is the published one. Differently: training
    hides, as recordings come without finished means; encodings of two coordinates have halves of the features, since
    their sum takes (a, b) for (b, a); pooling reads data and observed share, gives no weight to what is unobserved and
    is defined where all is; entries outside the brain are unobserved, patches without any brain are left out; the last
    score has no bias, which softmax would ignore; maps have no scale and bias per month; errors are averaged over all
    entries at once.
    """

    Config = ClimaNetConfig
    SEARCH = TRAINING_SEARCH | {
        "model.width": Choice((32, 64, 128)),
        "model.hidden": Choice((32, 64, 128)),
        "model.depth": Range(1, 4),
        "model.heads": Choice((2, 4, 8)),
        "model.dropout": Range(0.0, 0.3),
    }
    citation = "ESMValGroup (2026). ClimaNet: spatio-temporal models for climate data. github.com/ESMValGroup/ClimaNet."
    config: ClimaNetConfig
    sites: Tensor
    places: Tensor
    errors: Tensor

    def __init__(self, config: ClimaNetConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.length = layout.frames // config.parts
        height, width = np.atleast_2d(layout.brain).shape
        self.shape = (height, width)
        self.patch = _clipped(config.patch, (self.length, height, width))
        self.grid = (-(-height // self.patch[1]), -(-width // self.patch[2]))
        features, by_frame = config.width, config.head == "frames"
        bases = 1 + (config.base == "both") if by_frame else 0
        self.components = _components(config, self.frames)
        self.encoder = VideoEncoder(2 + bases, self.patch, features)
        self.pooling = None if by_frame else AttentionPooling(features)
        self.temporal = _block(config, "pre")
        self.spatial = nn.Sequential(*(_block(config, "post") for _ in range(config.depth)))
        channels = 2 * (1 + bases) * self.patch[0] if by_frame else 1
        self.decoder = OverlappingDecoder(
            features, config.hidden, self.patch[1:], config.overlap, channels, config.dropout
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
        """Fit mean and standard deviation, and the components where there are any."""
        super().prepare(frames)
        if self.components is not None:
            self.components.fit(self.frames.chunks(frames))

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
            std=self.frames.scaled(std),
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
        share = least + (most - least) * uniform(batch, generator=generator)
        hidden = hide_blocks(tuple(shape), _clipped(config.block, tuple(shape)), share, generator)
        rest = without_inner_frames(~hidden, config.hide_frames, generator)
        some = uniform(batch, 1, 1, 1, generator=generator) < config.frame_windows
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
        bases, seen = self._bases(given), given.seen.to(given.values)
        if self.pooling is None:
            tokens = self._mixed(self._encoded([given.values, seen, *bases], given.t).flatten(1, 2))
        else:
            tokens = self._encoded([given.values, seen], given.t)
            tokens = self._mixed(self.pooling(tokens, self._observed(seen)))
        decoded = self._decoded(tokens)
        if self.pooling is not None:
            return bases[0] + decoded[:, 0], tokens
        chosen = torch.where(given.seen[:, None], *decoded.chunk(2, dim=1))  # (batch, 1 + base, time, row, column)
        weighted = [(1 / len(bases) + chosen[:, k]) * base for k, base in enumerate(bases, start=1)]
        return torch.stack(weighted).sum(0) + chosen[:, 0], tokens

    def _bases(self, given: Given) -> list[Float[Tensor, "batch map row column"]]:
        """Return what the network corrects; 0, the training mean, for an entry of which nothing is known."""
        if self.pooling is not None:
            return [self._mean(given.values, given.seen)]
        bases = []
        if self.config.base != "components":
            bases.append(interpolate(given.values, given.t, given.seen, given.t))
        if self.components is not None:
            bases.append(self.frames.filled(self.components, given.values, given.t, given.seen))
        return bases

    def _encoded(self, channels: list[Tensor], t: Float[Tensor, "batch time"]) -> Tensor:
        """Return dated tokens, shape (batch, part, step, site, width)."""
        movie = torch.stack([self._parted(channel) for channel in channels], dim=2).flatten(0, 1)
        tokens = self.encoder(movie)[:, :, self.sites].unflatten(0, (-1, self.config.parts))
        return tokens + self._dates(t)[:, :, :, None].to(tokens)

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

    def _decoded(self, tokens: Float[Tensor, "batch step site width"]) -> Float[Tensor, "batch channel map row column"]:
        batch, steps, _, width = tokens.shape
        grid = tokens.new_zeros(batch * steps, width, self.grid[0] * self.grid[1])
        grid[..., self.sites] = tokens.flatten(0, 1).transpose(1, 2)
        images = self.decoder(grid.unflatten(2, self.grid))[..., : self.shape[0], : self.shape[1]]
        frames = self.patch[0] if self.pooling is None else 1
        maps = images.unflatten(0, (batch, self.config.parts, -1)).unflatten(3, (-1, frames)).movedim(3, 1)
        return maps.flatten(3, 4)[:, :, :, : self.length].flatten(2, 3)  # without frames past the end of a part

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


def _block(config: ClimaNetConfig, norm: Literal["pre", "post"]) -> TransformerBlock:
    return TransformerBlock(config.width, config.heads, 4 * config.width, config.dropout, norm)


def _components(config: ClimaNetConfig, frames: Frames) -> Components | None:
    if config.head == "mean" or config.base == "interpolation":
        return None
    return Components(len(frames.cells), config.components)


def _clipped(sides: tuple[int, int, int], shape: tuple[int, ...]) -> tuple[int, int, int]:
    frames, rows, columns = (min(side, length) for side, length in zip(sides, shape, strict=True))
    return frames, rows, columns


def _root_mean(total: Tensor, count: Tensor) -> Tensor:
    """Return the root of the mean square; the mean over the others where nothing was counted, 1 where nowhere was."""
    known = count > 0
    root = (total / count.clamp(min=1)).sqrt()
    return root.where(known, root[known].mean() if known.any() else 1.0)
