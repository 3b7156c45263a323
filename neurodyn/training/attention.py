"""The attention that a model gives to points it has not seen, beside that it gives to them once they are seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from neurodyn.backends.batch import Batch
from neurodyn.core.errors import DataError
from neurodyn.data.windows import Windows
from neurodyn.training.batches import read_batch
from neurodyn.training.devices import Devices, reproducible
from neurodyn.training.run import Run

SAME_TIME = 1e-6
BATCH = 32
INTERPOLATED = "interpolated attention"


def attention_errors(run: Run, part: str, extra: int, seed: int) -> dict[str, np.ndarray]:
    """Compare a model's attention to points that it has not seen with what it gives to them once they are seen.

    Some points between the frames are added to each window, at times where truth is known. The reference is the map of
    frames and true points; the model's own map is that of frames and points that are interpolated linearly; the baseline
    is the map of the frames alone, interpolated linearly in both of its times, its rows made to sum to 1.

    Parameters
    ----------
    part
        Which windows: train, valid or test.
    extra
        Points between the frames, the same for all windows.
    seed
        Seed of the choice of points.

    Returns
    -------
    dict
        Of the model and of the baseline, by name: length of the difference over all entries whose row or column is an
        extra point, maps averaged over layers and heads, shape (window,).
    """
    windows = run.windows[part]
    errors = {run.config.name: [], INTERPOLATED: []}
    with reproducible(run.config.training.threads, Devices(())), torch.inference_mode():
        for start in range(0, len(windows), BATCH):
            indices = np.arange(start, min(start + BATCH, len(windows)))
            own, interpolated = _errors(run, windows, indices, _true_points(windows, indices, extra, seed))
            errors[run.config.name].append(own)
            errors[INTERPOLATED].append(interpolated)
    return {model: torch.cat(found).numpy() for model, found in errors.items()}


def _errors(run: Run, windows: Windows, indices: np.ndarray, points: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    frames = read_batch(windows, indices)
    full, extra = with_points(frames, *points)
    hidden = replace(full, visible=full.visible & ~extra.reshape(*extra.shape, *[1] * (full.x.ndim - 2)))
    truth, own, coarse = (run.backend.attention_maps(batch, rows="all")[:, 0, 0] for batch in (full, hidden, frames))
    sites = coarse.shape[1] // frames.t.shape[1]
    fine = upsampled(coarse, frames.t, full.t, sites)
    added = extra.repeat_interleave(sites, dim=1)
    counted = added[:, :, None] | added[:, None, :]
    return tuple(((found - truth) * counted).flatten(1).norm(dim=1) for found in (own, fine))  # pyright: ignore[reportReturnType]


def _true_points(windows: Windows, indices: np.ndarray, extra: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw times between the frames, and read what is true there, shapes (point,) and (window, point, *space)."""
    recording = windows.recordings[int(windows.session[indices[0]])]
    truth = recording.table("truth")
    if truth is None or "dense" not in truth:
        raise DataError(
            f"Recording '{recording.session}' does not say what is true between its frames.",
            "Expected truth/dense.",
            "Simulate one: neurodyn simulate spirals -o FILE",
        )
    times, clock = truth["query"].values, windows.clock()
    between = np.flatnonzero((np.abs(times[:, None, None] - clock[None]) > SAME_TIME).all((1, 2)))
    if between.size < extra:
        raise DataError(
            f"Truth is known at {between.size} times between the frames.",
            f"Expected at least {extra}.",
            "Ask for fewer: --set extra=N",
        )
    chosen = np.sort(np.random.default_rng(seed).choice(between, extra, replace=False))
    dense = truth["dense"].values[windows.trial[indices]][:, chosen]
    return torch.from_numpy(times[chosen].astype(np.float32)), torch.from_numpy(dense.astype(np.float32))


def with_points(batch: Batch, times: Tensor, values: Tensor) -> tuple[Batch, Tensor]:
    """Insert points into windows, in order of time.

    Parameters
    ----------
    times
        Shape (point,).
    values
        Shape (window, point, *space).

    Returns
    -------
    Batch
        With frames and points, all visible.
    Tensor
        True where a point was inserted, shape (window, time).
    """
    count = len(batch.t)
    t = torch.cat([batch.t, times.expand(count, -1)], dim=1)
    order = t.argsort(1)
    extra = order >= batch.t.shape[1]
    index = order.reshape(*order.shape, *[1] * (batch.x.ndim - 2)).expand(-1, -1, *batch.x.shape[2:])
    there = batch.valid[:, :1].expand_as(values)
    x, visible, valid = (
        torch.cat([frames, points], dim=1).gather(1, index)
        for frames, points in ((batch.x, values), (batch.visible, there), (batch.valid, there))
    )
    return Batch(x, t.gather(1, order), visible, valid, batch.session), extra


def upsampled(maps: Tensor, t: Tensor, wanted: Tensor, sites: int) -> Tensor:
    """Interpolate maps linearly in the times of queries and keys; rows sum to 1 again.

    Parameters
    ----------
    maps
        Shape (window, time * site, time * site).
    t, wanted
        Times of the maps and of the result, increasing, shapes (window, time) and (window, more).
    """
    right = torch.searchsorted(t.contiguous(), wanted.contiguous()).clamp(1, t.shape[1] - 1)
    start, stop = t.gather(1, right - 1), t.gather(1, right)
    share = ((wanted - start) / (stop - start)).clamp(0, 1)
    weights = torch.zeros(*wanted.shape, t.shape[1])
    weights.scatter_(2, (right - 1)[..., None], (1 - share)[..., None]).scatter_add_(
        2, right[..., None], share[..., None]
    )
    whole = torch.einsum("bst,bij->bsitj", weights, torch.eye(sites).expand(len(t), -1, -1)).flatten(3).flatten(1, 2)
    fine = whole @ maps @ whole.mT
    return fine / fine.sum(-1, keepdim=True)
