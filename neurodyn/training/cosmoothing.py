"""Hide cells from a model, and have it say from the others what they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from neurodyn.backends.base import Backend
from neurodyn.data.windows import Windows
from neurodyn.training.batches import read_batch
from neurodyn.training.devices import choose_devices, reproducible
from neurodyn.training.run import Run

BATCH = 64


def factors_of(backend: Backend, windows: Windows) -> int | None:
    """Return how many latents a frame has; None where the model gives none."""
    with torch.inference_mode():
        latents = backend(read_batch(windows, np.arange(1))).latents
    return None if latents is None else latents.shape[-1]


def cells_from_others(run: Run, windows: Windows, groups: Sequence[np.ndarray]) -> np.ndarray:
    """Return what a trained model says of cells that are hidden group by group, throughout a window.

    Parameters
    ----------
    windows
        Of one session.
    groups
        Numbers of the cells hidden together.

    Returns
    -------
    numpy.ndarray
        In the data's unit, shape (window, time, cell), of the cells that are in a group.
    """
    with reproducible(run.config.training.threads, choose_devices("none")):
        return hidden_cells(run.backend, windows, groups)


def hidden_cells(backend: Backend, windows: Windows, groups: Sequence[np.ndarray]) -> np.ndarray:
    """Return what `cells_from_others` does, of a model in evaluation mode on the CPU."""
    cells = 1 + max(int(group.max()) for group in groups)
    found = np.empty((len(windows), windows.frames, cells), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(windows), BATCH):
            rows = slice(start, min(start + BATCH, len(windows)))
            batch = read_batch(windows, np.arange(rows.start, rows.stop))
            for group in groups:
                visible = batch.visible.clone()
                visible[..., torch.from_numpy(group)] = False
                found[rows, :, group] = backend(replace(batch, visible=visible)).mean[..., group]
    return found
