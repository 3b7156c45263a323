"""Score how well models tell hidden cells from the others, beside what linear models make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.core.errors import ConfigError
from neurodyn.data.scores import Score, blank_score
from neurodyn.data.windows import Windows
from neurodyn.evaluate.base import MINUS, ModelEvaluation
from neurodyn.metrics.alignment import are_counts, bits_per_spike
from neurodyn.metrics.cosmoothing import References, groups_of, r2_of_cells, r2_sums, spike_sums
from neurodyn.metrics.factor_analysis import most_factors
from neurodyn.metrics.intervals import block_length, bootstrap_interval

if TYPE_CHECKING:
    from neurodyn.training.run import Run

R2, BITS = "cosmoothing_r2", "cosmoothing_bits_per_spike"
OVER_TRIALS, GAIN = "_over_trials", "_gain"
MOST_FRAMES = 100_000  # of training windows, for the references: more make them slower, not better
WITHOUT_FACTORS = 20
FEWEST_CELLS = 3


class CosmoothingConfig(Params):
    """Which cells are hidden, and how what models say of them is scored."""

    part: Literal["train", "valid", "test"] = Field(default="test", description="windows scored")
    groups: int = Field(
        default=100,
        ge=2,
        description="most groups that the cells are dealt into, at random; one group after another is hidden, and with as many "
        "groups as cells each cell alone",
    )
    past_only: bool = Field(
        default=False,
        description="score the last frame of every window alone, of which nothing later tells; ridge regression reads the past alone",
    )
    dimensions: int | None = Field(
        default=None, gt=0, description="of PCA, factor analysis and GPFA (default: as many as the model has factors)"
    )
    bootstraps: int = Field(default=1000, ge=100, description="resamples for the intervals")
    seed: int = Field(default=0, ge=0, description="seed of the groups and of the resamples")


class Cosmoothing(ModelEvaluation):
    """How well models tell hidden cells from the others, beside what linear models make of it.

    Cells are hidden throughout a window, in groups that take turns; what the model gives for them is scored, in windows that
    share no frame unless only their last frames count. The same is
    asked of `References`, fitted to training windows: ridge regression on the others in the same frame, and at four time
    scales, PCA, factor analysis and GPFA of as many dimensions as the model has factors, at most as many as the cells can
    tell apart (Ledermann's bound).

    `cosmoothing_r2`: 1 − Σ (x − x̂)² / Σ (x − x̄)² of a cell over all frames, averaged over cells; the interval resamples
    cells, that of `cosmoothing_r2_over_trials` trials, or blocks of neighbouring windows where there are none.
    `cosmoothing_r2_gain`: the paired difference to factor analysis. Of counts also `cosmoothing_bits_per_spike`, the gain
    in Poisson log-likelihood over each cell's mean rate, per spike (Pei et al. 2021, Neural Latents Benchmark), of all cells
    pooled.
    """

    name = "cosmoothing"
    Config = CosmoothingConfig
    figure = "cosmoothing"
    labels: ClassVar = {R2: "R² of hidden cells", BITS: "Bits per spike"}
    config: CosmoothingConfig

    def score(self, sources: Sequence[Run]) -> Iterator[Score]:
        """Return rows of every model and reference: over cells, over trials, and cell by cell."""
        for run in sources:
            windows = run.windows
            _check(run, windows[self.config.part])
            for session in np.unique(windows[self.config.part].session):
                own = {name: some.take(np.flatnonzero(some.session == session)) for name, some in windows.items()}
                yield from self._of_session(run, own)

    def _of_session(self, run: Run, windows: dict[str, Windows]) -> Iterator[Score]:
        from neurodyn.training.cosmoothing import cells_from_others, factors_of

        config = self.config
        asked = windows[config.part] if config.past_only else windows[config.part].apart()
        target = asked.cell_values()
        cells = target.shape[-1]
        groups = groups_of(cells, config.groups, config.seed)
        dimensions = config.dimensions or min(factors_of(run.backend, asked) or WITHOUT_FACTORS, most_factors(cells))
        if not 0 < dimensions < cells:
            raise ConfigError(
                f"{dimensions} factors of {cells} cells are too many.",
                f"Expected at most {cells - 1}.",
                "Use fewer: --set dimensions=N",
            )
        train = windows["train"].apart(MOST_FRAMES).cell_values()
        references = References.fit(train, dimensions, asked.rate_hz, groups, config.past_only)
        said = {run.config.name: cells_from_others(run, asked, groups)} | references(target, groups)
        when = slice(-1, None) if config.past_only else slice(None)
        scored = _Scored(asked, target[:, when], {name: values[:, when] for name, values in said.items()})
        what = "each cell hidden" if len(groups) == cells else f"{len(groups)} groups of cells hidden"
        told = f"{asked.config.variable}, {what}{', from the past' if config.past_only else ''}"
        split = f"{asked.config.split}:{config.part}"
        row = blank_score(asked, run.config.name, run.config.training.seed, split, told)
        yield from scored.rows(row, f"factor analysis {dimensions}", config)


@dataclass(frozen=True)
class _Scored:
    """Windows of a session, and what models say of all their cells."""

    windows: Windows
    target: np.ndarray
    said: dict[str, np.ndarray]

    def rows(self, row: Score, against: str, config: CosmoothingConfig) -> Iterator[Score]:
        """Yield the rows of all models; the first of them is compared with `against`."""
        measures = {R2: (r2_sums, _mean_r2)} | ({BITS: (spike_sums, _pooled_bits)} if are_counts(self.target) else {})
        for metric, (sums_of, statistic) in measures.items():
            sums = {name: sums_of(self.target, values) for name, values in self.said.items()}
            for name, found in sums.items():
                yield from self._rows(replace(row, model=name), metric, [found], statistic, config)
            own = row.model
            pair = replace(row, features=f"{own}{MINUS}{against}")
            yield from self._rows(pair, metric + GAIN, [sums[own], sums[against]], statistic, config)
        for name, values in self.said.items():
            yield from _by_cell(replace(row, model=name), r2_of_cells(r2_sums(self.target, values).sum(0)))

    def _rows(
        self,
        row: Score,
        metric: str,
        sums: list[np.ndarray],
        statistic: Callable[[np.ndarray], float],
        config: CosmoothingConfig,
    ) -> Iterator[Score]:
        """Yield the value, or difference of two, with its interval over cells and over trials."""
        units = [_by_unit(found, self.windows) for found in sums]
        block = _block(self.windows)

        def value(chosen: Callable[[np.ndarray], np.ndarray]) -> float:
            first, *other = (statistic(chosen(found)) for found in units)
            return first - other[0] if other else first

        whole = value(lambda found: found.sum(0))
        for suffix, unit, count, chosen, length in (
            ("", "cells", units[0].shape[1], lambda found, index: found.sum(0)[index], 1),
            (OVER_TRIALS, _unit(self.windows), len(units[0]), lambda found, index: found[index].sum(0), block),
        ):
            low, high = bootstrap_interval(
                lambda index, chosen=chosen: value(lambda found: chosen(found, index)),
                count,
                block=length,
                resamples=config.bootstraps,
                seed=config.seed,
            )
            yield replace(row, metric=metric + suffix, value=whole, ci_low=low, ci_high=high, n=count, unit=unit)


def _mean_r2(sums: np.ndarray) -> float:
    found = r2_of_cells(sums)
    return float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")


def _pooled_bits(sums: np.ndarray) -> float:
    return bits_per_spike(sums.sum(0))


def _by_cell(row: Score, values: np.ndarray) -> Iterator[Score]:
    for cell, value in enumerate(values):
        yield replace(row, metric=R2, value=float(value), fold=f"cell {cell}", unit="frames")


def _unit(windows: Windows) -> str:
    return "trials" if (windows.trial >= 0).any() else "windows"


def _by_unit(sums: np.ndarray, windows: Windows) -> np.ndarray:
    """Add up over the windows of a trial; a window outside any stays alone."""
    alone = windows.trial.max(initial=0) + 1 + np.arange(len(windows))
    names, group = np.unique(np.where(windows.trial < 0, alone, windows.trial), return_inverse=True)
    added = np.zeros((names.size, *sums.shape[1:]))
    np.add.at(added, group, sums)
    return added


def _block(windows: Windows) -> int:
    """Return how many neighbouring units are resampled together: windows may share frames, trials do not."""
    if (windows.trial >= 0).any():
        return 1
    apart = np.diff(np.sort(windows.first))
    shared = windows.frames / max(1, int(np.median(apart))) if apart.size else 1
    return min(max(1, len(windows) // 2), max(block_length(len(windows)), int(np.ceil(shared))))


def _check(run: Run, windows: Windows) -> None:
    """Refuse what has no cells to be hidden, or no model of all of them.

    Raises
    ------
    ConfigError
        Saying what it needs.
    """
    can = run.backend.capabilities
    fit = {"reconstruct", "latents"} & can and not windows.horizon and windows.config.target is None
    if len(windows.space) == 1 and min(windows.cells) >= FEWEST_CELLS and fit and len(windows):
        return
    raise ConfigError(
        f"{run.config.name} has no cells to be told from the others.",
        f"Found windows of shape {windows.space} in '{windows.config.variable}', {len(windows)} of the part; expected at "
        f"least {FEWEST_CELLS} cells, and a model that reconstructs them.",
        "Train one: neurodyn train lfads RECORDING -o RUN",
    )
