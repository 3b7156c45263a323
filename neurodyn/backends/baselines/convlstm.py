"""ConvLSTM: an encoder-forecaster whose states are images."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.backends.base import TRAINING_SEARCH
from neurodyn.backends.baselines.whole_window import Estimate, Given, WholeWindow
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.movies import ConvLSTMConfig
from neurodyn.core.search import Choice, Range
from neurodyn.nn.convolutional import ConvLSTMCell, empty_map, pooled

State = tuple[Tensor, Tensor]


class ConvLSTM(WholeWindow):
    """Two convolutional LSTMs read the window, two more replay it from what the former remember.

    Encoder: h¹ₜ = C₁(uₜ), h²ₜ = C₂(h¹ₜ). Forecaster, which takes over the states of C₂ and C₁: h³ₜ = C₃(h⁴ₜ₋₁),
    h⁴ₜ = C₄(h³ₜ) with h⁴₋₁ the last h²;  x̂ = W * h⁴ + b, a convolution in time and space. With `context` the encoder
    reads only the leading frames. Latents: h² after each frame read, h⁴ beyond, averaged over a grid.

    Shi et al. 2015, Convolutional LSTM network, NeurIPS.
    """

    Config = ConvLSTMConfig
    SEARCH = TRAINING_SEARCH | {
        "model.hidden": Range(8, 64, log=True),
        "model.kernel": Choice((3, 5)),
        "model.noise": Range(0.0, 0.2),
    }
    citation = (
        "Shi X. et al. (2015). Convolutional LSTM network: a machine learning approach for precipitation nowcasting. "
        "NeurIPS 28."
    )
    config: ConvLSTMConfig

    def __init__(self, config: ConvLSTMConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        hidden, kernel = config.hidden, config.kernel
        self.encoder = nn.ModuleList([ConvLSTMCell(inputs, hidden, kernel) for inputs in (1, hidden)])
        self.forecaster = nn.ModuleList([ConvLSTMCell(hidden, hidden, kernel) for _ in range(2)])
        self.out = nn.Conv3d(hidden, 1, kernel, padding="same")

    def _estimate(self, given: Given, generator: torch.Generator | None) -> Estimate:
        frames = given.values[:, :, None]
        read, states = self._encode(frames[:, : self.config.context])
        maps = self._forecast(states, frames.shape[1])
        features = [*read, *maps[len(read) :]]
        latents = torch.stack([pooled(some, self.config.latent_grid) for some in features], dim=1)
        return Estimate(self.out(torch.stack(maps, dim=2))[:, 0], latents)

    def _encode(self, frames: Float[Tensor, "batch time 1 height width"]) -> tuple[list[Tensor], tuple[State, State]]:
        """Return the upper cell's map after each frame, and the last states."""
        lower, upper = self.encoder
        zero = empty_map(frames[:, 0, 0], self.config.hidden)
        first = second = (zero, zero)
        maps = []
        for frame in frames.unbind(1):
            first = lower(frame, first)
            second = upper(first[0], second)
            maps.append(second[0])
        return maps, (first, second)

    def _forecast(self, states: tuple[State, State], frames: int) -> list[Float[Tensor, "batch hidden height width"]]:
        """Return the upper cell's map for each frame of the window."""
        lower, upper = self.forecaster
        second, first = states
        maps, flow = [], first[0]
        for _ in range(frames):
            first = lower(flow, first)
            second = upper(first[0], second)
            flow = second[0]
            maps.append(flow)
        return maps
