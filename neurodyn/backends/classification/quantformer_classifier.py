"""QuantFormer as a classifier: which neurons respond, from the patches before the stimulus."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.backends.base import TRAINING_SEARCH
from neurodyn.backends.batch import Batch, Prediction
from neurodyn.backends.classification.classifier import cross_entropy
from neurodyn.backends.layout import Layout
from neurodyn.backends.quantformer import CALCAGNO
from neurodyn.backends.settings.vocabulary import QuantFormerClassifierConfig
from neurodyn.backends.vocabulary import VocabularyModel
from neurodyn.core.search import Choice, Range


class QuantFormerClassifier(VocabularyModel):
    """Says of every neuron how likely it responds in the horizon.

    Stage 2, `classifier`: a token of its own, then those of the neuron and the stimulus, then the source patches, are read
    by the encoder; log-odds = H E(...)₀. Loss: cross-entropy, `responses`. As a forecast of frames, which it is not, the
    last values are held.

    Calcagno et al. 2024, arXiv:2412.07264.
    """

    Config = QuantFormerClassifierConfig
    SEARCH = TRAINING_SEARCH | {
        "model.width": Choice((32, 64, 128, 256)),
        "model.heads": Choice((2, 4, 8)),
        "model.layers": Range(1, 4),
        "model.dropout": Range(0.0, 0.5),
        "model.codes": Range(8, 128, log=True),
        "model.mask": Range(0.0, 0.5),
    }
    citation = CALCAGNO
    config: QuantFormerClassifierConfig

    def __init__(self, config: QuantFormerClassifierConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.own = nn.Parameter(torch.randn(config.width))
        self.head = nn.Linear(config.width, 1)

    @property
    def read(self) -> int:
        """Patches of the source."""
        return self.patches - self.ahead

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Return the log-odds of responses."""
        traces = self._traces(batch, batch.visible & batch.valid)
        source = traces.values[:, : -self.ahead].flatten(1)[:, -self.source :]
        held = torch.cat([source, source[:, -1:].expand(-1, self.layout.horizon)], dim=1)
        odds = self.cells.scatter(self._log_odds(batch)[None])[:, 0]
        return Prediction(mean=self._restored(held, batch), logits=odds)

    def _second_loss(self, batch: Batch) -> dict[str, Tensor]:
        if batch.responses is None:
            raise ValueError("a batch without responses")
        answers = batch.responses.flatten(1)[:, self.cells.brain]
        return {"responses": cross_entropy(self._log_odds(batch), answers, self.config.balance)}

    def _log_odds(self, batch: Batch) -> Float[Tensor, "batch cell"]:
        traces = self._traces(batch, batch.visible & batch.valid)
        values, there = (part[:, : -self.ahead] for part in traces)
        own = self.own.expand(len(values), -1)
        (token,) = self._tokens(values, there.any(-1).any(-1), batch, own, keep=slice(1)).unbind(1)
        return self.head(token)[:, 0].unflatten(0, (len(batch.x), -1))
