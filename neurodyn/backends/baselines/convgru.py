"""ConvGRU: the next frame from a stack of recurrent maps."""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.backends.base import TRAINING_SEARCH
from neurodyn.backends.baselines.next_frame import NextFrame
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.movies import ConvGRUConfig
from neurodyn.core.search import Choice
from neurodyn.nn.convolutional import ConvGRUCell, empty_map, pooled

State = list[Tensor]


class ConvGRU(NextFrame):
    """Predicts each frame from the frame before, recursively, through a stack of convolutional gated recurrent units.

    hˡₜ = ConvGRUˡ(hˡ⁻¹ₜ, hˡₜ₋₁) with h⁰ₜ = uₜ,  x̂ₜ₊₁ = W * hᴸₜ + b; encoder and decoder are the lower and the upper part
    of the stack. Hidden frames are filled with their predictions. Latents: the encoder's last map, averaged over a grid.

    Ballas et al. 2016, Delving deeper into convolutional networks for learning video representations, ICLR.
    """

    Config = ConvGRUConfig
    SEARCH = TRAINING_SEARCH | {
        "model.encoder": Choice(((8, 16), (16, 32))),
        "model.decoder": Choice(((16, 16), (32, 32))),
        "model.kernel": Choice((3, 5)),
    }
    citation = (
        "Ballas N., Yao L., Pal C., Courville A. (2016). Delving deeper into convolutional networks for learning video "
        "representations. ICLR."
    )
    config: ConvGRUConfig

    def __init__(self, config: ConvGRUConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        channels = (1, *config.encoder, *config.decoder)
        self.cells = nn.ModuleList([ConvGRUCell(*sizes, config.kernel) for sizes in pairwise(channels)])
        self.out = nn.Conv2d(channels[-1], 1, config.kernel, padding="same")

    def _start(self, like: Float[Tensor, "batch height width"]) -> State:
        return [empty_map(like, channels) for channels in (*self.config.encoder, *self.config.decoder)]

    def _advance(self, frame: Float[Tensor, "batch height width"], state: State) -> State:
        flow, states = frame[:, None], []
        for cell, before in zip(self.cells, state, strict=True):
            flow = cell(flow, before)
            states.append(flow)
        return states

    def _read(self, state: State) -> tuple[Float[Tensor, "batch height width"], Float[Tensor, "batch feature"]]:
        encoded = state[len(self.config.encoder) - 1]
        return self.out(state[-1])[:, 0], pooled(encoded, self.config.latent_grid)
