"""Forecasts that nothing is trained for: the mean of the source, and the mean response to the stimulus."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from neurodyn.backends.batch import Batch
from neurodyn.backends.forecasting.forecaster import Forecaster
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.forecasting import UntrainedConfig


class Untrained(Forecaster):
    """A forecaster that `prepare` and `prepare_batches` fit entirely."""

    Config = UntrainedConfig
    SEARCH = {}


class SourceMean(Untrained):
    """Forecasts the mean of each entry's source frames: ẑ_{c+k} = (1/c) Σ_t z_t.

    Hyndman & Athanasopoulos 2021, Forecasting: principles and practice (the mean forecast).
    """

    citation = "Hyndman R.J., Athanasopoulos G. (2021). Forecasting: Principles and Practice. 3rd ed. OTexts."

    def forecast(
        self, source: Float[Tensor, "batch source entry"], batch: Batch
    ) -> Float[Tensor, "batch horizon entry"]:
        """Repeat the mean."""
        return source.mean(1, keepdim=True).expand(-1, self.layout.horizon, -1)


class PSTH(Untrained):
    """Forecasts the mean response: ẑ_k = mean of z_k over the training windows of the same stimulus, whatever the source.

    A stimulus that training did not have, or none at all, gets the mean over all training windows.

    Gerstein & Kiang 1960, Biophys. J. 1:15 (the peristimulus time histogram).
    """

    citation = "Gerstein G.L., Kiang N.Y.-S. (1960). An approach to the quantitative analysis of electrophysiological data from single neurons. Biophys. J. 1:15."
    means: Tensor

    def __init__(self, config: UntrainedConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        conditions = len(layout.code.conditions) if layout.code else 0
        self.register_buffer("means", torch.zeros(conditions + 1, layout.horizon, self.entries))

    def prepare_batches(self, batches: Iterable[Batch]) -> None:
        """Average the training windows of every condition; the last row averages all of them."""
        total = torch.zeros(self.means.shape, dtype=torch.float64)
        count = torch.zeros_like(total)
        for batch in batches:
            wanted, there = self._wanted(batch).double(), self._there(batch).double()
            total[-1] += wanted.sum(0)
            count[-1] += there.sum(0)
            if batch.condition is not None:
                known = batch.condition >= 0
                total.index_add_(0, batch.condition[known], wanted[known])
                count.index_add_(0, batch.condition[known], there[known])
        means = total / count.clamp(min=1)
        self.means.copy_(torch.where(count > 0, means, means[-1]))

    def forecast(
        self, source: Float[Tensor, "batch source entry"], batch: Batch
    ) -> Float[Tensor, "batch horizon entry"]:
        """Look the mean up; index -1 is the mean of all."""
        if batch.condition is None:
            return self.means[-1].expand(len(source), -1, -1)
        return self.means[batch.condition]
