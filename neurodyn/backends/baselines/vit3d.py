"""3D-ViT: a transformer over tubelets."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from neurodyn.backends.base import TRAINING_SEARCH
from neurodyn.backends.baselines.whole_window import Estimate, Given, WholeWindow
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.base import TOKEN_SEARCH
from neurodyn.backends.settings.movies import ViT3DConfig
from neurodyn.core.search import Range
from neurodyn.nn.patches import Patches
from neurodyn.nn.tokens import TokenTransformer, placed


class ViT3D(WholeWindow):
    """A transformer over tubelets: patches that are some frames deep.

    h₀ = W x + P φ(t, row, column) for every tubelet x, with t the mean of its frames' times; h = blocks(h₀), every
    tubelet attends to all; x̂ = V LN(h). A window that is no multiple of a tubelet is continued by its last frame.
    Latents: tokens averaged over patches.

    Arnab et al. 2021, ViViT: a video vision transformer, ICCV (tubelet embedding, joint space-time attention).
    """

    Config = ViT3DConfig
    SEARCH = {
        **TRAINING_SEARCH,
        **TOKEN_SEARCH,
        "model.layers": Range(1, 6),
        "model.noise": Range(0.0, 0.2),
    }
    citation = "Arnab A. et al. (2021). ViViT: a video vision transformer. ICCV, 6836-6846."
    config: ViT3DConfig

    def __init__(self, config: ViT3DConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.patches = Patches(layout.brain, config.patch, config.rois)
        self.network = TokenTransformer(
            config.tubelet * self.patches.pixels,
            config.width,
            config.heads,
            config.layers,
            config.feedforward,
            config.dropout,
            config.bands,
        )

    def tubelets(self, values: Float[Tensor, "batch time *frame"]) -> Float[Tensor, "batch step site value"]:
        """Cut a window into tokens, frame by frame within each."""
        tokens = self.patches.split(_continued(values, self.config.tubelet))
        return tokens.unflatten(1, (-1, self.config.tubelet)).transpose(2, 3).flatten(3)

    def _estimate(self, given: Given, generator: torch.Generator | None) -> Estimate:
        depth, frames = self.config.tubelet, given.t.shape[1]
        values = self.tubelets(given.values)
        t = _continued(given.t, depth).unflatten(1, (-1, depth)).mean(2)
        place = placed(t, self.patches.centres).flatten(1, 2)
        hidden = self.network(self.network.embedded(values.flatten(1, 2), place))
        out = self.network.head(hidden).unflatten(1, values.shape[1:3]).unflatten(3, (depth, -1))
        joined = self.patches.join(out.transpose(2, 3).flatten(1, 2))[:, :frames]
        latents = hidden.unflatten(1, values.shape[1:3]).mean(2).repeat_interleave(depth, dim=1)
        return Estimate(joined.reshape(given.values.shape), latents[:, :frames])


def _continued(values: Float[Tensor, "batch time *rest"], multiple: int) -> Float[Tensor, "batch more *rest"]:
    """Repeat the last frame until the frames are a multiple."""
    missing = -values.shape[1] % multiple
    return torch.cat([values, *[values[:, -1:]] * missing], dim=1)
