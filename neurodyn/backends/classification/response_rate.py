"""How often a cell responded to a stimulus in training."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from neurodyn.backends.batch import Batch
from neurodyn.backends.classification.classifier import Classifier
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.classification import ResponseRateConfig


class ResponseRate(Classifier):
    """Says how often each cell responded to the same stimulus in training, whatever the source.

    p = (r + 2 p₀) / (n + 2), with r responses in n training windows of the condition and p₀ the cell's rate over all of
    them, itself (r + 1) / (n + 2); a stimulus that training did not have gets p₀. The row that a model must beat to have
    learned more than mean responses.

    Laplace 1814, Essai philosophique sur les probabilités (the rule of succession).
    """

    Config = ResponseRateConfig
    SEARCH = {}
    citation = "Laplace P.-S. (1814). Essai philosophique sur les probabilités."
    rates: Tensor

    def __init__(self, config: ResponseRateConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        conditions = len(layout.code.conditions) if layout.code else 0
        self.register_buffer("rates", torch.full((conditions + 1, self.entries), 0.5))

    def prepare_batches(self, batches: Iterable[Batch]) -> None:
        """Count responses; the last row is the rate over all windows."""
        count = torch.zeros_like(self.rates, dtype=torch.float64)
        total = torch.zeros_like(count)
        for batch in batches:
            answer = self._responses(batch).double()
            known = torch.isfinite(answer)
            rows = torch.full((len(answer),), -1) if batch.condition is None else batch.condition
            for where, counted in ((rows % len(count), rows >= 0), (torch.full_like(rows, len(count) - 1), rows >= -1)):
                count.index_add_(0, where[counted], known[counted].double())
                total.index_add_(0, where[counted], answer.nan_to_num()[counted])
        overall = (total[-1] + 1) / (count[-1] + 2)
        self.rates.copy_(torch.cat([(total[:-1] + 2 * overall) / (count[:-1] + 2), overall[None]]))

    def log_odds(self, source: Float[Tensor, "batch source entry"], batch: Batch) -> Float[Tensor, "batch entry"]:
        """Look the rate up; index -1 is the rate over all."""
        rows = torch.full((len(source),), -1) if batch.condition is None else batch.condition
        return torch.logit(self.rates[rows.to(self.rates.device)])
