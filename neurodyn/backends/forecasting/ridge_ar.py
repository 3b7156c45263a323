"""Ridge regression of the horizon on each entry's own past and the stimulus."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from neurodyn.backends.batch import Batch
from neurodyn.backends.forecasting.naive import Untrained
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.forecasting import RidgeARConfig
from neurodyn.core.search import Choice, Range


class RidgeAR(Untrained):
    """Forecasts by ridge regression per entry, one for all steps ahead: ẑ = W u, u = (source, stimulus, 1).

    W = argmin Σ_n ‖z_n − W u_n‖² + λ ‖W‖², the constant not penalised. The conditions of the stimulus enter as one
    indicator each, beside what the code says. Hoerl & Kennard 1970, Technometrics 12:55.
    """

    Config = RidgeARConfig
    SEARCH = {
        "model.penalty": Range(0.1, 1e4, log=True),
        "model.stimulus": Choice((False, True)),
    }
    citation = "Hoerl A.E., Kennard R.W. (1970). Ridge regression. Technometrics 12:55."
    config: RidgeARConfig
    weight: Tensor

    def __init__(self, config: RidgeARConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        told = self.told + len(layout.code.conditions) if layout.code and config.stimulus else 0
        self.register_buffer("weight", torch.zeros(self.entries, self.source + told + 1, layout.horizon))

    def prepare_batches(self, batches: Iterable[Batch]) -> None:
        """Solve the normal equations of every entry."""
        size = self.weight.shape[1]
        square = torch.zeros(self.entries, size, size, dtype=torch.float64)
        cross = torch.zeros(*self.weight.shape, dtype=torch.float64)
        for batch in batches:
            u = self._regressors(self._source(batch), batch).double()
            whole = self._there(batch).all(1).double()  # (batch, entry)
            square += torch.einsum("bei,be,bej->eij", u, whole, u)
            cross += torch.einsum("bei,be,bhe->eih", u, whole, self._wanted(batch).double())
        penalty = torch.full((size,), self.config.penalty, dtype=torch.float64)
        penalty[-1] = 1e-9
        self.weight.copy_(torch.linalg.solve(square + torch.diag(penalty), cross))

    def forecast(
        self, source: Float[Tensor, "batch source entry"], batch: Batch
    ) -> Float[Tensor, "batch horizon entry"]:
        """Apply the regression."""
        return torch.einsum("bei,eih->bhe", self._regressors(source, batch), self.weight)

    def _regressors(
        self, source: Float[Tensor, "batch source entry"], batch: Batch
    ) -> Float[Tensor, "batch entry regressor"]:
        past = source.transpose(1, 2)
        one = past.new_ones(*past.shape[:2], 1)
        if self.weight.shape[1] == self.source + 1 or batch.stimulus is None or batch.condition is None:
            return torch.cat([past, one], dim=-1)
        code = self.layout.code
        conditions = torch.arange(len(code.conditions) if code else 0, device=past.device)
        told = torch.cat([batch.stimulus, (batch.condition[:, None] == conditions).to(past.dtype)], dim=1)
        return torch.cat([past, told[:, None].expand(-1, self.entries, -1), one], dim=-1)
