"""What all forecasters share: standardised frames, held values where there are none, and the error over the horizon."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neurodyn.backends.base import Backend, Batch, Layout, Prediction
from neurodyn.backends.settings import FrameConfig
from neurodyn.core.errors import ConfigError
from neurodyn.nn.frames import Frames, mean_where
from neurodyn.nn.interpolation import hold


class ForecasterConfig(FrameConfig):
    """Configuration that all forecasters share."""


class Forecaster(Backend):
    """Forecasts the last frames of a window, the horizon, from those before it, the source.

    z = (x − m) / s per entry, with m and s of the training windows. An entry that is not visible in a source frame takes
    the last visible value, its mean where there is none. In the source, the prediction is what was seen.
    Loss: mean squared error over the horizon, `forecast`.
    """

    Config = ForecasterConfig
    capabilities = frozenset({"forecast"})
    config: ForecasterConfig

    def __init__(self, config: ForecasterConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        if not layout.horizon:
            raise ConfigError(
                f"{type(self).__name__} needs to know how far to forecast.",
                "Found windows without a horizon.",
                "Name it: --set windows.horizon=SECONDS",
            )
        self.frames = Frames(layout.brain, image=False)

    @property
    def entries(self) -> int:
        """Entries of a frame that are data."""
        return self.frames.shape[0]

    @property
    def source(self) -> int:
        """Frames before the horizon."""
        return self.layout.frames - self.layout.horizon

    @property
    def told(self) -> int:
        """Numbers that say what the stimulus is; 0 where nothing is told."""
        return self.layout.code.size if self.layout.code else 0

    def prepare(self, frames: Iterable[np.ndarray]) -> None:
        """Fit mean and standard deviation."""
        self.frames.fit(frames, self.config.normalise)

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

    def _source(self, batch: Batch) -> Float[Tensor, "batch source entry"]:
        x, t = batch.x[:, : self.source], batch.t[:, : self.source]
        seen = (batch.visible & batch.valid)[:, : self.source]
        return hold(self.frames.standardised(x, seen), t, self.frames.mask(seen), t)

    def _wanted(self, batch: Batch) -> Float[Tensor, "batch horizon entry"]:
        return self.frames.standardised(batch.target[:, self.source :], batch.valid[:, self.source :])

    def _there(self, batch: Batch) -> Tensor:
        return self.frames.mask(batch.valid[:, self.source :])
