"""Curves of a decoding: scores along trials, over numbers of cells, and from one time of a trial to another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from scipy.stats import t as student

from neurodyn.core.log import Report, nobody, silent, within
from neurodyn.data.curves import REACHED, Curve, Kind
from neurodyn.decode.crossval import CrossValidation
from neurodyn.decode.design import Design
from neurodyn.decode.features import build_features, feature_names
from neurodyn.decode.intervals import covered, tested_trials
from neurodyn.decode.labels import Labels
from neurodyn.decode.outcome import Outcome, chance_level, interval, joined, outcome
from neurodyn.decode.protocol import make_validation
from neurodyn.decode.scoring import metric_values
from neurodyn.decode.settings import DecodeConfig
from neurodyn.decode.sliding import slide
from neurodyn.decode.source import Source
from neurodyn.decode.splits import Fold
from neurodyn.decode.tasks import default_decoder
from neurodyn.metrics.nulls import largest_p

LIMITS = {"accuracy": (0.0, 1.0), "mean cosine": (-1.0, 1.0), "r2": (-np.inf, 1.0)}


def make_curves(source: Source, labels: Labels, config: DecodeConfig, progress: Report = silent) -> list[Curve]:
    """Make the curves that are asked for, of the signal of one session's windows.

    All points of a curve share folds and shuffles. Times are those of the last frame of a window, so that a score at a time
    rests on nothing later; p is corrected for all points by the largest score of each shuffle.

    Parameters
    ----------
    source, labels
        Windows of one session that can be decoded, and their labels.
    progress
        Called with the curve that is made, and the share of all that is done.
    """
    decoder = default_decoder(config, labels.task)
    maker = _Maker(source, make_validation(labels, decoder, config.params, config.protocols()[0]), config, decoder)
    makers = {"time": maker.over_time, "cells": maker.over_cells, "generalise": maker.across_times}
    curves = []
    for number, kind in enumerate(dict.fromkeys(config.curves)):
        tell = within(progress, number, len(config.curves))
        curves.append(makers[kind](lambda share, tell=tell, kind=kind: tell(f"{labels.name}, curve: {kind}", share)))
    return curves


@dataclass(frozen=True)
class _Maker:
    source: Source
    validation: CrossValidation
    config: DecodeConfig
    decoder: str

    def over_time(self, tell: Callable[[float], None]) -> Curve:
        """Decode from every window that slides along trials."""
        slid, found = slide(self.source, self.config), []
        for rows in slid.rows:
            found.append(outcome(self.validation, {"": rows}, nobody))
            tell(len(found) / len(slid.rows))
        metric = found[0].primary
        columns = np.array([one.pooled[metric].mean(axis=0) for one in found])
        bands = np.array([interval(metric, one.evidence, self.validation.protocol) for one in found])
        tested = tested_trials(found[0].evidence)
        covers = f"over time: intervals are {covered(tested, self.validation.decoder.refits)}"
        axes = {"start_s": slid.start, "end_s": slid.end}
        words = (f"over time: p is corrected for {len(columns)} times by the largest score of each shuffle", covers)
        return self._curve("time", slid.name, metric, axes, columns, bands, tested, words)

    def over_cells(self, tell: Callable[[float], None]) -> Curve:
        """Decode from random draws of cells, and from all of them as the table does."""
        name = feature_names(self.source, self.config)[0]
        rows = build_features(name, self.source, self.config)
        count = int(self.source.entries.sum())
        sizes = [*(2**k for k in range((count - 1).bit_length())), count]
        alone = replace(self.validation, design=_unshuffled(self.validation.design))
        points: list[tuple[float, float, float]] = []
        whole, draws = None, []
        for size in sizes:
            drawn = _draws(count, size, self.config.curve_draws, self.config.seed)
            validation = self.validation if size == count else alone
            outcomes = [outcome(validation, {"": _of_cells(rows, count, cells)}, nobody) for cells in drawn]
            whole = outcomes[-1]
            points.append(_mean_of(outcomes, validation))
            draws.append(len(drawn))
            tell(len(points) / len(sizes))
        if whole is None:
            raise RuntimeError("no cells")
        metric, tested = whole.primary, tested_trials(whole.evidence)
        columns = np.full((len(sizes), self.validation.design.columns.shape[1]), np.nan)
        columns[:, 0], columns[-1] = [value for value, *_ in points], whole.pooled[metric].mean(axis=0)
        axes = {"cells": np.array(sizes, dtype=float), "draws": np.array(draws, dtype=float)}
        covers = covered(tested, self.validation.decoder.refits)
        words = (
            f"over cells: intervals are {covers}, and for the mean over all draws",
            "over cells: p is that of all cells alone",
        )
        return self._curve("cells", name, metric, axes, columns, np.array(points)[:, 1:], tested, words)

    def across_times(self, tell: Callable[[float], None]) -> Curve:
        """Train at one time of a trial and test at every other, on trials that are never trained on."""
        slid = slide(self.source, self.config)
        times, samples, _ = slid.rows.shape
        tall = slid.rows.reshape(times * samples, -1)
        labels = _repeated(self.validation.labels, times)
        scores = []
        for time in range(times):
            design = _tested_everywhere(self.validation.design, time, times)
            sums = replace(self.validation, labels=labels, design=design).run({"": tall}, nobody, refitted=False).sums
            scores.append(next(iter(metric_values(self.validation.task, sums).items())))
            tell(len(scores) / times)
        metric = scores[0][0]
        columns = np.concatenate([values.mean(axis=0) for _, values in scores])
        axes = {
            "train_start_s": np.repeat(slid.start, times),
            "train_end_s": np.repeat(slid.end, times),
            "test_start_s": np.tile(slid.start, times),
            "test_end_s": np.tile(slid.end, times),
        }
        said = f"p is corrected for {len(columns)} pairs of times by the largest score of each shuffle"
        words = (f"across times: {said}", "across times: there are no intervals")
        tested = np.unique(np.concatenate([fold.test for fold in self.validation.design.folds])).size
        bands = np.full((len(columns), 2), np.nan)
        return self._curve("generalise", slid.name, metric, axes, columns, bands, tested, words)

    def _curve(
        self,
        kind: Kind,
        features: str,
        metric: str,
        axes: dict[str, np.ndarray],
        columns: np.ndarray,
        bands: np.ndarray,
        tested: int,
        words: tuple[str, ...],
    ) -> Curve:
        labels, design = self.validation.labels, self.validation.design
        chance = 0.0 if metric == "r2" else chance_level(metric, labels, design)[0]
        null = columns[:, 1:]
        there = null.size > 0 and not np.isnan(null).any()
        low, high = np.percentile(null, [2.5, 97.5], axis=1) if null.size else np.full((2, len(columns)), np.nan)
        p = (1 + (null >= columns[:, :1] - 1e-9).sum(axis=1)) / (1 + null.shape[1])
        unknown = np.isnan(null).any(axis=1) | (null.shape[1] == 0)
        return Curve(
            kind=kind,
            session=labels.session,
            target=labels.name,
            decoder=self.decoder,
            split=self.validation.protocol.split,
            features=features,
            metric=metric,
            axes=axes,
            value=columns[:, 0],
            ci_low=bands[:, 0],
            ci_high=bands[:, 1],
            shuffled_low=low,
            shuffled_high=high,
            p=np.where(unknown, np.nan, p),
            p_corrected=largest_p(columns) if there else np.full(len(columns), np.nan),
            chance=chance,
            threshold=_threshold(null) if there else float("nan"),
            n=tested,
            unit=labels.unit,
            note="; ".join(filter(None, (*words, *design.null.sentences, labels.taken, labels.note))),
        )


def _threshold(null: np.ndarray) -> float:
    """Return what a score must exceed for a corrected p of at most .05; NaN where there are too few shuffles."""
    allowed = int(REACHED * (1 + null.shape[1]) + 1e-9)  # of the true labels and the shuffles, true ones included
    largest = np.sort(null.max(axis=0))[::-1]
    return float(largest[allowed - 1]) if allowed else float("nan")


def _unshuffled(design: Design) -> Design:
    return replace(design, columns=design.columns[:, :1])


def _draws(count: int, size: int, draws: int, seed: int) -> list[np.ndarray]:
    """Return which cells to take: all sets of so many where there are few, else random ones, shape (size,) each."""
    if comb(count, size) <= draws:
        return [np.array(cells) for cells in combinations(range(count), size)]
    rng = np.random.default_rng([seed, 3, size])
    if size == 1:
        return [np.array([cell]) for cell in rng.permutation(count)[:draws]]
    return [np.sort(rng.permutation(count)[:size]) for _ in range(draws)]


def _of_cells(rows: np.ndarray, count: int, cells: np.ndarray) -> np.ndarray:
    """Return the columns of some cells: rows have one column per cell, or several such blocks one after another."""
    return rows.reshape(len(rows), -1, count)[:, :, cells].reshape(len(rows), -1)


def _mean_of(outcomes: list[Outcome], validation: CrossValidation) -> tuple[float, float, float]:
    """Return the mean over draws, and its interval: that over trials, and the error of a mean of so few draws, in squares."""
    metric = outcomes[0].primary
    values = np.array([one.pooled[metric][:, 0].mean() for one in outcomes])
    low, high = interval(metric, joined([one.evidence for one in outcomes]), validation.protocol)
    if values.size == 1:
        return float(values[0]), low, high
    value = float(values.mean())
    error = float(student.ppf(0.975, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size))
    ends = np.array([value - np.hypot(value - low, error), value + np.hypot(high - value, error)])
    low, high = np.clip(ends, *LIMITS[metric])
    return value, float(low), float(high)


def _repeated(labels: Labels, times: int) -> Labels:
    """Return labels once for every time, one time after another."""
    tiled: dict[str, Any] = {name: np.tile(getattr(labels, name), times) for name in ("target", "groups", "times")}
    return replace(labels, **tiled)


def _tested_everywhere(design: Design, time: int, times: int) -> Design:
    """Return a design whose folds train at one time and test at all; its groups are the times that are tested."""
    samples = len(design.groups)
    begin = np.arange(times)[:, None] * samples
    folds = [
        Fold(fold.repeat, fold.number, fold.train + time * samples, (begin + fold.test).ravel())
        for fold in design.folds
    ]
    columns = np.tile(design.columns, (times, 1))
    return replace(design, folds=folds, columns=columns, groups=np.repeat(np.arange(times), samples))
