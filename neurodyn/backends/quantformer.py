"""QuantFormer: forecasts activity by classifying quantised patches of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from neurodyn.backends.base import Backend, Batch, Layout, Prediction
from neurodyn.core.config import Params
from neurodyn.core.errors import ConfigError
from neurodyn.nn.cells import Cells
from neurodyn.nn.frames import mean_where
from neurodyn.nn.interpolation import hold
from neurodyn.nn.moments import moments
from neurodyn.nn.quantizer import Codebook, PatchQuantizer, PatchTransformer, patched
from neurodyn.nn.transformer import TransformerBlock

QUANTIZER, FORECASTER = STAGES = ("quantizer", "forecaster")
PRIVATE = ("cells.", "neuron", "neurons.")  # what belongs to the cells of one recording


class QuantFormerConfig(Params):
    """Configuration of QuantFormer."""

    patch: int = Field(16, gt=0, description="frames per patch")
    width: int = Field(128, gt=0, description="features per token")
    heads: int = Field(8, gt=0, description="attention heads; divides width")
    layers: int = Field(2, gt=0, description="blocks of each transformer")
    feedforward: int | None = Field(None, gt=0, description="hidden units per block (default: 4 × width)")
    dropout: float = Field(0.0, ge=0, lt=1, description="share dropped in training")
    codebook: Literal["learned", "ema", "fsq"] = Field("learned", description="what patches are quantised with")
    codes: int = Field(32, gt=1, description="vectors in the codebook; fsq: the product of its levels")
    levels: tuple[int, ...] = Field((8, 5), description="levels of each number (codebook: fsq)")
    commitment: float = Field(0.25, gt=0, description="weight of what draws patches and their vectors together")
    mask: float = Field(0.2, ge=0, lt=1, description="share of patches hidden while the quantiser is trained")
    traces: int = Field(4096, gt=0, description="most single traces in a step of the quantiser, drawn at random")
    gamma: float = Field(0.0, ge=0, description="focus on codes that are badly known, exponent of the focal loss")
    balance: float = Field(1.0, ge=0, le=1, description="weight of a code: its frequency to minus this power")
    trace_weight: float = Field(
        0.0, ge=0, description="weight of the squared error of the softly decoded forecast, beside that of its codes"
    )
    decoding: Literal["hard", "soft"] = Field(
        "hard", description="decode the likeliest codes, or the mean vectors under their probabilities"
    )
    across: bool = Field(False, description="attend across neurons, too")

    @model_validator(mode="after")
    def _consistent(self) -> QuantFormerConfig:
        if self.width % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide width ({self.width})")
        if self.codebook == "fsq" and min(self.levels) < 3:
            raise ValueError(f"levels {self.levels}: at least 3 each")
        return self


class Traces(NamedTuple):
    """Single traces cut into patches, source and horizon, z-scored: values, and where they are data."""

    values: Float[Tensor, "trace patch sample"]
    there: Bool[Tensor, "trace patch sample"]


class QuantFormer(Backend):
    """Forecasts each neuron's patches as codes of a vocabulary of waveforms learned beforehand.

    Stage 1, `quantizer`: a vector-quantised autoencoder of single traces (`nn.quantizer.PatchQuantizer`), some patches
    hidden; loss: ‖x − x̂‖² over all (`patches`) and over hidden patches (`masked`), and `commitment`.
    Stage 2, `forecaster`: the quantiser is frozen; a copy of its encoder reads the stimulus, the neuron and the source
    patches, horizon patches zero, and classifies the code of each of these, p = softmax(H E(...)). Loss: the
    class-balanced focal loss −w_k (1 − p_k)^γ log p_k, `codes`; with `trace_weight`, the squared error of the forecast
    decoded from mean vectors, `trace`. A code that training never had in a horizon counts as the nearest that it had.
    A neuron's token belongs to its name, so that another session of the same cells knows it.

    Calcagno et al. 2024, arXiv:2412.07264. Here the codebook has its own pull and commitment (published, the two
    cancel), the frozen quantiser stays as it is, and source codes are the frozen encoder's.
    """

    Config = QuantFormerConfig
    capabilities = frozenset({"forecast", "sessions"})
    citation = "Calcagno S., et al. (2024). QuantFormer: learning to quantize for neural activity forecasting in mouse visual cortex. arXiv:2412.07264."
    config: QuantFormerConfig
    counts: Tensor
    neuron: Tensor

    def __init__(self, config: QuantFormerConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        if not layout.horizon:
            raise ConfigError(
                "QuantFormer needs to know how far to forecast.",
                "Found windows without a horizon.",
                "Name it: --set windows.horizon=SECONDS",
            )
        width, hidden = config.width, config.feedforward or 4 * config.width
        shape = (width, config.heads, config.layers, hidden, config.dropout, self.patches)
        book = Codebook(config.codebook, config.codes, width, config.commitment, config.levels)
        self.cells = Cells(layout.brain, max(1, len(layout.sessions)))
        self.quantizer = PatchQuantizer(config.patch, self.patches, *shape[:-1], book)
        self.embed, self.encoder = nn.Linear(config.patch, width), PatchTransformer(*shape)
        self.names, index = _vocabulary(layout, len(self.cells))
        self.register_buffer("neuron", index)
        self.register_buffer("counts", torch.zeros(book.size, dtype=torch.int64))
        self.neurons = nn.Embedding(len(self.names), width)
        self.stimulus = nn.Linear(layout.code.size, width) if layout.code else None
        self.across = TransformerBlock(width, config.heads, hidden, config.dropout, "post") if config.across else None
        self.head = nn.Linear(width, book.size)
        self.stage, self.taken = QUANTIZER, False

    @property
    def source(self) -> int:
        """Frames before the horizon."""
        return self.layout.frames - self.layout.horizon

    @property
    def ahead(self) -> int:
        """Patches of the horizon."""
        return -(-self.layout.horizon // self.config.patch)

    @property
    def patches(self) -> int:
        """Patches of a window."""
        return -(-self.source // self.config.patch) + self.ahead

    def stages(self) -> tuple[str, ...]:
        """First the vocabulary, then what is said with it."""
        return STAGES

    def begin(self, stage: str, batches: Iterable[Batch]) -> None:
        """Freeze what the stage does not train; give the forecaster the quantiser's encoder, and count the codes."""
        self.stage = stage
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name.startswith("quantizer.") == (stage == QUANTIZER))
        self.train(self.training)
        if stage == FORECASTER:
            if not self.taken:
                self.embed.load_state_dict(self.quantizer.embed.state_dict())
                self.encoder.load_state_dict(self.quantizer.encoder.state_dict())
            self.counts.zero_()  # so that every code counts as itself
            found = torch.zeros_like(self.counts)
            for batch in batches:
                codes, there = self._codes(batch)
                found += torch.bincount(codes[there], minlength=len(found))
            self.counts.copy_(found)

    def take_over(self, other: Backend) -> tuple[str, ...]:
        """Take the vocabulary and the forecaster of another QuantFormer, and the tokens of neurons that it knows.

        Raises
        ------
        ConfigError
            If it is another model, or one of another shape.
        """
        if not isinstance(other, QuantFormer) or self._shapes() != other._shapes():
            raise ConfigError(
                "QuantFormer cannot start from this run.",
                f"It holds a {type(other).__name__} of another shape, or one told of other stimuli.",
                "Give both the same patch, width, layers, codebook, window and horizon.",
            )
        own = self.state_dict()
        kept = {name: own[name] for name in own if name.startswith(PRIVATE)}
        self.load_state_dict(other.state_dict() | kept)
        known = {name: row for row, name in enumerate(other.names)}
        with torch.no_grad():
            for row, name in enumerate(self.names):
                if name in known:
                    self.neurons.weight[row] = other.neurons.weight[known[name]]
        self.taken = True
        return (QUANTIZER,)

    def _shapes(self) -> dict[str, torch.Size]:
        return {name: value.shape for name, value in self.state_dict().items() if not name.startswith(PRIVATE)}

    def train(self, mode: bool = True) -> QuantFormer:
        """Set the mode of everything but a frozen quantiser, which stays as it is."""
        super().train(mode)
        if self.stage != QUANTIZER:
            self.quantizer.eval()
        return self

    def prepare_sessions(self, frames: Iterable[tuple[int, np.ndarray]]) -> None:
        """Fit mean and standard deviation of every session's cells."""
        grouped: dict[int, list[np.ndarray]] = {}
        for session, chunk in frames:
            grouped.setdefault(session, []).append(chunk)
        for session, chunks in grouped.items():
            _, mean, variance = moments(chunks)
            inside = self.cells.brain.cpu().numpy().reshape(self.cells.space)
            if len(self.layout.cells) > 1:  # its own cells alone, not padded
                inside = np.ones(mean.shape, dtype=bool)
            self.cells.fit(mean[inside], variance[inside], session)

    def prepare(self, frames: Iterable[np.ndarray]) -> None:
        """Fit mean and standard deviation of a single session."""
        self.prepare_sessions((0, chunk) for chunk in frames)

    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Return the source as seen, then the forecast."""
        traces = self._traces(batch, batch.visible & batch.valid)
        logits = self._logits(traces, batch)
        chosen = self._vectors(logits)
        horizon = self._decoded(traces, chosen).flatten(1)[:, : self.layout.horizon]
        source = traces.values[:, : -self.ahead].flatten(1)[:, -self.source :]
        return Prediction(mean=self._restored(torch.cat([source, horizon], dim=1), batch))

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `patches`, `masked` and `commitment` in stage 1; `codes`, and `trace` if weighted, in stage 2."""
        return self._quantizer_loss(batch, generator) if self.stage == QUANTIZER else self._forecaster_loss(batch)

    def _quantizer_loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        traces = self._traces(batch, batch.valid, targets=True)
        rows = traces.there.any(-1).any(-1).nonzero()[:, 0]
        order = torch.randperm(len(rows), generator=generator)[: self.config.traces]
        values, there = (part[rows[order.to(rows.device)]] for part in traces)
        rank = torch.rand(values.shape[:2], generator=generator).argsort(1).argsort(1).to(values.device)
        hidden = (rank < round(self.config.mask * self.patches))[..., None]
        with torch.random.fork_rng(devices=[]):  # the library draws new codes from the global state
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            decoded, quantized = self.quantizer(values.masked_fill(hidden, 0.0), there.any(-1))
        error = (decoded - values) ** 2
        return {
            "patches": mean_where(error, there),
            "masked": mean_where(error, there & hidden),
            "commitment": quantized.commitment,
        }

    def _forecaster_loss(self, batch: Batch) -> dict[str, Tensor]:
        traces = self._traces(batch, batch.visible & batch.valid)
        logits, (codes, there) = self._logits(traces, batch), self._codes(batch)
        cross = functional.cross_entropy(logits.flatten(0, 1), codes.flatten(), reduction="none").view(codes.shape)
        focal = self._weights()[codes] * (1 - (-cross).exp()) ** self.config.gamma * cross
        parts = {"codes": mean_where(focal, there)}
        if self.config.trace_weight:
            wanted = self._traces(batch, batch.valid, targets=True)
            decoded = self._decoded(traces, logits.softmax(-1) @ self._book())
            error = (decoded - wanted.values[:, -self.ahead :]) ** 2
            parts["trace"] = self.config.trace_weight * mean_where(error, wanted.there[:, -self.ahead :])
        return parts

    def _traces(self, batch: Batch, seen: Tensor, targets: bool = False) -> Traces:
        """Cut windows into single traces, window by window; where nothing is seen, the last value holds."""
        frames = batch.target if targets else batch.x
        known = self.cells.mask(seen)
        z = self.cells.standardised(self.cells.gather(frames), known, self._session(batch))  # (time, batch, cell)
        z, known = (part.permute(1, 0, 2) for part in (z, known))
        z = hold(z, batch.t, known, batch.t)
        z, known = (part.transpose(1, 2).flatten(0, 1) for part in (z, known))  # (batch * cell, time)
        parts = [
            (z[:, : self.source], known[:, : self.source], True),
            (z[:, self.source :], known[:, self.source :], False),
        ]
        cut = [patched(values, self.config.patch, front=front) for values, _, front in parts]
        there = [_padded(mask, self.config.patch, front) for _, mask, front in parts]
        return Traces(torch.cat(cut, dim=1), torch.cat(there, dim=1))

    def _logits(self, traces: Traces, batch: Batch) -> Float[Tensor, "trace ahead code"]:
        values = torch.cat([traces.values[:, : -self.ahead], torch.zeros_like(traces.values[:, -self.ahead :])], dim=1)
        before = [self.neurons(self.neuron[self._session(batch)]).flatten(0, 1)]
        if self.stimulus is not None and batch.stimulus is not None:
            before.append(self.stimulus(batch.stimulus).repeat_interleave(len(self.cells), dim=0))
        tokens = self.encoder(self.embed(values), torch.stack(before, dim=1))
        if self.across is not None:
            tokens = self._mixed(tokens, traces)
        return self.head(tokens[:, -self.ahead :])

    def _mixed(self, tokens: Float[Tensor, "trace token width"], traces: Traces) -> Float[Tensor, "trace token width"]:
        """Let the neurons of a window attend to each other, token by token; those without data are not looked at."""
        block, count, many = self.across, len(self.cells), tokens.shape[1]
        if block is None:
            return tokens
        here = traces.there[:, : -self.ahead].any(-1).any(-1).unflatten(0, (-1, count))  # (batch, cell)
        allowed = here[:, None, :] | torch.eye(count, dtype=torch.bool, device=here.device)
        together = tokens.unflatten(0, (-1, count)).transpose(1, 2).flatten(0, 1)  # (batch * token, cell, width)
        mixed = block(together, allowed.repeat_interleave(many, dim=0))
        return mixed.unflatten(0, (-1, many)).transpose(1, 2).flatten(0, 1)

    def _codes(self, batch: Batch) -> tuple[Int[Tensor, "trace ahead"], Bool[Tensor, "trace ahead"]]:
        """Return the true codes of the horizon, unknown ones as the nearest known, and where there are data."""
        traces = self._traces(batch, batch.valid, targets=True)
        with torch.no_grad():
            codes = self.quantizer.codes(traces.values)[:, -self.ahead :]
        return self._known()[codes], traces.there[:, -self.ahead :].any(-1)

    def _known(self) -> Int[Tensor, " code"]:
        """Return what every code counts as."""
        if not self.counts.any():
            return torch.arange(len(self.counts), device=self.counts.device)
        book = self._book()
        distance = torch.cdist(book, book).masked_fill(self.counts == 0, torch.inf)
        return distance.argmin(1)

    def _weights(self) -> Float[Tensor, " code"]:
        """Return total / (codes in use · count of the code), to the power `balance`; 0 for codes not in use."""
        counts = self.counts.float()
        used = counts > 0
        share = counts.sum() / (used.sum() * counts.clamp(min=1))
        return (share**self.config.balance).where(used, 0.0) if used.any() else torch.ones_like(counts)

    def _book(self) -> Float[Tensor, "code width"]:
        return self.quantizer.codebook.vectors(torch.arange(len(self.counts), device=self.counts.device)).detach()

    def _vectors(self, logits: Float[Tensor, "trace ahead code"]) -> Float[Tensor, "trace ahead width"]:
        if self.config.decoding == "soft":
            return logits.softmax(-1) @ self._book()
        return self._book()[logits.masked_fill((self.counts == 0) & self.counts.any(), -torch.inf).argmax(-1)]

    def _decoded(
        self, traces: Traces, chosen: Float[Tensor, "trace ahead width"]
    ) -> Float[Tensor, "trace ahead sample"]:
        """Decode the horizon behind the source's own codes, which the frozen encoder gives with the horizon hidden."""
        source = torch.cat([traces.values[:, : -self.ahead], torch.zeros_like(traces.values[:, -self.ahead :])], dim=1)
        with torch.no_grad():
            known = self.quantizer.codebook.vectors(self.quantizer.codes(source)[:, : -self.ahead])
        return self.quantizer.decode(torch.cat([known, chosen], dim=1))[:, -self.ahead :]

    def _restored(self, z: Float[Tensor, "trace time"], batch: Batch) -> Float[Tensor, "batch time *space"]:
        frames = z.unflatten(0, (-1, len(self.cells))).permute(2, 0, 1)  # (time, batch, cell)
        session = self._session(batch)
        return self.cells.scatter(frames * self.cells.scale[session] + self.cells.mean[session])

    def _session(self, batch: Batch) -> Int[Tensor, " batch"]:
        return batch.session if len(self.cells.mean) > 1 else torch.zeros_like(batch.session)


def _padded(there: Bool[Tensor, "trace time"], patch: int, front: bool) -> Bool[Tensor, "trace patch sample"]:
    missing = -there.shape[1] % patch
    return functional.pad(there, (missing, 0) if front else (0, missing)).unflatten(1, (-1, patch))


def _vocabulary(layout: Layout, cells: int) -> tuple[tuple[str, ...], Int[Tensor, "session cell"]]:
    """Return the names of all neurons, and the number of each session's cells among them; 0 where there is no cell."""
    sessions = max(1, len(layout.sessions))
    own = layout.names or tuple(tuple(f"{session}/{cell}" for cell in range(cells)) for session in range(sessions))
    names = tuple(dict.fromkeys(name for session in own for name in session))
    place = {name: number for number, name in enumerate(names)}
    index = torch.zeros(sessions, cells, dtype=torch.int64)
    for row, session in enumerate(own):
        index[row, : len(session)] = torch.tensor([place[name] for name in session])
    return names, index
