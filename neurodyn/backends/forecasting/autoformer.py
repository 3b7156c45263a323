"""Autoformer: trend and seasons apart, the seasons by correlation of a series with itself at many delays."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from neurodyn.backends.base import TRAINING_SEARCH
from neurodyn.backends.batch import Batch, Layout
from neurodyn.backends.forecasting.transformer import (
    TRANSFORMER_SEARCH,
    EncoderDecoder,
    TransformerConfig,
    hold_at_zero,
    load_transformers,
)
from neurodyn.backends.settings import Odd


class AutoformerConfig(TransformerConfig):
    """Configuration of the Autoformer."""

    start: int = Field(48, gt=0, description="last source frames that the decoder starts from; at most the source")
    trend: Odd = Field(3, gt=0, description="frames of the moving average that makes the trend, odd")
    factor: int = Field(10, gt=0, description="c: of L delays, the c ln L of highest correlation enter; at most L")


class Autoformer(EncoderDecoder):
    """Forecasts trend and seasonal part of all neurons at once, and adds them.

    Attention is replaced by R(τ) = mean over features of Σₜ q(t) k(t − τ), and Σᵢ softmax(R(τᵢ)) v(t + τᵢ) over the
    delays τᵢ of largest R. After each step, a moving average moves the trend out of the states into the sum of trends.
    Start of the decoder: seasonal part and trend of the last source frames, then zeros and the mean of the source.

    Encoder and decoder are those of `transformers.AutoformerModel`; its Student t, of which it samples, gives way to the
    published sum of the two parts, trained on its squared error. All heads share their delays and weights, so their
    number does not matter: there is one, because with more the library takes those of other windows of the batch. Zeros
    follow an encoder output shorter than the decoder's input, as published, where the library shortens the queries.

    Wu et al. 2021, Autoformer: decomposition transformers with auto-correlation for long-term series forecasting,
    NeurIPS.
    """

    Config = AutoformerConfig
    SEARCH = TRAINING_SEARCH | TRANSFORMER_SEARCH
    citation = (
        "Wu H., Xu J., Wang J., Long M. (2021). Autoformer: Decomposition transformers with auto-correlation for "
        "long-term series forecasting. NeurIPS 34."
    )
    config: AutoformerConfig

    def __init__(self, config: AutoformerConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        layout.require_frames(layout.horizon + 2, "autoformer")
        library = load_transformers("autoformer")
        self.start = min(config.start, self.source)
        lengths = self.source, self.start + layout.horizon
        settings = library.AutoformerConfig(
            **self.sizes(self.start),
            context_length=self.source,
            label_length=self.start,
            encoder_attention_heads=1,
            decoder_attention_heads=1,
            moving_average=config.trend,
            autocorrelation_factor=min(config.factor, *(int(length / math.log(length)) for length in lengths)),
        )
        settings.feature_size = self.features
        model = library.AutoformerModel(settings)
        self.encoder, self.decoder, self.split = model.encoder, model.decoder, model.decomposition_layer
        hold_at_zero(self, "q_proj.bias", "k_proj.bias", ".layernorm.bias", "encoder_attn.v_proj.bias")
        hold_at_zero(self.encoder, "self_attn_layer_norm.bias", "fc2.bias")

    def forecast(
        self, source: Float[Tensor, "batch source entry"], batch: Batch
    ) -> Float[Tensor, "batch horizon entry"]:
        """Read the source, then continue its two parts."""
        horizon, first = self.layout.horizon, self.source - self.start
        memory = self.encoder(inputs_embeds=self.enter(source, batch)).last_hidden_state
        seasonal, trend = self.split(source)
        mean = source.mean(1, keepdim=True).expand(-1, horizon, -1)
        states = self.decoder(
            trend=self.enter(torch.cat([trend[:, first:], mean], dim=1), batch, first),
            inputs_embeds=self.enter(nn.functional.pad(seasonal[:, first:], (0, 0, 0, horizon)), batch, first),
            encoder_hidden_states=nn.functional.pad(memory, (0, 0, 0, max(0, horizon - first))),
        )
        return (states.last_hidden_state + states.trend)[:, self.start :, : self.entries]
