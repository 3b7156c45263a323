"""Logistic regression on what each cell did before the horizon."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.backends.batch import Batch
from neurodyn.backends.classification.classifier import Classifier
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.classification import ClassifierConfig


class LogisticResponse(Classifier):
    """Says by logistic regression, one per cell: log-odds = w · (features, stimulus, conditions) + b.

    Features of the source: mean, standard deviation, largest and last value, and the slope of a straight line. The stimulus
    enters as its code, and as one indicator per condition. Cox 1958, J. R. Stat. Soc. B 20:215.
    """

    citation = "Cox D.R. (1958). The regression analysis of binary sequences. J. R. Stat. Soc. B 20:215."

    def __init__(self, config: ClassifierConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        conditions = len(layout.code.conditions) if layout.code else 0
        self.of_source = nn.Parameter(torch.zeros(self.entries, 5))
        self.of_stimulus = nn.Linear(self.told + conditions, self.entries) if self.told else None
        self.bias = nn.Parameter(torch.zeros(self.entries)) if not self.told else None

    def log_odds(self, source: Float[Tensor, "batch source entry"], batch: Batch) -> Float[Tensor, "batch entry"]:
        """Weigh the features."""
        odds = torch.einsum("bfe,ef->be", features(source), self.of_source)
        if self.of_stimulus is None or batch.stimulus is None or batch.condition is None:
            return odds if self.bias is None else odds + self.bias
        many = self.of_stimulus.in_features - batch.stimulus.shape[1]
        which = batch.condition[:, None] == torch.arange(many, device=odds.device)
        return odds + self.of_stimulus(torch.cat([batch.stimulus, which.to(odds.dtype)], dim=1))


def features(source: Float[Tensor, "batch source entry"]) -> Float[Tensor, "batch 5 entry"]:
    """Return mean, standard deviation, largest and last value, and slope per source length, of every cell."""
    time = torch.linspace(-0.5, 0.5, source.shape[1], device=source.device)
    slope = torch.einsum("bte,t->be", source, time) / (time**2).sum().clamp(min=1e-12)
    mean = source.mean(1)
    parts = [mean, (source - mean[:, None]).square().mean(1).sqrt(), source.amax(1), source[:, -1], slope]
    return torch.stack(parts, dim=1)
