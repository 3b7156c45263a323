"""Informer: an encoder that distils the source, and a decoder that gives the whole horizon at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import import_module

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.backends.base import TRAINING_SEARCH
from neurodyn.backends.batch import Batch
from neurodyn.backends.forecasting.transformer import ATTENTION_SEARCH, EncoderDecoder, hold_at_zero
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.forecasting import InformerConfig


class Informer(EncoderDecoder):
    """Forecasts all frames and neurons at once, by attention of those queries alone whose attention is least uniform.

    M(q) = maxₖ q kᵀ/√d − meanₖ q kᵀ/√d over keys drawn at random; the queries of largest M attend to all keys, the
    others take the mean of the values (in the decoder: their sum so far). Encoder: ELU of a convolution, then
    max-pooling, halves time between layers. Decoder: reads the last source frames, then zeros; ẑ = W y + b.

    Encoder and decoder are those of `transformers.InformerModel`. Its own forecasts differ from the paper's: they are
    samples, drawn frame after frame from a Student t whose training sees each previous frame. Here, as published, the
    decoder gives the horizon at once and is trained on its squared error. Batch normalisation of the convolutions gives
    way to one within each window, so that no window's forecast depends on others. Keys are drawn from the generator in
    training, and are always the same ones in prediction.

    Zhou et al. 2021, Informer: beyond efficient transformer for long sequence time-series forecasting, AAAI.
    """

    Config = InformerConfig
    SEARCH = TRAINING_SEARCH | ATTENTION_SEARCH
    citation = (
        "Zhou H., Zhang S., Peng J., Zhang S., Li J., Xiong H., Zhang W. (2021). Informer: Beyond efficient transformer "
        "for long sequence time-series forecasting. AAAI."
    )
    config: InformerConfig

    def __init__(self, config: InformerConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        library = import_module("transformers")
        self.start = min(config.start, self.source)
        settings = library.InformerConfig(
            **self.sizes(self.start),
            encoder_attention_heads=config.heads,
            decoder_attention_heads=config.heads,
            sampling_factor=config.factor,
            distil=config.distil,
            attn_implementation="eager",
        )
        settings.feature_size = self.features
        settings.context_length = self.source - self.start  # where the decoder's positions begin
        model = library.InformerModel(settings)
        self.encoder, self.decoder = model.encoder, model.decoder
        for layer in self.encoder.conv_layers[: config.layers - 1] if config.distil else ():
            layer.norm = nn.GroupNorm(1, config.width)
        self.out = nn.Linear(config.width, self.entries)
        hold_at_zero(self, "k_proj.bias")

    def forecast(
        self, source: Float[Tensor, "batch source entry"], batch: Batch
    ) -> Float[Tensor, "batch horizon entry"]:
        """Read the source, then fill in the zeros after it."""
        begun = nn.functional.pad(source[:, self.source - self.start :], (0, 0, 0, self.layout.horizon))
        states = self.decode(source, self.enter(begun, batch, self.source - self.start), batch)
        return self.out(states[:, self.start :])

    def decode(
        self,
        source: Float[Tensor, "batch source entry"],
        asked: Float[Tensor, "batch asked feature"],
        batch: Batch,
    ) -> Float[Tensor, "batch asked width"]:
        """Return the decoder's states of what is asked, given the source."""
        with contextlib.nullcontext() if self.training else drawing_from(torch.Generator().manual_seed(0)):
            memory = self.encoder(inputs_embeds=self.enter(source, batch)).last_hidden_state
            return self.decoder(inputs_embeds=asked, encoder_hidden_states=memory).last_hidden_state

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `forecast`, in z-scored units; keys are drawn from the generator."""
        with drawing_from(generator):
            return super().loss(batch, generator)


@contextlib.contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Have what the library draws on the processor come from a generator, which moves on; torch's own stays as it is."""
    with torch.random.fork_rng(devices=()):
        torch.default_generator.set_state(generator.get_state())
        yield
        generator.set_state(torch.default_generator.get_state())
