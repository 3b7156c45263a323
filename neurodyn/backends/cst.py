"""Continuous Spatiotemporal Transformer: frames at any time from the frames that were seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from neurodyn.backends.base import TRAINING_SEARCH, Backend
from neurodyn.backends.batch import Batch, Prediction
from neurodyn.backends.foresight import Foresight, known_scores
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.base import TOKEN_SEARCH
from neurodyn.backends.settings.cst import CSTConfig
from neurodyn.core.search import Range
from neurodyn.nn.attention import FactorisedAttention, Grid, NystromAttention, isolating_mask
from neurodyn.nn.component_tokens import ComponentTokens
from neurodyn.nn.derivatives import along, derivatives
from neurodyn.nn.frame_components import FrameComponents
from neurodyn.nn.interpolation import interpolate
from neurodyn.nn.masking import times_between, without_inner_frames
from neurodyn.nn.moments import levels
from neurodyn.nn.parts import mean_where, normal, uniform
from neurodyn.nn.patches import Patches
from neurodyn.nn.tokens import TokenTransformer, placed
from neurodyn.nn.transformer import Mask

COMPONENTS = 20


@dataclass(frozen=True)
class Observed:
    """What is seen of a batch.

    Parameters
    ----------
    values
        z-scored, shape (batch, time, site, pixel).
    seen
        Which of them are visible and valid, bool, of the same shape.
    t
        Time on [0, 1] from the first frame to the end of a regular window, shape (batch, time).
    session
        Vectors of the windows' sessions, shape (batch, 1, width); None where sessions are not told apart.
    """

    values: Tensor
    seen: Tensor
    t: Tensor
    session: Tensor | None


@dataclass(frozen=True)
class Tokens:
    """Input of the network: one token per time and patch.

    Parameters
    ----------
    base
        Visible values interpolated linearly in time, z-scored, shape (batch, time, site, pixel).
    real
        Tokens that carry observed data, bool, shape (batch, time, site).
    t
        As of what is observed, shape (batch, time).
    session
        As of what is observed.
    """

    base: Tensor
    real: Tensor
    t: Tensor
    session: Tensor | None


class CST(Backend):
    """Continuous Spatiotemporal Transformer: a frame at any time from the frames that were seen.

    ŷ(t, s) = (1 + g h(t, s)) I(t, s) + W h(t, s), with I the linear interpolation in time of the visible frames, patch
    by patch, h a transformer over patch tokens placed at continuous (t, row, column), and g and W zero at first: the
    scalar gate lets the network drop a noisy interpolation that it could not subtract pixel by pixel. Loss: mean squared error on frames hidden
    in training, plus that on visible frames, plus Σ_q μ_q mean|∂ᵗ_q ŷ|ᵖ (Sobolev regulariser, by finite differences).

    Where windows tell what follows them (`windows.ahead`), those frames are asked for, too: I is then a linear forecast
    by reduced-rank regression, which the network starts from, and the loss has the error of it all. What the network
    holds of these queries, beside the sources of the linear forecast, is the window's `summary`.

    Fonseca et al. 2023, Continuous Spatiotemporal Transformers, ICML. Beyond the paper: hidden frames as isolated
    queries, the interpolation residual, Fourier positions, masks for pixels outside the brain, frames that follow.
    """

    Config = CSTConfig
    SEARCH = {
        **TRAINING_SEARCH,
        **TOKEN_SEARCH,
        "model.layers": Range(1, 6),
        "model.noise": Range(0.0, 0.2),
        "model.band_time": Range(0.5, 10.0, log=True),
    }
    citation = "Fonseca A.H. et al. (2023). Continuous Spatiotemporal Transformers. ICML, PMLR 202:10343-10365."
    config: CSTConfig
    mean: Tensor
    std: Tensor
    QUERY_CHUNK: ClassVar[int] = 16

    def __init__(self, config: CSTConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        if config.components is None:
            self.patches = Patches(layout.brain, config.patch, config.rois)
        else:
            self.patches = ComponentTokens(layout.brain, config.components)
        self.foresight = self.own_components = None
        if layout.ahead:
            if not isinstance(self.patches, ComponentTokens):  # which are the components themselves
                self.own_components = FrameComponents(layout.brain, COMPONENTS)
            self.foresight = Foresight(layout.frames, layout.ahead, len(self.components), config.rank)
        pixels = self.patches.pixels
        self.network = TokenTransformer(
            pixels,
            config.width,
            config.heads,
            config.layers,
            config.feedforward,
            config.dropout,
            None if config.official else config.bands,
            outputs=pixels + config.residual,
            from_zero=config.residual,
            attention=lambda: _attention(config),
        )
        self.flag = None if config.official or not config.flag else nn.Parameter(0.02 * torch.randn(2, config.width))
        sessions = max(1, len(layout.sessions))
        self.sessions = nn.Parameter(torch.zeros(sessions, config.width)) if config.session_embedding else None
        self.register_buffer("mean", torch.zeros(self.patches.inside.shape))
        self.register_buffer("std", torch.ones(self.patches.inside.shape))

    @property
    def components(self) -> FrameComponents:
        """What the linear forecast knows frames by: the tokens' components, where tokens are such."""
        return (
            self.patches if isinstance(self.patches, ComponentTokens) else cast("FrameComponents", self.own_components)
        )

    @property
    def attention_grid(self) -> tuple[int, int]:
        """Rows and columns of patches; (1, 1) for traces."""
        return self.patches.grid

    @property
    def tells_sessions(self) -> bool:
        """Whether a prediction depends on the session."""
        return self.sessions is not None

    def weights_from(self, other: Backend) -> dict[str, Tensor]:
        """Return another model's weights; its sessions are found by name, and a new one starts as their mean."""
        weights = other.state_dict()
        if self.sessions is None or not isinstance(other, CST) or other.sessions is None:
            return weights
        known = dict(zip(other.layout.sessions, other.sessions.detach(), strict=False))
        own = [known.get(name, other.sessions.detach().mean(0)) for name in self.layout.sessions]
        return weights | {"sessions": torch.stack(own)}

    def prepare(self, frames: Iterable[np.ndarray]) -> None:
        """Fit mean and standard deviation; an entry that never changes gets the unit 1."""
        if isinstance(self.patches, ComponentTokens):
            self.std.fill_(float(np.sqrt(max(self.patches.fit(frames).mean(), 1e-30))))
            return
        if self.own_components is not None:
            self.own_components.fit(frames)
        for buffer, values in zip(
            (self.mean, self.std), levels(frames, self.layout.brain, self.config.normalise), strict=True
        ):
            buffer.copy_(self.patches.split(torch.from_numpy(values).float()[None, None])[0, 0])
        self.std.masked_fill_(~self.patches.inside, 1.0)

    def prepare_batches(self, batches: Iterable[Batch]) -> None:
        """Fit the linear forecast of what follows windows."""
        if self.foresight is not None:
            self.foresight.fit(self.components, batches)

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Predict every frame; latents are last-layer tokens averaged over patches; attention rows of dropped patches are 0."""
        observed = self._observe(batch)
        tokens = self._tokens(observed)
        hidden = self._encode(tokens)
        maps = self.patches.spread(self._maps(tokens, tokens.real.shape[2])[:, 0, 0]) if attention else None
        told = Prediction(mean=self._frames(self._decode(hidden, tokens)), latents=hidden.mean(2), attention=maps)
        return told if self.foresight is None else replace(told, summary=self._summary(batch, observed, self.foresight))

    @property
    def summary_parts(self) -> dict[str, int]:
        """The linear forecast's sources, and the state of what follows."""
        return {} if self.foresight is None else {"sources": self.foresight.rank, "state": self.config.width}

    def _summary(self, batch: Batch, observed: Observed, foresight: Foresight) -> Float[Tensor, "batch feature"]:
        """Return the sources of the linear forecast of the frames after the window, and the state of their queries."""
        code, tokens = self._followed(observed, batch, foresight)
        queries = self._encode(tokens)[:, batch.t.shape[1] :]
        state = torch.nn.functional.layer_norm(queries, queries.shape[-1:]).mean((1, 2))
        return torch.cat([foresight.sources(code), state], dim=-1)

    def _followed(
        self, observed: Observed, batch: Batch, foresight: Foresight
    ) -> tuple[Float[Tensor, "batch rank"], Tokens]:
        """Return the linear forecast's code, and tokens of the window and of the frames after it, whose input is the forecast."""
        code = foresight.code(known_scores(self.components, batch, batch.visible & batch.valid))
        forecast = self.components.frames(foresight.forecast(code))
        after = (torch.arange(self.layout.ahead, device=batch.t.device) + 1) / self.layout.rate_hz
        tokens = self._tokens(observed, self.layout.unit_time(batch.t, batch.t[:, -1:] + after))
        known = torch.ones_like(forecast, dtype=torch.bool)
        base = torch.cat(
            [tokens.base[:, : batch.t.shape[1]], self._z_score(forecast, self.patches.split(known))], dim=1
        )
        return code, replace(tokens, base=base)

    def attention_maps(
        self, batch: Batch, *, layers: bool = False, heads: bool = False, rows: Literal["last", "all"] = "last"
    ) -> Float[Tensor, "batch layer head query token"]:
        """Return rows of the maps, one layer and head at a time where they are averaged over."""
        tokens = self._tokens(self._observe(batch))
        return self._maps(tokens, tokens.real.shape[2] if rows == "last" else None, layers=layers, heads=heads)

    def at(self, batch: Batch, times: Float[Tensor, "batch query"]) -> Float[Tensor, "batch query *space"]:
        """Predict frames at any times, in seconds on the clock of `batch.t`, from the visible entries.

        Isolated queries are asked in chunks, which cannot change them; joint ones all at once.
        """
        observed, asked = self._observe(batch), self.layout.unit_time(batch.t, times)
        step = self.QUERY_CHUNK if self.config.query == "isolated" else max(1, asked.shape[1])
        frames = []
        for chunk in asked.split(step, dim=1):
            tokens = self._tokens(observed, chunk)
            frames.append(self._frames(self._decode(self._encode(tokens), tokens)[:, batch.t.shape[1] :]))
        return torch.cat(frames, dim=1)

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `hidden`, `visible` and, where weighted, `sobolev_1` to `sobolev_3`, in z-scored units."""
        observed = self._observe(batch)
        values, t = observed.values, observed.t
        seen = without_inner_frames(observed.seen, self.config.hide, generator)
        if self.training and self.config.noise:
            values = values + self.config.noise * normal(*values.shape, generator=generator).to(values)
        observed, asked = replace(observed, values=values, seen=seen), None
        if any(self.config.sobolev) and self.config.dummies:
            asked = times_between(t, self.config.dummies, generator)
        if self.config.dummies_in_space and asked is not None:
            where = uniform(*asked.shape, 2, generator=generator).to(t)
            slopes = self._slopes_in_space(observed, torch.cat([asked[..., None], where], dim=-1))
            tokens = self._tokens(observed)
            output = self._decode(self._encode(tokens), tokens)
        else:
            output, slopes = self._output_and_slopes(observed, self._tokens(observed, asked))
        valid = self.patches.split(batch.valid)
        target = self._z_score(batch.target, valid)
        error = (output[:, : t.shape[1]] - target) ** 2
        parts = {
            "hidden": mean_where(error, valid & ~seen),
            "visible": self.config.visible_weight * mean_where(error, valid & seen),
        }
        whole = replace(observed, seen=self.patches.split(batch.visible & batch.valid))
        return parts | self._penalties(slopes) | self._ahead(batch, whole)

    def _ahead(self, batch: Batch, observed: Observed) -> dict[str, Tensor]:
        """Return the error on what follows the window, asked with nothing of it hidden."""
        if self.foresight is None or batch.ahead is None or not self.config.ahead_weight:
            return {}
        frames = batch.t.shape[1]
        _, tokens = self._followed(observed, batch, self.foresight)
        output = self._decode(self._encode(tokens), tokens)[:, frames:]
        valid = self.patches.split(batch.ahead.valid)
        error = (output - self._z_score(batch.ahead.x, valid)) ** 2
        return {"ahead": self.config.ahead_weight * mean_where(error, valid)}

    def _observe(self, batch: Batch) -> Observed:
        seen = self.patches.split(batch.visible & batch.valid)
        session = None if self.sessions is None else self.sessions[batch.session][:, None]
        return Observed(self._z_score(batch.x, seen), seen, self.layout.unit_time(batch.t, batch.t), session)

    def _z_score(
        self, frames: Float[Tensor, "batch time *space"], known: Bool[Tensor, "batch time site pixel"]
    ) -> Float[Tensor, "batch time site pixel"]:
        return ((self.patches.split(frames) - self.mean) / self.std).where(known, 0.0)

    def _tokens(self, observed: Observed, asked: Float[Tensor, "batch query"] | None = None) -> Tokens:
        """Return a token per observed frame and patch, then query tokens at other times."""
        values, seen, t = observed.values, observed.seen, observed.t
        times = t if asked is None else torch.cat([t, asked], dim=1)
        real = torch.nn.functional.pad(seen.any(-1), (0, 0, 0, times.shape[1] - t.shape[1]))
        return Tokens(interpolate(values, t, seen, times), real, times, observed.session)

    def _encode(self, tokens: Tokens) -> Float[Tensor, "batch time site width"]:
        return self.network(self._embedded(tokens), self._mask(tokens.real)).unflatten(1, tokens.real.shape[1:])

    def _embedded(self, tokens: Tokens) -> Float[Tensor, "batch token width"]:
        position = placed(tokens.t, self.patches.centres).flatten(1, 2)
        return self.network.embedded(
            tokens.base.flatten(1, 2), position, self._kind(tokens.real.flatten(1), tokens.session)
        )

    def _kind(
        self, real: Bool[Tensor, "batch token"], session: Float[Tensor, "batch 1 width"] | None
    ) -> Float[Tensor, "batch token width"] | None:
        """Return what tells whether a token carries data, and whose."""
        flag = None if self.flag is None else self.flag[real.long()]
        if session is None:
            return flag
        return session.expand(-1, real.shape[1], -1) if flag is None else flag + session

    def _mask(self, real: Bool[Tensor, "batch time site"]) -> Mask:
        """Tell the attention who may see whom, in the form that its kind wants."""
        seen = real.flatten(1) if self.config.query == "isolated" else None
        if self.config.attention == "factorised":
            return Grid(real.shape[2], seen)
        return isolating_mask(seen) if seen is not None and self.config.attention == "full" else seen

    def _maps(self, tokens: Tokens, last: int | None, **apart: bool) -> Float[Tensor, "batch layer head query token"]:
        return self.network.maps(self._embedded(tokens), self._mask(tokens.real), last=last, **apart)

    def _decode(
        self, hidden: Float[Tensor, "batch *token width"], tokens: Tokens
    ) -> Float[Tensor, "batch *token pixel"]:
        output = self.network.head(hidden)
        if not self.config.residual:
            return output
        return (1 + output[..., -1:]) * tokens.base + output[..., :-1]

    def _frames(self, output: Float[Tensor, "batch time site pixel"]) -> Float[Tensor, "batch time *space"]:
        return self.patches.join(output * self.std + self.mean)

    def _output_and_slopes(
        self, observed: Observed, tokens: Tokens
    ) -> tuple[Float[Tensor, "batch token site pixel"], list[Tensor]]:
        """Return the output at all tokens, and its derivatives along time as far as they are penalised."""
        weights, frames = self.config.sobolev, observed.t.shape[1]
        orders = max((q for q in (1, 2, 3) if weights[q - 1] and q < tokens.t.shape[1]), default=0)
        if not orders or self.config.derivative == "coord_fd":
            output = self._decode(self._encode(tokens), tokens)
            return output, derivatives(output, tokens.t, orders)
        if self.config.derivative == "input_jacobian":
            base = tokens.base.detach().requires_grad_()
            tokens = replace(tokens, base=base)
            output = self._decode(self._encode(tokens), tokens)
            slope = torch.autograd.grad(output.sum(), base, create_graph=True)[0]
            return output, [slope[:, frames:]]

        def at(later: Tensor) -> Tensor:
            whole = self._tokens(observed, later)
            return self._decode(self._encode(whole), whole)

        output, slopes = along(at, tokens.t[:, frames:], orders)
        return output, [slope[:, frames:] for slope in slopes]

    def _slopes_in_space(self, observed: Observed, place: Float[Tensor, "batch dummy 3"]) -> list[Tensor]:
        """Return the derivatives of the output at places between the patches, along each of their coordinates."""
        orders = max((q for q in (1, 2, 3) if self.config.sobolev[q - 1]), default=0)
        axes = place.unbind(-1)
        found = []
        for axis in range(3):

            def at(moved: Tensor, axis: int = axis) -> Tensor:
                here = torch.stack([moved if k == axis else own for k, own in enumerate(axes)], dim=-1)
                return self._anywhere(observed, here)

            found.append(along(at, axes[axis], orders)[1])
        return [torch.stack(slopes, dim=2) for slopes in zip(*found, strict=True)]

    def _anywhere(
        self, observed: Observed, place: Float[Tensor, "batch dummy 3"]
    ) -> Float[Tensor, "batch dummy pixel"]:
        """Return the output at isolated queries between the patches, whose input is interpolated in time and space."""
        tokens = self._tokens(observed)
        near = interpolate(observed.values, observed.t, observed.seen, place[..., 0])
        base = torch.einsum("bks,bksp->bkp", self.patches.nearness(place[..., 1:]), near)
        kind = self._kind(torch.zeros(base.shape[:2], dtype=torch.bool, device=base.device), observed.session)
        state = torch.cat([self._embedded(tokens), self.network.embedded(base, place, kind)], dim=1)
        real = torch.nn.functional.pad(tokens.real.flatten(1), (0, base.shape[1]))
        hidden = self.network(state, isolating_mask(real) if self.config.attention == "full" else real)
        queries = replace(tokens, base=base)
        return self._decode(hidden[:, -base.shape[1] :], queries)

    def _penalties(self, slopes: list[Tensor]) -> dict[str, Tensor]:
        weights = self.config.sobolev
        inside = self.patches.inside if not self.config.dummies_in_space else torch.ones_like(self.patches.inside[0])
        return {
            f"sobolev_{q}": weights[q - 1]
            * mean_where(slope.abs() ** self.config.sobolev_power, inside.expand_as(slope))
            for q, slope in enumerate(slopes, start=1)
            if weights[q - 1]
        }


def _attention(config: CSTConfig) -> nn.Module | None:
    if config.attention == "nystrom":
        return NystromAttention(config.width, config.heads, config.dropout, config.landmarks)
    if config.attention == "factorised":
        return FactorisedAttention(config.width, config.heads, config.dropout)
    return None
