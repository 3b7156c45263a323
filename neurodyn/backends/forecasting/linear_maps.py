"""Linear forecasts from each entry's own past: NLinear and DLinear."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from neurodyn.backends.base import TRAINING_SEARCH
from neurodyn.backends.batch import Batch
from neurodyn.backends.forecasting.forecaster import Trained
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.forecasting import DLinearConfig, LinearMapConfig
from neurodyn.core.search import Choice

ZENG = "Zeng A., Chen M., Zhang L., Xu Q. (2023). Are transformers effective for time series forecasting? AAAI."


class LinearMap(nn.Module):
    """y_k = Σ_t W_kt x_t + b_k over time, one W for all entries, or one for each."""

    def __init__(self, source: int, horizon: int, entries: int | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((entries or 1, horizon, source), 1.0 / source))
        self.bias = nn.Parameter(torch.zeros(entries or 1, horizon))

    def forward(self, x: Float[Tensor, "batch source entry"]) -> Float[Tensor, "batch horizon entry"]:
        """Map every entry's past to its future."""
        if len(self.weight) == 1:
            return torch.einsum("hs,bse->bhe", self.weight[0], x) + self.bias[0][:, None]
        return torch.einsum("ehs,bse->bhe", self.weight, x) + self.bias.T


class NLinear(Trained):
    """Forecasts linearly from the past, the last value taken off and put back: ŷ = W (z − z_c) + b + z_c.

    Zeng et al. 2023, AAAI. The stimulus is not told.
    """

    Config = LinearMapConfig
    SEARCH = TRAINING_SEARCH | {"model.individual": Choice((False, True))}
    citation = ZENG
    config: LinearMapConfig

    def __init__(self, config: LinearMapConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.map = LinearMap(self.source, layout.horizon, self.entries if config.individual else None)

    def forecast(
        self, source: Float[Tensor, "batch source entry"], batch: Batch
    ) -> Float[Tensor, "batch horizon entry"]:
        """Map the deviations from the last value."""
        last = source[:, -1:]
        return self.map(source - last) + last


class DLinear(Trained):
    """Forecasts trend and remainder by a linear map each: ŷ = W₁ m(z) + W₂ (z − m(z)) + b, m a moving average.

    Zeng et al. 2023, AAAI. The stimulus is not told.
    """

    Config = DLinearConfig
    SEARCH = TRAINING_SEARCH | {"model.individual": Choice((False, True))}
    citation = ZENG
    config: DLinearConfig

    def __init__(self, config: DLinearConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        maps = [LinearMap(self.source, layout.horizon, self.entries if config.individual else None) for _ in range(2)]
        self.trend, self.rest = maps

    def forecast(
        self, source: Float[Tensor, "batch source entry"], batch: Batch
    ) -> Float[Tensor, "batch horizon entry"]:
        """Split and map."""
        trend = moving_average(source, self.config.trend)
        return self.trend(trend) + self.rest(source - trend)


def moving_average(x: Float[Tensor, "batch time entry"], frames: int) -> Float[Tensor, "batch time entry"]:
    """Average over a centred window of odd length, both ends held; longer than the series it is cut to it."""
    half = min(frames, x.shape[1]) // 2
    padded = torch.cat([x[:, :1].expand(-1, half, -1), x, x[:, -1:].expand(-1, half, -1)], dim=1)
    return functional.avg_pool1d(padded.transpose(1, 2), 2 * half + 1, 1).transpose(1, 2)
