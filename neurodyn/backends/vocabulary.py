"""What models share that speak in a vocabulary of waveforms: it, who speaks, and of what."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from neurodyn.backends.base import Backend
from neurodyn.backends.batch import Batch
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.vocabulary import VocabularyConfig
from neurodyn.core.errors import ConfigError
from neurodyn.nn.cells import Cells
from neurodyn.nn.interpolation import hold
from neurodyn.nn.moments import moments
from neurodyn.nn.parts import mean_where, windows_of
from neurodyn.nn.quantizer import Codebook, PatchQuantizer, PatchTransformer, patched
from neurodyn.nn.transformer import TransformerBlock

QUANTIZER = "quantizer"
PRIVATE = ("cells.", "neuron", "neurons.", "begun.path.")  # what belongs to the cells of one recording


class Traces(NamedTuple):
    """Single traces cut into patches, source and horizon, z-scored: values, and where they are data."""

    values: Float[Tensor, "trace patch sample"]
    there: Bool[Tensor, "trace patch sample"]


class VocabularyModel(Backend):
    """A model trained in two stages: first the vocabulary, then what is said with it.

    Stage 1, `quantizer`: a vector-quantised autoencoder of single traces (`nn.quantizer.PatchQuantizer`), some patches
    hidden; loss: ‖x − x̂‖² over all (`patches`) and over hidden patches (`masked`), and `commitment`.
    Stage 2: the quantiser is frozen, and a copy of its encoder reads tokens of the neuron, the stimulus and the patches. A
    neuron's token belongs to its name, so that another session of the same cells knows it.
    """

    config: VocabularyConfig
    neuron: Tensor

    def __init__(self, config: VocabularyConfig, layout: Layout) -> None:
        super().__init__(config, layout)
        width, hidden = config.width, config.feedforward or 4 * config.width
        shape = (width, config.heads, config.layers, hidden, config.dropout)
        book = Codebook(config.codebook, config.codes, width, config.commitment, config.levels)
        self.cells = Cells(layout.brain, max(1, len(layout.sessions)))
        self.quantizer = PatchQuantizer(config.patch, self.patches, *shape, book)
        self.embed, self.encoder = nn.Linear(config.patch, width), PatchTransformer(*shape, self.read)
        self.names, index = _vocabulary(layout, len(self.cells))
        self.register_buffer("neuron", index)
        self.neurons = nn.Embedding(len(self.names), width)
        self.stimulus = nn.Linear(layout.code.size, width) if layout.code else None
        self.across = TransformerBlock(width, config.heads, hidden, config.dropout, "post") if config.across else None
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

    @property
    def read(self) -> int:
        """Patches that stage 2 reads."""
        return self.patches

    def begin(self, stage: str, batches: Iterable[Batch]) -> None:
        """Freeze what the stage does not train; give stage 2 the quantiser's encoder."""
        self.stage = stage
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name.startswith("quantizer.") == (stage == QUANTIZER))
        self.train(self.training)
        if stage != QUANTIZER and not self.taken:
            self.embed.load_state_dict(self.quantizer.embed.state_dict())
            places = self.quantizer.encoder.place[: self.read]
            self.encoder.load_state_dict(self.quantizer.encoder.state_dict() | {"place": places})

    def take_over(self, other: Backend) -> tuple[str, ...]:
        """Take another model's vocabulary; from a model of the same kind all that fits, too, and the neurons that it knows.

        Raises
        ------
        ConfigError
            If it has no vocabulary, or one of another shape.
        """
        if not isinstance(other, VocabularyModel) or _shapes(self.quantizer) != _shapes(other.quantizer):
            raise ConfigError(
                f"{type(self).__name__} cannot start from this run.",
                f"It holds a {type(other).__name__}, or a vocabulary of another shape.",
                "Give both the same patch, width, layers, codebook and window.",
            )
        self.quantizer.load_state_dict(other.quantizer.state_dict())
        if type(other) is type(self):
            own, given = self.state_dict(), other.state_dict()
            fits = {name for name in own if name in given and own[name].shape == given[name].shape}
            kept = {name: given[name] for name in fits if not name.startswith(PRIVATE)}
            self.load_state_dict(own | kept)
            self._know(other)
            self.taken = True
        return (QUANTIZER,)

    def _know(self, other: VocabularyModel) -> None:
        known = {name: row for row, name in enumerate(other.names)}
        with torch.no_grad():
            for row, name in enumerate(self.names):
                if name in known:
                    self.neurons.weight[row] = other.neurons.weight[known[name]]

    def train(self, mode: bool = True) -> VocabularyModel:
        """Set the mode of everything but a frozen quantiser, which stays as it is."""
        super().train(mode)
        if self.stage != QUANTIZER:
            self.quantizer.eval()
        return self

    def prepare_sessions(self, frames: Iterable[tuple[int, np.ndarray]]) -> None:
        """Fit mean and standard deviation of every session's cells."""
        for session, chunks in groupby(frames, key=lambda item: item[0]):
            _, mean, variance = moments(chunk for _, chunk in chunks)
            inside = self.cells.brain.cpu().numpy().reshape(self.cells.space)
            if len(self.layout.cells) > 1:  # its own cells alone, not padded
                inside = np.ones(mean.shape, dtype=bool)
            self.cells.fit(mean[inside], variance[inside], session)

    def prepare(self, frames: Iterable[np.ndarray]) -> None:
        """Fit mean and standard deviation of a single session."""
        self.prepare_sessions((0, chunk) for chunk in frames)

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return `patches`, `masked` and `commitment` in stage 1, the second stage's parts in stage 2."""
        return self._quantizer_loss(batch, generator) if self.stage == QUANTIZER else self._second_loss(batch)

    @abstractmethod
    def _second_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the parts of the second stage's loss."""

    def _quantizer_loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        traces = self._traces(batch, batch.valid, targets=True)
        rows = traces.there.any(-1).any(-1).nonzero()[:, 0]
        many = math.ceil(self.config.traces * len(batch.x) / windows_of(len(batch.x)))
        order = torch.randperm(len(rows), generator=generator)[:many]
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

    def offset(self, batch: Batch) -> Float[Tensor, "batch time cell"] | None:
        """Return what is taken off the z-scored frames before the model sees them; None for nothing."""
        return None

    def _traces(self, batch: Batch, seen: Tensor, targets: bool = False) -> Traces:
        """Cut windows, less their offset, into single traces; where nothing is seen, the last value holds."""
        frames = batch.target if targets else batch.x
        known = self.cells.mask(seen)
        z = self.cells.standardised(self.cells.gather(frames), known, self._session(batch))  # (time, batch, cell)
        z, known = (part.permute(1, 0, 2) for part in (z, known))
        z = hold(z, batch.t, known, batch.t)
        if (offset := self.offset(batch)) is not None:
            z = z - offset
        z, known = (part.transpose(1, 2).flatten(0, 1) for part in (z, known))  # (batch * cell, time)
        parts = [
            (z[:, : self.source], known[:, : self.source], True),
            (z[:, self.source :], known[:, self.source :], False),
        ]
        cut = [patched(values, self.config.patch, front=front) for values, _, front in parts]
        there = [_padded(mask, self.config.patch, front) for _, mask, front in parts]
        return Traces(torch.cat(cut, dim=1), torch.cat(there, dim=1))

    def _tokens(
        self,
        values: Float[Tensor, "trace patch sample"],
        here: Bool[Tensor, " trace"],
        batch: Batch,
        *more: Float[Tensor, "trace width"],
        keep: slice,
    ) -> Float[Tensor, "trace kept width"]:
        """Read patches behind tokens of their neuron and the stimulus, and `more` before these; return those of `keep`."""
        before = [*more, self.neurons(self.neuron[self._session(batch)]).flatten(0, 1)]
        if self.stimulus is not None and batch.stimulus is not None:
            before.append(self.stimulus(batch.stimulus).repeat_interleave(len(self.cells), dim=0))
        tokens = self.encoder(self.embed(values), torch.stack(before, dim=1), keep)
        return tokens if self.across is None else self._mixed(self.across, tokens, here)

    def _mixed(
        self,
        block: TransformerBlock,
        tokens: Float[Tensor, "trace token width"],
        here: Bool[Tensor, " trace"],
    ) -> Float[Tensor, "trace token width"]:
        """Let the neurons of a window attend to each other, token by token; those without data are not looked at."""
        count, many = len(self.cells), tokens.shape[1]
        allowed = here.unflatten(0, (-1, count))[:, None, :] | torch.eye(count, dtype=torch.bool, device=here.device)
        together = tokens.unflatten(0, (-1, count)).transpose(1, 2).flatten(0, 1)  # (batch * token, cell, width)
        mixed = block(together, allowed.repeat_interleave(many, dim=0))
        return mixed.unflatten(0, (-1, many)).transpose(1, 2).flatten(0, 1)

    def _restored(self, z: Float[Tensor, "trace time"], batch: Batch) -> Float[Tensor, "batch time *space"]:
        frames = z.unflatten(0, (-1, len(self.cells))).permute(2, 0, 1)  # (time, batch, cell)
        if (offset := self.offset(batch)) is not None:
            frames = frames + offset.transpose(0, 1)
        session = self._session(batch)
        return self.cells.scatter(frames * self.cells.scale[session] + self.cells.mean[session])

    def _session(self, batch: Batch) -> Int[Tensor, " batch"]:
        return batch.session if len(self.cells.mean) > 1 else torch.zeros_like(batch.session)


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in module.state_dict().items()}


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
