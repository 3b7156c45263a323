"""ViViT: a video transformer that treats space and time one after the other."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.backends.base import TRAINING_SEARCH
from neurodyn.backends.baselines.whole_window import Estimate, Given, WholeWindow
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.base import TOKEN_SEARCH
from neurodyn.backends.settings.movies import ViViTConfig
from neurodyn.core.search import Range
from neurodyn.nn.patches import Patches
from neurodyn.nn.positions import FourierFeatures
from neurodyn.nn.transformer import TransformerBlock


class ViViT(WholeWindow):
    """A transformer within each frame, and one across the frames' summaries (factorised encoder).

    s = spatial blocks(E x + P φ(row, column)), patches of one frame attending to each other;  f = temporal blocks(
    mean over patches of s + R φ(t));  x̂ = V LN(s + f), so that a patch is read from its own token and its frame's.
    Latents: f.

    Arnab et al. 2021, ViViT: a video vision transformer, ICCV (model 2, with the mean of the tokens as summary).
    """

    Config = ViViTConfig
    SEARCH = {
        **TRAINING_SEARCH,
        **TOKEN_SEARCH,
        "model.spatial_layers": Range(1, 4),
        "model.temporal_layers": Range(1, 4),
        "model.noise": Range(0.0, 0.2),
    }
    citation = "Arnab A. et al. (2021). ViViT: a video vision transformer. ICCV, 6836-6846."
    config: ViViTConfig

    def __init__(self, config: ViViTConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.patches = Patches(layout.brain, config.patch, config.rois)
        width, pixels = config.width, self.patches.pixels
        time, row, column = config.bands
        self.space, self.time = FourierFeatures((row, column)), FourierFeatures((time,))
        self.embed = _embedding(pixels, config.embedding, width)
        self.place = nn.Linear(self.space.features, width)
        self.date = nn.Linear(self.time.features, width)
        self.spatial, self.temporal = (_blocks(config, n) for n in (config.spatial_layers, config.temporal_layers))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, pixels))

    def within_frames(self, values: Float[Tensor, "batch time *frame"]) -> Float[Tensor, "batch time site width"]:
        """Return the tokens of every frame, which know of no other frame."""
        tokens = self.embed(self.patches.split(values)) + self.place(self.space(self.patches.centres))
        return self.spatial(tokens.flatten(0, 1)).unflatten(0, values.shape[:2])

    def _estimate(self, given: Given, generator: torch.Generator | None) -> Estimate:
        tokens = self.within_frames(given.values)
        summary = self.temporal(tokens.mean(2) + self.date(self.time(given.t[..., None])))
        out = self.patches.join(self.head(tokens + summary[:, :, None]))
        return Estimate(out.reshape(given.values.shape), summary)


def _embedding(pixels: int, hidden: int | None, width: int) -> nn.Module:
    if hidden is None:
        return nn.Linear(pixels, width)
    return nn.Sequential(nn.Linear(pixels, hidden), nn.GELU(), nn.Linear(hidden, width))


def _blocks(config: ViViTConfig, layers: int) -> nn.Sequential:
    feedforward = config.feedforward or 4 * config.width
    return nn.Sequential(
        *[TransformerBlock(config.width, config.heads, feedforward, config.dropout) for _ in range(layers)]
    )
