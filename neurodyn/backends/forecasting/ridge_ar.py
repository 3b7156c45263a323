"""Ridge regression of the horizon on each entry's own past and the stimulus."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from neurodyn.backends.batch import Batch
from neurodyn.backends.forecasting.naive import Untrained
from neurodyn.backends.layout import Layout
from neurodyn.backends.linear_start import told
from neurodyn.backends.settings.forecasting import RidgeARConfig
from neurodyn.core.search import Choice
from neurodyn.nn.ridge import NormalEquations, folds


class RidgeAR(Untrained):
    """Forecasts by ridge regression per entry, one for all steps ahead: ẑ = W u, u = (source, stimulus, 1).

    W = argmin Σ_n ‖z_n − W u_n‖² + λ ‖W‖², the constant not penalised, λ the one by which four stretches of the
    training windows are best forecast from the others, where none is given. The conditions of the stimulus enter as one
    indicator each, beside what the code says. Hoerl & Kennard 1970, Technometrics 12:55.
    """

    Config = RidgeARConfig
    SEARCH = {"model.stimulus": Choice((False, True))}
    citation = "Hoerl A.E., Kennard R.W. (1970). Ridge regression. Technometrics 12:55."
    config: RidgeARConfig
    weight: Tensor

    def __init__(self, config: RidgeARConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        others = self.told + len(layout.code.conditions) if layout.code and config.stimulus else 0
        self.register_buffer("weight", torch.zeros(self.entries, self.source + others + 1, layout.horizon))

    def prepare_batches(self, batches: Iterable[Batch]) -> None:
        """Solve the normal equations of every entry."""
        count = sum(len(batch.x) for batch in batches)
        stretch, first = folds(count), 0
        equations = NormalEquations(*self.weight.shape)
        for batch in batches:
            source, wanted, there = self._read(batch)
            fold = stretch[first : first + len(source)]
            equations.add(self._regressors(source, batch), wanted, there.all(1), fold)
            first += len(source)
        self.weight.copy_(equations.solved(self.config.penalty or equations.chosen()))

    def forecast(
        self, source: Float[Tensor, "batch source entry"], batch: Batch
    ) -> Float[Tensor, "batch horizon entry"]:
        """Apply the regression."""
        return torch.einsum("bei,eih->bhe", self._regressors(source, batch), self.weight)

    def _regressors(
        self, source: Float[Tensor, "batch source entry"], batch: Batch
    ) -> Float[Tensor, "batch entry regressor"]:
        past = source.mT
        one = past.new_ones(*past.shape[:2], 1)
        if self.weight.shape[1] == self.source + 1:
            return torch.cat([past, one], dim=-1)
        return torch.cat([past, told(batch, self.layout)[:, None].expand(-1, self.entries, -1), one], dim=-1)
