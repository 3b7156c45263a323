"""The linear path alone: ridge regression on each entry's past at several time scales."""

from __future__ import annotations

from collections.abc import Iterable

from jaxtyping import Float
from torch import Tensor

from neurodyn.backends.batch import Batch
from neurodyn.backends.forecasting.naive import Untrained
from neurodyn.backends.layout import Layout
from neurodyn.backends.linear_start import Examples, linear_path, told
from neurodyn.backends.settings.forecasting import RidgeConfig
from neurodyn.core.search import Choice


class Ridge(Untrained):
    """Forecasts by ridge regression on the means of each entry's last 1, 2, 4, … frames and the stimulus.

    It is what trained forecasters start from with `linear`: ŷ = Aᵀ u + Bₑᵀ (u, s), A for all entries, Bₑ for each. Hoerl &
    Kennard 1970, Technometrics 12:55.
    """

    Config = RidgeConfig
    SEARCH = {"model.linear": Choice(("shared", "cell"))}
    citation = "Hoerl A.E., Kennard R.W. (1970). Ridge regression. Technometrics 12:55."
    config: RidgeConfig

    def __init__(self, config: RidgeConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.path = linear_path(layout, self.entries, config.linear == "cell")

    def prepare_batches(self, batches: Iterable[Batch]) -> None:
        """Solve for the weights."""
        self.path.fit(Examples(batches, self._read, self.layout))

    def forecast(
        self, source: Float[Tensor, "batch source entry"], batch: Batch
    ) -> Float[Tensor, "batch horizon entry"]:
        """Apply the regression."""
        return self.path(source, told(batch, self.layout), batch.session)
