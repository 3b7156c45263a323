"""What forecasting transformers share: sizes, held frames, and the way into Hugging Face's `transformers`."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.backends.batch import Batch
from neurodyn.backends.forecasting.forecaster import Trained
from neurodyn.backends.settings.forecasting import TransformerConfig
from neurodyn.core.search import Choice, Range, Space

TRANSFORMER_SEARCH: dict[str, Space] = {
    "model.width": Choice((32, 64, 128, 256)),
    "model.layers": Range(1, 4),
    "model.feedforward": Range(64, 1024, log=True),
    "model.dropout": Range(0.0, 0.5),
}
ATTENTION_SEARCH = TRANSFORMER_SEARCH | {"model.heads": Choice((2, 4, 8))}


class EncoderDecoder(Trained):
    """An encoder reads the source; a decoder gives the whole horizon at once, started by the last source frames.

    A frame enters as (values, stimulus, time), time from 0 to 1 over the window.
    """

    config: TransformerConfig

    @property
    def features(self) -> int:
        """Numbers by which a frame enters."""
        return self.entries + self.told + 1

    def sizes(self, start: int) -> dict[str, Any]:
        """Return the sizes by the library's names, for a decoder that starts from so many source frames.

        Its scaling, lags, dropped layers and caches are not used: frames are z-scored, and encoder and decoder are
        called for themselves.
        """
        config = self.config
        return {
            "prediction_length": start + self.layout.horizon,
            "input_size": self.entries,
            "lags_sequence": [0],
            "scaling": False,
            "d_model": config.width,
            "encoder_layers": config.layers,
            "decoder_layers": config.layers,
            "encoder_ffn_dim": config.feedforward,
            "decoder_ffn_dim": config.feedforward,
            "dropout": config.dropout,
            "attention_dropout": config.dropout,
            "activation_dropout": config.dropout,
            "encoder_layerdrop": 0.0,
            "decoder_layerdrop": 0.0,
            "use_cache": False,
        }

    def enter(
        self, values: Float[Tensor, "batch time entry"], batch: Batch, first: int = 0
    ) -> Float[Tensor, "batch time feature"]:
        """Put stimulus and time beside the values of consecutive frames, the first of which is `first`."""
        frames = values.shape[1]
        told = values.new_zeros(len(values), self.told)
        if self.told and batch.stimulus is not None:
            told = batch.stimulus
        time = self.layout.unit_time(batch.t, batch.t)[:, first : first + frames, None]
        return torch.cat([values, told[:, None].expand(-1, frames, -1), time], dim=-1)


def hold_in_front(x: Float[Tensor, "batch time entry"], multiple: int) -> Float[Tensor, "batch longer entry"]:
    """Repeat the first frame in front until the number of frames is a multiple."""
    return torch.cat([x[:, :1].expand(-1, -x.shape[1] % multiple, -1), x], dim=1)


def hold_at_zero(module: nn.Module, *endings: str) -> None:
    """Leave parameters whose names end so out of training: no forecast depends on them, or they must be 0."""
    for name, parameter in module.named_parameters():
        if name.endswith(endings):
            nn.init.zeros_(parameter).requires_grad_(False)
