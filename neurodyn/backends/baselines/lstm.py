"""LSTM: the next frame from a recurrent state."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.backends.base import TRAINING_SEARCH
from neurodyn.backends.baselines.next_frame import NextFrame
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.movies import LSTMConfig
from neurodyn.core.search import Range

State = tuple[Tensor, Tensor]


class LSTM(NextFrame):
    """Predicts the next frame from the state of a long short-term memory that reads whole frames.

    hₜ, cₜ = LSTM(uₜ, hₜ₋₁, cₜ₋₁),  x̂ₜ₊₁ = W hₜ + b; hidden frames are filled with their predictions. Latents: hₜ.

    Hochreiter & Schmidhuber 1997, Long short-term memory; as a baseline in Fonseca et al. 2023, ICML.
    """

    Config = LSTMConfig
    SEARCH = TRAINING_SEARCH | {"model.hidden": Range(16, 256, log=True)}
    IMAGE = False
    citation = "Hochreiter S., Schmidhuber J. (1997). Long short-term memory. Neural Comput. 9:1735."
    config: LSTMConfig

    def __init__(self, config: LSTMConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        entries = self.frames.shape[0]
        self.cell = nn.LSTMCell(entries, config.hidden)
        self.out = nn.Linear(config.hidden, entries)

    def _start(self, like: Float[Tensor, "batch entry"]) -> State:
        zero = like.new_zeros(len(like), self.config.hidden)
        return zero, zero

    def _advance(self, frame: Float[Tensor, "batch entry"], state: State) -> State:
        return self.cell(frame, state)

    def _read(self, state: State) -> tuple[Float[Tensor, "batch entry"], Float[Tensor, "batch feature"]]:
        return self.out(state[0]), state[0]
