"""AR-LSTM: the population's next frame from a recurrent state, rolled out over the horizon."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.backends.base import TRAINING_SEARCH
from neurodyn.backends.batch import Batch
from neurodyn.backends.forecasting.forecaster import Trained
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.forecasting import ARLSTMConfig
from neurodyn.core.search import Range
from neurodyn.nn.parts import mean_where


class ARLSTM(Trained):
    """Predicts each frame of all neurons from the state of an LSTM that has read those before it.

    hₜ = LSTM(uₜ, hₜ₋₁),  ẑₜ₊₁ = V [hₜ, S stimulus]; u is z in the source and, over the horizon, z in training (teacher
    forcing) and ẑ in use. Loss: mean squared error over source and horizon, `forecast`. Above a linear path, whose remainder
    is no continuation of the source, it is trained on its own roll-out.

    As a baseline in Calcagno et al. 2024, arXiv:2412.07264; Hochreiter & Schmidhuber 1997, Neural Comput. 9:1735.
    """

    Config = ARLSTMConfig
    SEARCH = TRAINING_SEARCH | {
        "model.hidden": Range(32, 256, log=True),
        "model.layers": Range(1, 3),
    }
    citation = "Hochreiter S., Schmidhuber J. (1997). Long short-term memory. Neural Comput. 9:1735."
    config: ARLSTMConfig

    def __init__(self, config: ARLSTMConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.lstm = nn.LSTM(self.entries, config.hidden, config.layers, batch_first=True)
        self.stimulus = nn.Linear(self.told, config.hidden) if self.told else None
        self.out = nn.Linear(config.hidden * (2 if self.told else 1), self.entries)

    def forecast(
        self, source: Float[Tensor, "batch source entry"], batch: Batch
    ) -> Float[Tensor, "batch horizon entry"]:
        """Roll the network out, each prediction its next input."""
        states, memory = self.lstm(source)
        frames = [self._out(states[:, -1:], batch)]
        while len(frames) < self.layout.horizon:
            states, memory = self.lstm(frames[-1], memory)
            frames.append(self._out(states, batch))
        return torch.cat(frames, dim=1)

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `forecast`: in training that of every next frame, in validation that of the roll-out, z-scored."""
        if not self.training or self.begun.path is not None:
            return super().loss(batch, generator)
        source, wanted, there = self._read(batch)
        frames = torch.cat([source, wanted], dim=1)
        frames = frames - self.begun.offset(source, batch)
        states, _ = self.lstm(frames[:, :-1])
        error = (self._out(states, batch) - frames[:, 1:]) ** 2
        known = torch.cat([self.frames.mask(batch.valid[:, 1 : self.source]), there], dim=1)
        return {"forecast": mean_where(error, known)}

    def _out(self, states: Float[Tensor, "batch time hidden"], batch: Batch) -> Float[Tensor, "batch time entry"]:
        if self.stimulus is None or batch.stimulus is None:
            return self.out(states)
        told = self.stimulus(batch.stimulus)[:, None].expand(-1, states.shape[1], -1)
        return self.out(torch.cat([states, told], dim=-1))
