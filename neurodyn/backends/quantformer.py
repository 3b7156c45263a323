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
from neurodyn.backends.linear_start import LinearStart
from neurodyn.backends.settings.vocabulary import QuantFormerConfig
from neurodyn.backends.vocabulary import QUANTIZER, Traces, VocabularyModel
from neurodyn.core.search import Choice, Range
from neurodyn.nn.interpolation import hold
from neurodyn.nn.parts import mean_where

CALCAGNO = (
    "Calcagno S., et al. (2024). QuantFormer: learning to quantize for neural activity forecasting in mouse visual cortex. "
    "arXiv:2412.07264."
)


class QuantFormer(VocabularyModel):
    """Forecasts each neuron's patches as codes of a vocabulary of waveforms learned beforehand.

    Stage 2, `forecaster`: the encoder reads the source patches, horizon patches zero, and classifies the code of each of
    these, p = softmax(H E(...)). Loss: the class-balanced focal loss −w_k (1 − p_k)^γ log p_k, `codes`; with
    `trace_weight`, the squared error of the forecast decoded from mean vectors, `trace`. With `direct`, patches read off the
    tokens by a linear map are added to those decoded. Above a linear path all this is of what the path leaves. A code that training never had in
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
        self.begun = LinearStart(config, layout, len(self.cells), len(self.cells.mean), self.ahead * config.patch)
        self.direct = nn.Linear(config.width, config.patch) if config.direct else None
        if self.direct is not None:
            nn.init.zeros_(self.direct.weight)
            nn.init.zeros_(self.direct.bias)

    @property
    def keeps_start(self) -> bool:
        """The linear path alone is among what validation chooses from."""
        return self.begun.path is not None and self.stage != QUANTIZER

    def prepare_batches(self, batches: Iterable[Batch]) -> None:
        """Fit the linear path, where there is one."""
        self.begun.fit(batches, self._read)

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
        horizon = self._own(traces, batch).flatten(1)[:, : self.layout.horizon]
        source = traces.values[:, : -self.ahead].flatten(1)[:, -self.source :]
        return Prediction(mean=self._restored(torch.cat([source, horizon], dim=1), batch))

    def offset(self, batch: Batch) -> Float[Tensor, "batch time cell"] | None:
        """Return the source's level and the linear path, where there are any."""
        return self.begun.offset(self._source(batch), batch) if self.begun else None

    def calibrate(self, batches: Iterable[Batch], generator: torch.Generator) -> None:
        """Take as much of the model's own forecast as is best, where it stands on a linear path."""
        kept = self.begun.shrink(map(self._left, batches))
        if self.direct is not None:
            self.direct.weight.mul_(kept)
            self.direct.bias.mul_(kept)

    def streamed(self, threads: int) -> Callable[[Batch], Tensor]:
        """Return the forecast of single windows, prepared as far as can be where a processor computes it."""
        from neurodyn.backends.quantformer_stream import (  # whose compiler training has no use for
            Codes,
            StreamedQuantFormer,
        )

        if self.across is not None or self.head.weight.device.type != "cpu":
            return super().streamed(threads)
        likeliest = None if self.config.decoding == "soft" else self.likeliest
        return StreamedQuantFormer(
            self, Codes(self.head, self.book(), likeliest, self.direct, self.begun.gain), threads
        )

    def _second_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return `codes` and `trace`; in validation, above a linear path, the squared error alone, as `forecast`."""
        if not self.training and self.begun.path is not None:
            own, left, there = self._left(batch)
            return {"forecast": mean_where((own - left) ** 2, there)}
        traces = self._traces(batch, batch.visible & batch.valid)
        tokens, (codes, there) = self._coming(traces, batch), self._codes(batch)
        logits = self.head(tokens)
        cross = functional.cross_entropy(logits.flatten(0, 1), codes.flatten(), reduction="none").view(codes.shape)
        focal = self._weights()[codes] * (1 - (-cross).exp()) ** self.config.gamma * cross
        parts = {"codes": mean_where(focal, there)}
        if self.config.trace_weight:
            wanted = self._traces(batch, batch.valid, targets=True)
            own = self._mixed_forecast(traces, logits.softmax(-1) @ self.book(), tokens)
            error = (own - wanted.values[:, -self.ahead :]) ** 2
            parts["trace"] = self.config.trace_weight * mean_where(error, wanted.there[:, -self.ahead :])
        return parts

    def _own(self, traces: Traces, batch: Batch) -> Float[Tensor, "trace ahead sample"]:
        """Return the forecast of what the offset leaves."""
        tokens = self._coming(traces, batch)
        return self._mixed_forecast(traces, self._vectors(self.head(tokens)), tokens)

    def _mixed_forecast(
        self,
        traces: Traces,
        chosen: Float[Tensor, "trace ahead width"],
        tokens: Float[Tensor, "trace ahead width"],
    ) -> Float[Tensor, "trace ahead sample"]:
        decoded = self._decoded(traces, chosen)
        decoded = self.begun.added(decoded.flatten(1)[..., None])[..., 0].view_as(decoded)
        return decoded if self.direct is None else decoded + self.direct(tokens)

    def _left(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return the model's own forecast, what was left to forecast, and where that is valid."""
        own = self._own(self._traces(batch, batch.visible & batch.valid), batch)
        wanted = self._traces(batch, batch.valid, targets=True)
        return own, wanted.values[:, -self.ahead :], wanted.there[:, -self.ahead :]

    def _read(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return source and horizon, z-scored, and where the latter is valid."""
        there = batch.valid[:, self.source :]
        known = self.cells.mask(there)
        wanted = self.cells.standardised(self.cells.gather(batch.target[:, self.source :]), known, self._session(batch))
        return self._source(batch), wanted.transpose(0, 1), known.transpose(0, 1)

    def _source(self, batch: Batch) -> Float[Tensor, "batch source cell"]:
        t = batch.t[:, : self.source]
        seen = self.cells.mask((batch.visible & batch.valid)[:, : self.source])
        z = self.cells.standardised(self.cells.gather(batch.x[:, : self.source]), seen, self._session(batch))
        return hold(z.transpose(0, 1), t, seen.transpose(0, 1), t)

    def _coming(self, traces: Traces, batch: Batch) -> Float[Tensor, "trace ahead width"]:
        here = traces.there[:, : -self.ahead].any(-1).any(-1)
        return self._tokens(self._source_only(traces), here, batch, keep=slice(-self.ahead, None))

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
