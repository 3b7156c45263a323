"""What all forecasters share: standardised frames, held values where there are none, and the error over the horizon."""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from neurodyn.backends.batch import Batch, Prediction
from neurodyn.backends.settings.forecasting import ForecasterConfig
from neurodyn.backends.source import FromSource
from neurodyn.nn.parts import mean_where


class Forecaster(FromSource):
    """Forecasts the last frames of a window, the horizon, from those before it, the source.

    z = (x − m) / s per entry, with m and s of the training windows. In the source, the prediction is what was seen.
    Loss: mean squared error over the horizon, `forecast`.
    """

    Config = ForecasterConfig

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Return the source as seen, then the forecast."""
        source = self._source(batch)
        return Prediction(mean=self.frames.restored(torch.cat([source, self.forecast(source, batch)], dim=1)))

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `forecast`, in z-scored units."""
        error = (self.forecast(self._source(batch), batch) - self._wanted(batch)) ** 2
        return {"forecast": mean_where(error, self._there(batch))}

    @abstractmethod
    def forecast(
        self, source: Float[Tensor, "batch source entry"], batch: Batch
    ) -> Float[Tensor, "batch horizon entry"]:
        """Forecast the horizon in z-scored units; of the batch, only `t`, `session`, `stimulus` and `condition` may be used."""

    def _wanted(self, batch: Batch) -> Float[Tensor, "batch horizon entry"]:
        return self.frames.standardised(batch.target[:, self.source :], batch.valid[:, self.source :])

    def _there(self, batch: Batch) -> Tensor:
        return self.frames.mask(batch.valid[:, self.source :])
