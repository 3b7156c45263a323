"""Hide entries from a trained model, and have it fill them in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from neurodyn.backends.batch import Batch
from neurodyn.data.windows import Windows
from neurodyn.nn.masking import hide_blocks
from neurodyn.nn.moments import moments
from neurodyn.training.batches import Chunks, derive_seed, read_batch
from neurodyn.training.devices import choose_devices, reproducible
from neurodyn.training.hiding import Holes
from neurodyn.training.reconstruction import hidden_frames
from neurodyn.training.run import Run

BATCH = 16


@dataclass(frozen=True)
class Filling:
    """What was hidden in some windows of a signal, and what the model put there.

    Parameters
    ----------
    target
        What was there, shape (window, time, *space).
    where
        What was hidden and is known, bool, like `target`.
    level
        Mean of every entry over the part's windows, broadcast to `target`.
    mean, std, members
        What the model put there; its standard deviations and its ensemble, shape (window, member, time, *space), where it
        says how sure it is, else None.
    """

    target: np.ndarray
    where: np.ndarray
    level: np.ndarray
    mean: np.ndarray
    std: np.ndarray | None
    members: np.ndarray | None


def fill(run: Run, windows: Windows, place: int, holes: Holes) -> Iterator[Filling]:
    """Hide entries of a signal window by window, and yield what the model puts there, batch by batch.

    Parameters
    ----------
    place
        0 for the first signal, k for the k-th beside it.
    """
    level = moments(Chunks(windows.signals[place].targets))[1]
    with reproducible(run.config.training.threads, choose_devices("none")), torch.inference_mode():
        for start in range(0, len(windows), BATCH):
            indices = np.arange(start, min(start + BATCH, len(windows)))
            yield _filled(run, windows, indices, place, holes, level)


def _filled(run: Run, windows: Windows, indices: np.ndarray, place: int, holes: Holes, level: np.ndarray) -> Filling:
    batch = read_batch(windows, indices)
    signal = batch.signals[place]
    hidden = torch.from_numpy(hidden_entries(windows, indices, tuple(signal.x.shape[1:]), holes).copy())
    given = run.backend(hide_signals(batch, place, hidden, everything=holes.hide not in ("blocks", "channel")))
    given = given.signals[place]
    target = batch.target if place == 0 else signal.x
    std, members = (None if part is None else part.double().numpy() for part in (given.std, given.members))
    where = (hidden & signal.valid).numpy()
    return Filling(
        target.numpy(), where, np.broadcast_to(level, target.shape), given.mean.double().numpy(), std, members
    )


def hidden_entries(windows: Windows, indices: np.ndarray, shape: tuple[int, ...], holes: Holes) -> np.ndarray:
    """Choose what is hidden.

    Parameters
    ----------
    shape
        Of a window of the signal, (time, *space).

    Returns
    -------
    numpy.ndarray
        bool, shape (window, *shape).
    """
    frames = shape[0]
    count = holes.count(frames, windows.rate_hz)
    if holes.hide == "blocks":
        size = (count, *(holes.size if len(shape) == 3 else holes.size[-1:]))
        return np.concatenate([_blocks(windows, index, shape, size, holes) for index in indices])
    if holes.hide == "frames":
        when = hidden_frames(windows, indices, holes.seed)
    else:
        when = np.zeros((len(indices), frames), dtype=bool)
        count = min(count, frames)
        first = {"forecast": frames - count, "hindcast": 0}.get(holes.hide, (frames - count) // 2)
        when[:, first : first + count] = True
    return np.broadcast_to(when.reshape(*when.shape, *[1] * (len(shape) - 1)), (len(indices), *shape))


def _blocks(windows: Windows, index: int, shape: tuple[int, ...], size: tuple[int, ...], holes: Holes) -> np.ndarray:
    key = derive_seed(holes.seed, "hidden test", int(windows.session[index]), int(windows.first[index]))
    return hide_blocks(shape, size, torch.tensor([holes.share]), torch.Generator().manual_seed(key)).numpy()


def hide_signals(batch: Batch, place: int, hidden: torch.Tensor, everything: bool) -> Batch:
    """Return a batch without the hidden entries of one signal; `everything`: without those frames of any signal.

    Parameters
    ----------
    place
        0 for the first signal, k for the k-th beside it.
    hidden
        bool, like the signal.
    """
    frames = hidden.flatten(2).all(-1)

    def seen(visible: torch.Tensor, number: int) -> torch.Tensor:
        if number == place:
            return visible & ~hidden
        return visible & ~frames.reshape(*frames.shape, *[1] * (visible.ndim - 2)) if everything else visible

    first, *others = (
        replace(signal, visible=seen(signal.visible, number)) for number, signal in enumerate(batch.signals)
    )
    return replace(batch, visible=first.visible, others=tuple(others) or None)
