"""Score how well models fill in what is hidden from them, and how honestly they say how sure they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator

from neurodyn.backends.base import Batch, Prediction
from neurodyn.core.config import Params
from neurodyn.core.errors import ConfigError
from neurodyn.data.scores import Score, write_evaluation
from neurodyn.data.windows import Windows
from neurodyn.metrics.intervals import block_length, bootstrap_interval
from neurodyn.metrics.probabilistic import crps_ensemble, crps_gaussian, inside, psnr, rank_histogram, spread_skill
from neurodyn.nn.masking import hide_blocks
from neurodyn.nn.moments import moments
from neurodyn.training.batches import Chunks, derive_seed, read_batch
from neurodyn.training.devices import choose_devices, reproducible
from neurodyn.training.reconstruction import blank_score, hidden_frames
from neurodyn.training.run import Run, load_run

BATCH = 16
BLOCK = 0.5
COVERAGE = (0.5, 0.9)
Statistic = Callable[[Mapping[str, float]], float]
Hide = Literal["blocks", "frames", "channel", "forecast", "hindcast", "interpolate"]


class ImputationScoreConfig(Params):
    """What is hidden, and how it is scored."""

    hide: Hide = Field(
        default="blocks",
        description="blocks of space and time, whole inner frames, a signal while the others are seen (channel), or the last, "
        "first or middle seconds of all signals",
    )
    signal: str | None = Field(default=None, description="signal that is hidden and scored (default: the variable)")
    share: float = Field(default=0.2, gt=0, le=1, description="share of the blocks that is hidden (hide: blocks)")
    seconds: float | None = Field(
        default=None,
        gt=0,
        description="how long a block lasts (default: 0.5 s), or how much is hidden (channel: default the whole window)",
    )
    size: tuple[int, int] = Field(
        default=(8, 8), description="height and width of a block, pixels; of traces, its cells"
    )
    part: Literal["train", "valid", "test"] = Field(default="test", description="windows scored")
    bootstraps: int = Field(default=1000, ge=100, description="resamples of windows for the intervals")
    seed: int = Field(default=0, ge=0, description="seed of what is hidden, and of the resamples")

    @model_validator(mode="before")
    @classmethod
    def _blocks_last(cls, given: Any) -> Any:
        """Blocks have a default length; what else is hidden has none."""
        if isinstance(given, dict) and given.get("hide", "blocks") == "blocks" and given.get("seconds") is None:
            return given | {"seconds": BLOCK}
        return given

    @model_validator(mode="after")
    def _sizes(self) -> ImputationScoreConfig:
        if min(self.size) < 1:
            raise ValueError(f"size {self.size}: at least one pixel each")
        if self.hide in ("forecast", "hindcast", "interpolate") and self.seconds is None:
            raise ValueError(f"hide: {self.hide} needs seconds")
        return self

    def count(self, frames: int, rate_hz: float) -> int:
        """Return how many of a window's frames a block lasts, or are hidden."""
        return frames if self.seconds is None else max(1, round(self.seconds * rate_hz))


def score_imputation(paths: Sequence[Path], out: Path, config: ImputationScoreConfig) -> Path:
    """Hide entries from models, window by window, and compare what they put there with what was there.

    What is hidden depends on the seed and on a window's session and first frame alone, so that all models, trained with
    whatever seed, are asked the same. Over hidden valid entries, in the target's units:

    `imputation_r2`: 1 − Σ (x − x̂)² / Σ (x − x̄)², x̄ the mean of the entry over the part; a window's own value has the same
    mean denominator per entry, so that windows average to the whole. `imputation_mse`; `imputation_psnr`, dB, against the
    range of the part's values. Of models that say how sure they are: `crps` of the normal distribution with their mean and
    standard deviation, `crps_ensemble` of the distribution that their members are, `spread_skill`, `coverage_50`
    and `coverage_90` of central intervals, and `rank_histogram`, a row per rank.

    Parameters
    ----------
    paths
        Run folders.
    out
        Folder for scores.csv (one row per window, and the pooled value with fold "all") and evaluate.json.

    Raises
    ------
    ConfigError
        If a model does not give the signal, or nothing is hidden.
    """
    runs = [load_run(path) for path in paths]
    scores = [score for run in runs for score in _of_run(run, config)]
    return write_evaluation(out, "imputation", scores, [path for run in runs for path in run.recordings], config)


def hidden_entries(
    windows: Windows, indices: np.ndarray, shape: tuple[int, ...], config: ImputationScoreConfig
) -> np.ndarray:
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
    count = config.count(frames, windows.rate_hz)
    if config.hide == "blocks":
        size = (count, *(config.size if len(shape) == 3 else config.size[-1:]))
        return np.concatenate([_blocks(windows, index, shape, size, config) for index in indices])
    if config.hide == "frames":
        when = hidden_frames(windows, indices, config.seed)
    else:
        when = np.zeros((len(indices), frames), dtype=bool)
        count = min(count, frames)
        first = {"forecast": frames - count, "hindcast": 0}.get(config.hide, (frames - count) // 2)
        when[:, first : first + count] = True
    return np.broadcast_to(when.reshape(*when.shape, *[1] * (len(shape) - 1)), (len(indices), *shape))


def _blocks(
    windows: Windows, index: int, shape: tuple[int, ...], size: tuple[int, ...], config: ImputationScoreConfig
) -> np.ndarray:
    key = derive_seed(config.seed, "hidden test", int(windows.session[index]), int(windows.first[index]))
    return hide_blocks(shape, size, torch.tensor([config.share]), torch.Generator().manual_seed(key)).numpy()


def _of_run(run: Run, config: ImputationScoreConfig) -> Iterator[Score]:
    windows = run.windows[config.part]
    asked = config.signal or run.config.windows.variable
    names = [signal.config.variable for signal in windows.signals]
    if asked not in names or not len(windows):
        raise ConfigError(
            f"{run.config.name} has nothing of '{asked}' to fill in.",
            f"It gives {', '.join(names)}; its part '{config.part}' has {len(windows)} windows.",
            "Name one of these: --set signal=NAME",
        )
    place = names.index(asked)
    sums = _Sums(windows.signals[place])
    devices = choose_devices("none")
    with reproducible(run.config.training.threads, devices), torch.inference_mode():
        for start in range(0, len(windows), BATCH):
            indices = np.arange(start, min(start + BATCH, len(windows)))
            sums.add(*_asked(run, windows, indices, place, config))
    yield from _scores(run, windows, sums, config)


def _asked(
    run: Run, windows: Windows, indices: np.ndarray, place: int, config: ImputationScoreConfig
) -> tuple[np.ndarray, np.ndarray, Prediction]:
    """Return what was to be found, where, and what the model put there."""
    batch = read_batch(windows, indices)
    signal = batch.signals[place]
    hidden = torch.from_numpy(hidden_entries(windows, indices, tuple(signal.x.shape[1:]), config).copy())
    prediction = run.backend(hide_signals(batch, place, hidden, everything=config.hide not in ("blocks", "channel")))
    target = batch.target if place == 0 else signal.x
    return target.numpy(), (hidden & signal.valid).numpy(), prediction.signals[place]


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


class _Sums:
    """Sums over hidden entries, window by window; ranks and the range of values over all of them."""

    def __init__(self, windows: Windows) -> None:
        self.level = moments(Chunks(windows.targets))[1]
        self.rows: list[dict[str, float]] = []
        self.ranks: np.ndarray | None = None
        self.low, self.high = np.inf, -np.inf

    def add(self, target: np.ndarray, where: np.ndarray, given: Prediction) -> None:
        """Take in a batch; `where` marks what was hidden and is known."""
        level = np.broadcast_to(self.level, target.shape)
        mean = given.mean.double().numpy()
        std, members = (None if part is None else part.double().numpy() for part in (given.std, given.members))
        for row, chosen in enumerate(where):
            x = target[row][chosen].astype(np.float64)
            found = {"count": x.size, "total": ((x - level[row][chosen]) ** 2).sum()}
            found["error"] = ((x - mean[row][chosen]) ** 2).sum()
            if std is not None:
                found |= _certainty(x, mean[row][chosen], std[row][chosen])
            if members is not None:
                found["ensemble"] = crps_ensemble(x, members[row][:, chosen], fair=False).sum()
                ranks = rank_histogram(x, members[row][:, chosen]) * x.size
                self.ranks = ranks if self.ranks is None else self.ranks + ranks
            self.rows.append({name: float(value) for name, value in found.items()})
            self.low, self.high = min(self.low, x.min(initial=np.inf)), max(self.high, x.max(initial=-np.inf))


def _certainty(x: np.ndarray, mean: np.ndarray, std: np.ndarray) -> dict[str, float]:
    covered = {f"inside_{100 * level:.0f}": inside(x, mean, std, level).sum() for level in COVERAGE}
    return {"variance": (std**2).sum(), "crps": crps_gaussian(x, mean, std).sum()} | covered


def _statistics(whole: Mapping[str, float], span: float) -> tuple[dict[str, Statistic], dict[str, Statistic]]:
    """Return what is scored, as functions of sums: of single windows and of all, and of all windows only."""
    per_entry = whole["total"] / whole["count"]
    single: dict[str, Statistic] = {
        "imputation_r2": lambda s: 1 - s["error"] / (s["count"] * per_entry),
        "imputation_mse": lambda s: s["error"] / s["count"],
    }
    pooled: dict[str, Statistic] = {"imputation_psnr": lambda s: psnr(s["error"] / s["count"], span)}
    if "crps" in whole:
        single["crps"] = lambda s: s["crps"] / s["count"]
        for level in COVERAGE:
            key = f"{100 * level:.0f}"
            single[f"coverage_{key}"] = lambda s, key=key: s[f"inside_{key}"] / s["count"]
        pooled["spread_skill"] = lambda s: spread_skill(s["variance"], s["error"])
    if "ensemble" in whole:
        single["crps_ensemble"] = lambda s: s["ensemble"] / s["count"]
    return single, pooled


def _scores(run: Run, windows: Windows, sums: _Sums, config: ImputationScoreConfig) -> Iterator[Score]:
    there = np.array([row["count"] > 0 for row in sums.rows])
    if not there.any():
        raise ConfigError(
            "Nothing is hidden.",
            "No block met an entry with data.",
            "Use larger ones: --set seconds=1 --set size=[8,8]",
        )
    kept, starts = [row for row in sums.rows if row["count"] > 0], windows.start[there]
    names, table = list(kept[0]), np.array([list(row.values()) for row in kept])

    def summed(index: np.ndarray | slice = slice(None)) -> dict[str, float]:
        return dict(zip(names, table[index].sum(0).tolist(), strict=True))

    single, pooled = _statistics(summed(), sums.high - sums.low)
    target = f"{config.signal or windows.config.variable}, {config.hide}"
    split = f"{windows.config.split}:{config.part}"
    row = blank_score(windows, run.config.name, run.config.training.seed, split, target)
    for metric, statistic in (single | pooled).items():
        low, high = bootstrap_interval(
            lambda index, statistic=statistic: statistic(summed(index)),
            len(table),
            block=block_length(len(table)),
            resamples=config.bootstraps,
            seed=config.seed,
        )
        yield replace(row, metric=metric, value=statistic(summed()), ci_low=low, ci_high=high, n=len(table))
    for metric, statistic in single.items():
        for start, one in zip(starts, kept, strict=True):
            yield replace(row, metric=metric, value=statistic(one), fold=f"{start:.3f} s")
    if sums.ranks is not None:
        for rank, share in enumerate(sums.ranks / sums.ranks.sum()):
            yield replace(row, metric="rank_histogram", value=float(share), fold=f"rank {rank}", n=len(table))
