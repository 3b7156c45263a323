"""FNO-2D: a Fourier neural operator over space, recurrent in time."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.backends.base import TRAINING_SEARCH
from neurodyn.backends.baselines.next_frame import NextFrame
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.movies import FNO2DConfig
from neurodyn.core.search import Range
from neurodyn.nn.convolutional import pooled
from neurodyn.nn.spectral import FourierLayers, coordinates


class FNO2D(NextFrame):
    """Predicts the next frame from the last few by a Fourier neural operator over space.

    v = P [uₜ₋ₖ₊₁ … uₜ, row, column],  v ← GELU(F⁻¹ R F v + W v) layer by layer,  x̂ₜ₊₁ = Q(v); before the window lie
    frames of zeros. Hidden frames are filled with their predictions. Latents: v, averaged over a grid.

    Li et al. 2021, Fourier neural operator for parametric partial differential equations, ICLR.
    """

    Config = FNO2DConfig
    SEARCH = TRAINING_SEARCH | {
        "model.width": Range(8, 32, log=True),
        "model.layers": Range(1, 5),
        "model.decoder": Range(16, 128, log=True),
    }
    citation = (
        "Li Z. et al. (2021). Fourier neural operator for parametric partial differential equations. ICLR. "
        "arXiv:2010.08895."
    )
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
