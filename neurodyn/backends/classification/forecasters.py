"""Forecasters that say which cells respond instead, by the heads of Calcagno et al. 2024."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.backends.batch import Batch
from neurodyn.backends.classification.classifier import Classifier
from neurodyn.backends.forecasting.autoformer import Autoformer
from neurodyn.backends.forecasting.crossformer import Crossformer
from neurodyn.backends.forecasting.informer import Informer, drawing_from
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.classification import (
    AutoformerClassifierConfig,
    CrossformerClassifierConfig,
    InformerClassifierConfig,
)


class CrossformerClassifier(Classifier):
    """Reads each cell's response off its forecast ŷ: log-odds = w ŷ + b, the same w and b for all cells.

    Zhang & Yan 2023, Crossformer, ICLR; the head as in Calcagno et al. 2024, arXiv:2412.07264.
    """

    Config = CrossformerClassifierConfig
    SEARCH = Crossformer.SEARCH
    citation = Crossformer.citation
    config: CrossformerClassifierConfig

    def __init__(self, config: CrossformerClassifierConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.crossformer = Crossformer(config, layout)
        self.head = nn.Linear(layout.horizon, 1)

    def log_odds(self, source: Float[Tensor, "batch source entry"], batch: Batch) -> Float[Tensor, "batch entry"]:
        """Forecast, then read."""
        return self.head(self.crossformer.forecast(source, batch).transpose(1, 2))[..., 0]


class InformerClassifier(Classifier):
    """Reads all cells' responses off a token of its own that follows the last source frames in the decoder.

    Zhou et al. 2021, Informer, AAAI; the head as in Calcagno et al. 2024, arXiv:2412.07264.
    """

    Config = InformerClassifierConfig
    SEARCH = Informer.SEARCH
    citation = Informer.citation
    config: InformerClassifierConfig

    def __init__(self, config: InformerClassifierConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.informer = Informer(config, layout)
        self.own = nn.Parameter(torch.randn(self.informer.features))

    def log_odds(self, source: Float[Tensor, "batch source entry"], batch: Batch) -> Float[Tensor, "batch entry"]:
        """Decode the token."""
        first = self.source - self.informer.start
        begun = self.informer.enter(source[:, first:], batch, first)
        asked = torch.cat([begun, self.own.expand(len(source), 1, -1)], dim=1)
        return self.informer.out(self.informer.decode(source, asked, batch)[:, -1])

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `responses`; keys are drawn from the generator."""
        with drawing_from(generator):
            return super().loss(batch, generator)


class AutoformerClassifier(Classifier):
    """Reads all cells' responses off a token of its own before the source frames: log-odds = W gelu(encoder(...)₀) + b.

    Wu et al. 2021, Autoformer, NeurIPS; the head as in Calcagno et al. 2024, arXiv:2412.07264.
    """

    Config = AutoformerClassifierConfig
    SEARCH = Autoformer.SEARCH
    citation = Autoformer.citation
    config: AutoformerClassifierConfig

    def __init__(self, config: AutoformerClassifierConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        self.autoformer = Autoformer(config, layout)
        del self.autoformer.decoder
        self.own = nn.Parameter(torch.randn(self.autoformer.features))
        self.head = nn.Linear(config.width, self.entries)

    def log_odds(self, source: Float[Tensor, "batch source entry"], batch: Batch) -> Float[Tensor, "batch entry"]:
        """Encode the token with the source."""
        frames = self.autoformer.enter(source, batch)
        tokens = torch.cat([self.own.expand(len(source), 1, -1), frames], dim=1)
        states = self.autoformer.encoder(inputs_embeds=tokens).last_hidden_state
        return self.head(nn.functional.gelu(states[:, 0]))
