"""What all forecasters share: standardised frames, held values where there are none, and the error over the horizon."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from neurodyn.backends.batch import Batch, Prediction
from neurodyn.backends.layout import Layout
from neurodyn.backends.linear_start import LinearStart
from neurodyn.backends.settings.forecasting import ForecasterConfig, TrainedConfig
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
        return Prediction(mean=self.frames.restored(torch.cat([source, self.predicted(source, batch)], dim=1)))

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `forecast`, in z-scored units."""
        error = (self.predicted(self._source(batch), batch) - self._wanted(batch)) ** 2
        return {"forecast": mean_where(error, self._there(batch))}

    def predicted(
        self, source: Float[Tensor, "batch source entry"], batch: Batch
    ) -> Float[Tensor, "batch horizon entry"]:
        """Return the whole forecast, in z-scored units."""
        return self.forecast(source, batch)

    @abstractmethod
    def forecast(
        self, source: Float[Tensor, "batch source entry"], batch: Batch
    ) -> Float[Tensor, "batch horizon entry"]:
        """Forecast the horizon by the model itself; of the batch, only `t`, `session`, `stimulus` and `condition` may be used."""

    def _wanted(self, batch: Batch) -> Float[Tensor, "batch horizon entry"]:
        return self.frames.standardised(batch.target[:, self.source :], batch.valid[:, self.source :])

    def _there(self, batch: Batch) -> Tensor:
        return self.frames.mask(batch.valid[:, self.source :])

    def _read(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return source and horizon, z-scored, and where the latter is valid."""
        return self._source(batch), self._wanted(batch), self._there(batch)


class Trained(Forecaster):
    """A forecaster that is trained, on what its start leaves: the level of the window, or a linear path beneath it."""

    Config = TrainedConfig
    config: TrainedConfig

    def __init__(self, config: TrainedConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.begun = LinearStart(config, layout, self.entries)

    @property
    def keeps_start(self) -> bool:
        """The linear path alone is among what validation chooses from."""
        return self.begun.path is not None

    def prepare_batches(self, batches: Iterable[Batch]) -> None:
        """Fit the linear path, where there is one."""
        self.begun.fit(batches, self._read)

    def predicted(
        self, source: Float[Tensor, "batch source entry"], batch: Batch
    ) -> Float[Tensor, "batch horizon entry"]:
        """Add the model's own forecast to what it starts from."""
        source, base = self._split(source, batch)
        return base + self.begun.added(self.forecast(source, batch))

    def calibrate(self, batches: Iterable[Batch], generator: torch.Generator) -> None:
        """Take as much of the model's own forecast as is best."""
        self.begun.shrink(map(self._left, batches))

    def _left(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        source, wanted, there = self._read(batch)
        source, base = self._split(source, batch)
        return self.begun.added(self.forecast(source, batch)), wanted - base, there

    def _split(
        self, source: Float[Tensor, "batch source entry"], batch: Batch
    ) -> tuple[Float[Tensor, "batch source entry"], Float[Tensor, "batch horizon entry"]]:
        """Return the source as the model sees it, and what its forecast is added to."""
        offset = self.begun.offset(source, batch)
        return source - offset[:, : self.source], offset[:, self.source :]
