"""QuantFormer: forecasts activity by classifying quantised patches of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from neurodyn.backends.base import TRAINING_SEARCH
from neurodyn.backends.batch import Batch, Prediction
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.vocabulary import QuantFormerConfig
from neurodyn.backends.vocabulary import Traces, VocabularyModel
from neurodyn.core.search import Choice, Range
from neurodyn.nn.parts import mean_where

CALCAGNO = (
    "Calcagno S., et al. (2024). QuantFormer: learning to quantize for neural activity forecasting in mouse visual cortex. "
    "arXiv:2412.07264."
)


class QuantFormer(VocabularyModel):
    """Forecasts each neuron's patches as codes of a vocabulary of waveforms learned beforehand.

    Stage 2, `forecaster`: the encoder reads the source patches, horizon patches zero, and classifies the code of each of
    these, p = softmax(H E(...)). Loss: the class-balanced focal loss −w_k (1 − p_k)^γ log p_k, `codes`; with
    `trace_weight`, the squared error of the forecast decoded from mean vectors, `trace`. A code that training never had in
    a horizon counts as the nearest that it had.

    Calcagno et al. 2024, arXiv:2412.07264. Here the codebook has its own pull and commitment (published, the two
    cancel), the frozen quantiser stays as it is, and source codes are the frozen encoder's.
    """

    Config = QuantFormerConfig
    SEARCH = TRAINING_SEARCH | {
        "model.width": Choice((32, 64, 128, 256)),
        "model.heads": Choice((2, 4, 8)),
        "model.layers": Range(1, 4),
        "model.dropout": Range(0.0, 0.5),
    }
    citation = CALCAGNO
    config: QuantFormerConfig
    counts: Tensor

    def __init__(self, config: QuantFormerConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        size = self.quantizer.codebook.size
        self.register_buffer("counts", torch.zeros(size, dtype=torch.int64))
        self.head = nn.Linear(config.width, size)

    def begin(self, stage: str, batches: Iterable[Batch]) -> None:
        """Freeze what the stage does not train; before stage 2, count the codes."""
        super().begin(stage, batches)
        if stage == self.config.stages[-1]:
            self.counts.zero_()  # so that every code counts as itself
            found = torch.zeros_like(self.counts)
            for batch in batches:
                codes, there = self._codes(batch)
                found += torch.bincount(codes[there], minlength=len(found))
            self.counts.copy_(found)

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Return the source as seen, then the forecast."""
        traces = self._traces(batch, batch.visible & batch.valid)
        logits = self._logits(traces, batch)
        chosen = self._vectors(logits)
        horizon = self._decoded(traces, chosen).flatten(1)[:, : self.layout.horizon]
        source = traces.values[:, : -self.ahead].flatten(1)[:, -self.source :]
        return Prediction(mean=self._restored(torch.cat([source, horizon], dim=1), batch))

    def streamed(self, threads: int) -> Callable[[Batch], Tensor]:
        """Return the forecast of single windows, prepared as far as can be where a processor computes it."""
        from neurodyn.backends.quantformer_stream import (  # whose compiler training has no use for
            Codes,
            StreamedQuantFormer,
        )

        if self.across is not None or self.head.weight.device.type != "cpu":
            return super().streamed(threads)
        likeliest = None if self.config.decoding == "soft" else self.likeliest
        return StreamedQuantFormer(self, Codes(self.head, self.book(), likeliest), threads)

    def _second_loss(self, batch: Batch) -> dict[str, Tensor]:
        traces = self._traces(batch, batch.visible & batch.valid)
        logits, (codes, there) = self._logits(traces, batch), self._codes(batch)
        cross = functional.cross_entropy(logits.flatten(0, 1), codes.flatten(), reduction="none").view(codes.shape)
        focal = self._weights()[codes] * (1 - (-cross).exp()) ** self.config.gamma * cross
        parts = {"codes": mean_where(focal, there)}
        if self.config.trace_weight:
            wanted = self._traces(batch, batch.valid, targets=True)
            decoded = self._decoded(traces, logits.softmax(-1) @ self.book())
            error = (decoded - wanted.values[:, -self.ahead :]) ** 2
            parts["trace"] = self.config.trace_weight * mean_where(error, wanted.there[:, -self.ahead :])
        return parts

    def _logits(self, traces: Traces, batch: Batch) -> Float[Tensor, "trace ahead code"]:
        here = traces.there[:, : -self.ahead].any(-1).any(-1)
        return self.head(self._tokens(self._source_only(traces), here, batch, keep=slice(-self.ahead, None)))

    def _source_only(self, traces: Traces) -> Float[Tensor, "trace patch sample"]:
        return torch.cat([traces.values[:, : -self.ahead], torch.zeros_like(traces.values[:, -self.ahead :])], dim=1)

    def _codes(self, batch: Batch) -> tuple[Int[Tensor, "trace ahead"], Bool[Tensor, "trace ahead"]]:
        """Return the true codes of the horizon, unknown ones as the nearest known, and where there are data."""
        traces = self._traces(batch, batch.valid, targets=True)
        with torch.no_grad():
            codes = self.quantizer.codes(traces.values, slice(-self.ahead, None))
        return self._known()[codes], traces.there[:, -self.ahead :].any(-1)

    def _known(self) -> Int[Tensor, " code"]:
        """Return what every code counts as."""
        if not self.counts.any():
            return torch.arange(len(self.counts), device=self.counts.device)
        book = self.book()
        distance = torch.cdist(book, book).masked_fill(self.counts == 0, torch.inf)
        return distance.argmin(1)

    def _weights(self) -> Float[Tensor, " code"]:
        """Return total / (codes in use · count of the code), to the power `balance`; 0 for codes not in use."""
        counts = self.counts.float()
        used = counts > 0
        share = counts.sum() / (used.sum() * counts.clamp(min=1))
        return (share**self.config.balance).where(used, 0.0) if used.any() else torch.ones_like(counts)

    def book(self) -> Float[Tensor, "code width"]:
        """Return the vectors of the vocabulary."""
        return self.quantizer.codebook.vectors(torch.arange(len(self.counts), device=self.counts.device)).detach()

    def _vectors(self, logits: Float[Tensor, "trace ahead code"]) -> Float[Tensor, "trace ahead width"]:
        if self.config.decoding == "soft":
            return logits.softmax(-1) @ self.book()
        return self.book()[self.likeliest(logits)]

    def likeliest(self, logits: Float[Tensor, "*batch code"]) -> Int[Tensor, "*batch"]:
        """Return the likeliest codes of those that training had in a horizon."""
        return logits.masked_fill((self.counts == 0) & self.counts.any(), -torch.inf).argmax(-1)

    def _decoded(
        self, traces: Traces, chosen: Float[Tensor, "trace ahead width"]
    ) -> Float[Tensor, "trace ahead sample"]:
        """Decode the horizon behind the source's own codes, which the frozen encoder gives with the horizon hidden."""
        with torch.no_grad():
            source = self.quantizer.codes(self._source_only(traces), slice(-self.ahead))
            known = self.quantizer.codebook.vectors(source)
        return self.quantizer.decode(torch.cat([known, chosen], dim=1), slice(-self.ahead, None))
