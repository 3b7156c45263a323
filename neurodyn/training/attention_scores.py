"""Score the attention that a model gives to points it has not seen, against that it gives to them once they are seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from neurodyn.backends.base import Batch
from neurodyn.core.config import Params
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.scores import Score, write_evaluation
from neurodyn.data.windows import Windows
from neurodyn.metrics.intervals import bootstrap_interval
from neurodyn.training.batches import read_batch
from neurodyn.training.devices import Devices, reproducible
from neurodyn.training.run import Run, load_run

SAME_TIME = 1e-6
BATCH = 32
INTERPOLATED = "interpolated attention"


class AttentionScoreConfig(Params):
    """How upsampled attention is scored."""

    extra: int = Field(default=10, ge=1, description="points between the frames, the same for all windows")
    part: str = Field(default="test", description="windows scored: train, valid or test")
    bootstraps: int = Field(default=1000, ge=100, description="resamples of windows for the intervals")
    seed: int = Field(default=0, ge=0, description="seed of the extra points and of the resamples")


def score_attention(paths: Sequence[Path], out: Path, config: AttentionScoreConfig) -> Path:
    """Compare a model's upsampled attention with what it gives to the true points, window by window.

    Some points between the frames are added to each window, at times where truth is known. The reference is the map of
    frames and true points; the model's own map is that of frames and points that are interpolated linearly; the baseline
    is the map of the frames alone, interpolated linearly in both of its times, its rows made to sum to 1.
    `attention_error`: length of the difference over all entries whose row or column is an extra point, maps averaged over
    layers and heads. Fonseca et al. 2023, Fig. 3, 11 and 12; that baseline as in Caron et al. 2021.

    Parameters
    ----------
    paths
        Run folders of models with attention over continuous time, trained on recordings with `dense` truth.
    out
        Folder for scores.csv (one row per window, and their mean with fold "all") and evaluate.json.
    """
    runs = [load_run(path) for path in paths]
    scores = [score for run in runs for score in _of_run(run, config)]
    return write_evaluation(out, "attention", scores, [path for run in runs for path in run.recordings], config)


def _of_run(run: Run, config: AttentionScoreConfig) -> Iterator[Score]:
    if not {"attention", "continuous_time"} <= run.backend.capabilities:
        raise ConfigError(
            f"{run.config.name} has no attention between its frames.",
            f"It can: {', '.join(sorted(run.backend.capabilities))}.",
            "Give runs of cst.",
        )
    windows = run.windows[config.part]
    errors = {run.config.name: [], INTERPOLATED: []}
    with reproducible(run.config.training.threads, Devices(())), torch.inference_mode():
        for start in range(0, len(windows), BATCH):
            indices = np.arange(start, min(start + BATCH, len(windows)))
            own, interpolated = _errors(run, windows, indices, config)
            errors[run.config.name].append(own)
            errors[INTERPOLATED].append(interpolated)
    for model, found in errors.items():
        yield from _scores(run, windows, model, torch.cat(found).numpy(), config)


def _errors(run: Run, windows: Windows, indices: np.ndarray, config: AttentionScoreConfig) -> tuple[Tensor, Tensor]:
    frames = read_batch(windows, indices)
    full, extra = with_points(frames, *_true_points(windows, indices, config))
    hidden = replace(full, visible=full.visible & ~extra.reshape(*extra.shape, *[1] * (full.x.ndim - 2)))
    truth, own, coarse = (run.backend.attention_maps(batch, rows="all")[:, 0, 0] for batch in (full, hidden, frames))
    sites = coarse.shape[1] // frames.t.shape[1]
    fine = upsampled(coarse, frames.t, full.t, sites)
    added = extra.repeat_interleave(sites, dim=1)
    counted = added[:, :, None] | added[:, None, :]
    return tuple(((found - truth) * counted).flatten(1).norm(dim=1) for found in (own, fine))  # pyright: ignore[reportReturnType]


def _true_points(windows: Windows, indices: np.ndarray, config: AttentionScoreConfig) -> tuple[Tensor, Tensor]:
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
    if between.size < config.extra:
        raise DataError(
            f"Truth is known at {between.size} times between the frames.",
            f"Expected at least {config.extra}.",
            "Ask for fewer: --set extra=N",
        )
    chosen = np.sort(np.random.default_rng(config.seed).choice(between, config.extra, replace=False))
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


def _scores(
    run: Run, windows: Windows, model: str, errors: np.ndarray, config: AttentionScoreConfig
) -> Iterator[Score]:
    nothing = float("nan")
    low, high = bootstrap_interval(
        lambda index: float(errors[index].mean()), errors.size, resamples=config.bootstraps, seed=config.seed
    )
    whole = Score(
        session=windows.recordings[int(windows.session[0])].session,
        model=model,
        seed=run.config.training.seed,
        split=f"{run.config.windows.split}:{config.part}",
        target="attention",
        metric="attention_error",
        fold="all",
        value=float(errors.mean()),
        ci_low=low,
        ci_high=high,
        null_mean=nothing,
        p=nothing,
        n=errors.size,
        unit="windows",
    )
    yield whole
    for start, error in zip(windows.start, errors, strict=True):
        yield replace(whole, fold=f"{start:.3f} s", value=float(error), ci_low=nothing, ci_high=nothing, n=1)
