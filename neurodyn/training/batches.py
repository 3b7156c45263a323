"""Windows to batches, in an order that only the seed and the epoch decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch

from neurodyn.backends.base import Backend
from neurodyn.backends.batch import Batch, Signal
from neurodyn.data.streaming import prefetch
from neurodyn.data.windows import Windows

PREPARE_WINDOWS = 64
PURPOSES = ("weights", "epoch", "order", "step", "validation", "hidden test", "attempt", "calibration")


def derive_seed(seed: int, purpose: str, *index: int) -> int:
    """Return an independent seed for one use, e.g. the masks of one step."""
    sequence = np.random.SeedSequence([seed, PURPOSES.index(purpose), *index])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)


def generator(seed: int, purpose: str, *index: int) -> torch.Generator:
    """Return a CPU generator with the derived seed."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, *index))


def model_sessions(windows: Windows, indices: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Return the model's number of each window's session, shape (window,)."""
    places = np.arange(len(windows.recordings)) if windows.places is None else np.array(windows.places)
    return places[windows.session[indices]]


def read_batch(windows: Windows, indices: np.ndarray | slice, hidden: np.ndarray | None = None) -> Batch:
    """Read windows as a Batch.

    Parameters
    ----------
    hidden
        Frames the model must not see, bool, shape (window, time).
    """
    signal, targets = _read(windows, indices, hidden)
    t = torch.from_numpy(windows.clock(indices).astype(np.float32))
    session = torch.from_numpy(model_sessions(windows, indices).astype(np.int64))
    stimulus = condition = None
    if windows.code is not None:
        stimulus, condition = map(torch.from_numpy, windows.stimulus(indices))
    responses = None if windows.rule is None else torch.from_numpy(windows.rule.labels(windows, indices))
    others = tuple(_read(other, indices, hidden)[0] for other in windows.others) or None
    told = (session, targets, stimulus, condition, responses, others, _ahead(windows, indices))
    return Batch(signal.x, t, signal.visible, signal.valid, *told)


def _read(
    windows: Windows, indices: np.ndarray | slice, hidden: np.ndarray | None
) -> tuple[Signal, torch.Tensor | None]:
    """Read one signal, and what a model should give where that is another variable."""
    values, mask = windows.values(indices)
    targets = None
    if windows.config.target is not None:
        wanted, known = windows.targets.values(indices)
        targets, mask = torch.from_numpy(wanted), mask & known
    visible = mask if hidden is None else mask & ~hidden.reshape(*hidden.shape, *[1] * len(windows.space))
    if windows.horizon:
        visible = visible.copy()
        visible[:, -windows.horizon :] = False
    return Signal(*map(torch.from_numpy, (values, visible, mask))), targets


def _ahead(windows: Windows, indices: np.ndarray | slice) -> Signal | None:
    """Read what follows the windows, none of it visible."""
    if not windows.ahead:
        return None
    values, mask = map(torch.from_numpy, windows.future(indices))
    return Signal(values, torch.zeros_like(mask), mask)


@dataclass(frozen=True)
class Chunks:
    """Every window once, NaN where not valid, for `Backend.prepare`; may be gone through again."""

    windows: Windows

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self.windows), PREPARE_WINDOWS):
            values, mask = self.windows.values(slice(start, start + PREPARE_WINDOWS))
            values[~mask] = np.nan
            yield values


def session_chunks(windows: Windows) -> Iterator[tuple[int, np.ndarray]]:
    """Yield every window once, session after session, with the session's own cells, for `Backend.prepare_sessions`."""
    for index in np.unique(windows.session):
        mine = windows.take(np.flatnonzero(windows.session == index))
        cells = slice(windows.cells[index]) if windows.cells else slice(None)
        for chunk in Chunks(mine):
            yield int(model_sessions(mine)[0]), chunk[..., cells]


@dataclass(frozen=True)
class MicroBatch:
    """What is computed at once of a batch.

    Parameters
    ----------
    batch
        Its windows.
    rows
        Their places in the whole batch, shape (window,).
    whole
        Windows of the whole batch.
    """

    batch: Batch
    rows: torch.Tensor
    whole: int

    def to(self, device: torch.device) -> MicroBatch:
        """Return it on another device; its places stay on the CPU."""
        return replace(self, batch=self.batch.to(device))


@dataclass(frozen=True)
class TrainingBatches:
    """The steps of one epoch, each of one micro-batch or several.

    Parameters
    ----------
    windows
        Training windows.
    batch
        Windows per step, over all ranks and micro-batches.
    steps
        Steps per epoch; None for one pass over the windows.
    seed, epoch
        Decide the order.
    rank, ranks
        This process and their number; every rank takes its share of each batch.
    accumulate
        Into how many micro-batches a rank cuts its share.
    """

    windows: Windows
    batch: int
    steps: int | None
    seed: int
    epoch: int
    rank: int = 0
    ranks: int = 1
    accumulate: int = 1

    def __len__(self) -> int:
        """Return the number of steps; a rest that is too small to give every micro-batch a window is left out."""
        if self.steps:
            return self.steps
        full, rest = divmod(len(self.windows), self.batch)
        return full + (rest >= self.ranks * self.accumulate)

    def __iter__(self) -> Iterator[tuple[MicroBatch, ...]]:
        rng = np.random.default_rng(derive_seed(self.seed, "order", self.epoch))
        order = rng.permutation(len(self.windows))
        while self.steps and order.size < self.steps * self.batch:
            order = np.concatenate([order, rng.permutation(len(self.windows))])
        asked = []
        for step in range(len(self)):
            chosen = order[step * self.batch : (step + 1) * self.batch]
            for number in range(self.accumulate):
                asked.append(Asked.share(chosen, number * self.ranks + self.rank, self.ranks * self.accumulate))
        read = read_micro_batches(self.windows, asked)
        for _ in range(len(self)):
            yield tuple(islice(read, self.accumulate))


@dataclass(frozen=True)
class Asked:
    """A micro-batch to be read.

    Parameters
    ----------
    windows
        Which windows, shape (window,).
    rows, whole
        As in `MicroBatch`.
    """

    windows: np.ndarray
    rows: np.ndarray
    whole: int

    @classmethod
    def share(cls, chosen: np.ndarray, number: int, pieces: int) -> Asked:
        """Ask for one of several micro-batches of a batch."""
        rows = np.arange(number, len(chosen), pieces)
        return cls(chosen[rows], rows, len(chosen))


def read_micro_batches(windows: Windows, asked: Sequence[Asked]) -> Iterator[MicroBatch]:
    """Read micro-batches one after another, from memory; from disk many together, as they lie there, and before they are due."""
    if not windows.streamed:
        for each in asked:
            yield MicroBatch(read_batch(windows, each.windows), torch.from_numpy(each.rows), each.whole)
        return
    blocks = list(_blocks(asked, windows.at_once))  # one in use, one read, one being read
    read = prefetch(read_batch(windows, np.concatenate([each.windows for each in block])) for block in blocks)
    for block, batch in zip(blocks, read, strict=True):
        start = 0
        for each in block:
            stop = start + len(each.windows)
            yield MicroBatch(batch.rows(slice(start, stop)), torch.from_numpy(each.rows), each.whole)
            start = stop


def _blocks(asked: Sequence[Asked], most: int) -> Iterator[list[Asked]]:
    """Group micro-batches until a group has `most` windows; the first are small, so that training need not wait for long."""
    block, size, allowed = [], 0, 1
    for each in asked:
        if block and size + len(each.windows) > min(most, allowed):
            yield block
            block, size, allowed = [], 0, 2 * allowed
        block.append(each)
        size += len(each.windows)
    if block:
        yield block


@dataclass(frozen=True)
class ValidationBatches:
    """Every window once, in order; every rank takes its share of each batch, or all of one too small to be shared.

    Parameters
    ----------
    windows
        Validation windows.
    batch
        Windows at a time, over all ranks.
    rank, ranks
        This process and their number.
    """

    windows: Windows
    batch: int
    rank: int = 0
    ranks: int = 1

    def __len__(self) -> int:
        return -(-len(self.windows) // self.batch)

    def __iter__(self) -> Iterator[MicroBatch]:
        asked = []
        for start in range(0, len(self.windows), self.batch):
            chosen = np.arange(start, min(start + self.batch, len(self.windows)))
            asked.append(Asked.share(chosen, *((self.rank, self.ranks) if len(chosen) >= self.ranks else (0, 1))))
        yield from read_micro_batches(self.windows, asked)


@dataclass(frozen=True)
class OrderedBatches:
    """Every window once, in order."""

    windows: Windows
    batch: int

    def __len__(self) -> int:
        return len(ValidationBatches(self.windows, self.batch))

    def __iter__(self) -> Iterator[Batch]:
        for micro_batch in ValidationBatches(self.windows, self.batch):
            yield micro_batch.batch


def prepare(backend: Backend, windows: Windows) -> None:
    """Fit what needs no gradient on windows."""
    if "sessions" in backend.capabilities:
        backend.prepare_sessions(session_chunks(windows))
    else:
        backend.prepare(Chunks(windows))
    backend.prepare_batches(OrderedBatches(windows, PREPARE_WINDOWS))
