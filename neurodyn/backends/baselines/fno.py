"""Fourier neural operators: FNO-2D, over space and recurrent in time, and FNO-3D, over time and space."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.backends.base import TRAINING_SEARCH
from neurodyn.backends.baselines.next_frame import NextFrame
from neurodyn.backends.baselines.whole_window import ContinuousWindow, Estimate, Given
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.movies import FNO2DConfig, FNO3DConfig
from neurodyn.core.search import Range
from neurodyn.nn.convolutional import pooled
from neurodyn.nn.interpolation import interpolate
from neurodyn.nn.spectral import FourierLayers, coordinates

SEARCH = TRAINING_SEARCH | {
    "model.width": Range(8, 32, log=True),
    "model.layers": Range(1, 5),
    "model.decoder": Range(16, 128, log=True),
}
CITATION = (
    "Li Z. et al. (2021). Fourier neural operator for parametric partial differential equations. ICLR. "
    "arXiv:2010.08895."
)


class FNO2D(NextFrame):
    """Predicts the next frame from the last few by a Fourier neural operator over space.

    v = P [uₜ₋ₖ₊₁ … uₜ, row, column],  v ← GELU(F⁻¹ R F v + W v) layer by layer,  x̂ₜ₊₁ = Q(v); before the window lie
    frames of zeros. Hidden frames are filled with their predictions. Latents: v, averaged over a grid.

    Li et al. 2021, Fourier neural operator for parametric partial differential equations, ICLR.
    """

    Config = FNO2DConfig
    SEARCH = SEARCH
    citation = CITATION
    config: FNO2DConfig
    places: Tensor

    def __init__(self, config: FNO2DConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        grid = self.frames.shape
        self.register_buffer("places", coordinates(*grid), persistent=False)
        self.lift = nn.Conv2d(config.history + 2, config.width, 1)
        self.body = FourierLayers(config.width, config.layers, grid, config.modes)
        self.out = nn.Sequential(nn.Conv2d(config.width, config.decoder, 1), nn.GELU(), nn.Conv2d(config.decoder, 1, 1))

    def _start(self, like: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch history height width"]:
        return like.new_zeros(len(like), self.config.history, *like.shape[1:])

    def _advance(
        self, frame: Float[Tensor, "batch height width"], state: Float[Tensor, "batch history height width"]
    ) -> Float[Tensor, "batch history height width"]:
        return torch.cat([state[:, 1:], frame[:, None]], dim=1)

    def _read(
        self, state: Float[Tensor, "batch history height width"]
    ) -> tuple[Float[Tensor, "batch height width"], Float[Tensor, "batch feature"]]:
        features = self.body(self.lift(torch.cat([state, self.places.expand(len(state), -1, -1, -1)], dim=1)))
        return self.out(features)[:, 0], pooled(features, self.config.latent_grid)


class FNO3D(ContinuousWindow):
    """A Fourier neural operator over the grid of a window's frames and pixels, read out at any time.

    v = P [u, t, row, column],  v ← GELU(F⁻¹ R F v + W v) layer by layer,  x̂(q) = Q(v(q), q), with v(q) interpolated
    linearly between the frames. Only the read-out knows the times asked for, so that the grid of the transform, and with
    it the answer at one time, does not depend on which others are asked. Latents: v(q), averaged over a grid.

    Li et al. 2021, Fourier neural operator for parametric partial differential equations, ICLR.
    """

    Config = FNO3DConfig
    SEARCH = SEARCH
    citation = CITATION
    config: FNO3DConfig
    places: Tensor

    def __init__(self, config: FNO3DConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        grid = self.frames.shape
        self.register_buffer("places", coordinates(*grid), persistent=False)
        self.lift = nn.Conv3d(4, config.width, 1)
        self.body = FourierLayers(config.width, config.layers, (layout.frames + config.padding, *grid), config.modes)
        self.out = nn.Sequential(
            nn.Conv3d(config.width + 1, config.decoder, 1), nn.GELU(), nn.Conv3d(config.decoder, 1, 1)
        )

    def _estimate(self, given: Given, generator: torch.Generator | None) -> Estimate:
        features = _between(self._features(given), given.t, given.asked)
        asked = given.asked[:, None, :, None, None].expand(-1, -1, -1, *features.shape[3:])
        frames = self.out(torch.cat([features, asked], dim=1))[:, 0]
        maps = features.transpose(1, 2)
        latents = pooled(maps.flatten(0, 1), self.config.latent_grid).unflatten(0, maps.shape[:2])
        return Estimate(frames, latents)

    def _features(self, given: Given) -> Float[Tensor, "batch width time height width2"]:
        values = given.values[:, None]
        t = given.t[:, None, :, None, None].expand_as(values)
        places = self.places[None, :, None].expand(len(values), -1, values.shape[2], -1, -1)
        lifted = self.lift(torch.cat([values, t, places], dim=1))
        padded = F.pad(lifted, (0, 0, 0, 0, 0, self.config.padding))
        return self.body(padded)[:, :, : values.shape[2]]


def _between(
    features: Float[Tensor, "batch width time height width2"],
    t: Float[Tensor, "batch time"],
    asked: Float[Tensor, "batch query"],
) -> Float[Tensor, "batch width query height width2"]:
    """Interpolate linearly in time; one small matrix of weights serves every pixel and channel."""
    unit = torch.eye(t.shape[1], device=t.device).expand(len(t), -1, -1)
    weights = interpolate(unit, t, torch.ones_like(unit, dtype=torch.bool), asked)
    return torch.einsum("bqt,bwtyx->bwqyx", weights, features)
