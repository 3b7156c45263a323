"""PatchTST: one transformer for the patches of every neuron."""

from __future__ import annotations

from importlib import import_module

import torch
from jaxtyping import Float
from torch import Tensor

from neurodyn.backends.base import TRAINING_SEARCH
from neurodyn.backends.batch import Batch
from neurodyn.backends.forecasting.forecaster import Trained
from neurodyn.backends.forecasting.transformer import ATTENTION_SEARCH, hold_at_zero, hold_in_front
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.forecasting import PatchTSTConfig


class PatchTST(Trained):
    """Forecasts every neuron from its own past, with the same weights for all.

    The source less its mean, over its standard deviation, is cut into patches p; y = transformer(E p + position), and
    ẑ = (W y + b) × deviation + mean. A source that patches do not divide is preceded by its first frame, held. The
    stimulus is not told. `transformers.PatchTSTForPrediction`, with layer in place of batch normalisation, so that no
    window's forecast depends on others.

    Nie et al. 2023, A time series is worth 64 words: long-term forecasting with transformers, ICLR.
    """

    Config = PatchTSTConfig
    SEARCH = TRAINING_SEARCH | ATTENTION_SEARCH
    citation = (
        "Nie Y., Nguyen N.H., Sinthong P., Kalagnanam J. (2023). A time series is worth 64 words: Long-term forecasting "
        "with transformers. ICLR."
    )
    config: PatchTSTConfig

    def __init__(self, config: PatchTSTConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        library = import_module("transformers")
        self.patch = min(config.patch, self.source // 2)
        self.model = library.PatchTSTForPrediction(
            library.PatchTSTConfig(
                num_input_channels=self.entries,
                context_length=self.source + -self.source % self.patch,
                prediction_length=layout.horizon,
                patch_length=self.patch,
                patch_stride=self.patch,
                d_model=config.width,
                num_attention_heads=config.heads,
                num_hidden_layers=config.layers,
                ffn_dim=config.feedforward,
                attention_dropout=config.dropout,
                ff_dropout=config.dropout,
                norm_type="layernorm",
                pooling_type="mean" if config.head == "mean" else None,
                scaling="std",
                loss="mse",
            )
        )
        hold_at_zero(self, "k_proj.bias")

    def forecast(
        self, source: Float[Tensor, "batch source entry"], batch: Batch
    ) -> Float[Tensor, "batch horizon entry"]:
        """Forecast; frames held in front do not enter mean and deviation."""
        past = hold_in_front(source, self.patch)
        real = torch.ones_like(past)
        real[:, : past.shape[1] - self.source] = 0.0
        return self.model(past_values=past, past_observed_mask=real).prediction_outputs
