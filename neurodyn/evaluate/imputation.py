"""Score how well models fill in what is hidden from them, and how honestly they say how sure they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from neurodyn.core.errors import ConfigError
from neurodyn.data.scores import Score, blank_score
from neurodyn.data.windows import Windows
from neurodyn.evaluate.base import ModelEvaluation
from neurodyn.metrics.intervals import block_length, bootstrap_interval
from neurodyn.metrics.probabilistic import crps_ensemble, crps_gaussian, inside, psnr, rank_histogram, spread_skill
from neurodyn.training.hiding import Holes

if TYPE_CHECKING:
    from neurodyn.training.filling import Filling
    from neurodyn.training.run import Run

COVERAGE = (0.5, 0.9)
Statistic = Callable[[Mapping[str, float]], float]


class ImputationConfig(Holes):
    """What is hidden, and how it is scored."""

    signal: str | None = Field(default=None, description="signal that is hidden and scored (default: the variable)")
    part: Literal["train", "valid", "test"] = Field(default="test", description="windows scored")
    bootstraps: int = Field(default=1000, ge=100, description="resamples of windows for the intervals")
    seed: int = Field(default=0, ge=0, description="seed of what is hidden, and of the resamples")


class Imputation(ModelEvaluation):
    """How well models fill in what is hidden from them, and how honestly they say how sure they are.

    What is hidden depends on the seed and on a window's session and first frame alone, so that all models, trained with
    whatever seed, are asked the same. Over hidden valid entries, in the target's units:

    `imputation_r2`: 1 − Σ (x − x̂)² / Σ (x − x̄)², x̄ the mean of the entry over the part; a window's own value has the same
    mean denominator per entry, so that windows average to the whole. `imputation_mse`; `imputation_psnr`, dB, against the
    range of the part's values. Of models that say how sure they are: `crps` of the normal distribution with their mean and
    standard deviation, `crps_ensemble` of the distribution that their members are, `spread_skill`, `coverage_50`
    and `coverage_90` of central intervals, and `rank_histogram`, a row per rank.
    """

    name = "imputation"
    Config = ImputationConfig
    figure = "imputation"
    config: ImputationConfig

    def score(self, sources: Sequence[Run]) -> Iterator[Score]:
        """Return a row per window, and the pooled value with fold "all"."""
        for run in sources:
            yield from self._of_run(run)

    def _of_run(self, run: Run) -> Iterator[Score]:
        from neurodyn.training.filling import fill

        windows = run.windows[self.config.part]
        asked = self.config.signal or run.config.windows.variable
        names = [signal.config.variable for signal in windows.signals]
        if asked not in names or not len(windows):
            raise ConfigError(
                f"{run.config.name} has nothing of '{asked}' to fill in.",
                f"It gives {', '.join(names)}; its part '{self.config.part}' has {len(windows)} windows.",
                "Name one of these: --set signal=NAME",
            )
        sums = _Sums()
        for batch in fill(run, windows, names.index(asked), self.config):
            sums.add(batch)
        yield from _scores(run, windows, sums, self.config)


class _Sums:
    """Sums over hidden entries, window by window; ranks and the range of values over all of them."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.ranks: np.ndarray | None = None
        self.low, self.high = np.inf, -np.inf

    def add(self, batch: Filling) -> None:
        """Take in a batch."""
        level, mean, std, members = batch.level, batch.mean, batch.std, batch.members
        for row, chosen in enumerate(batch.where):
            x = batch.target[row][chosen].astype(np.float64)
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


def _scores(run: Run, windows: Windows, sums: _Sums, config: ImputationConfig) -> Iterator[Score]:
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
