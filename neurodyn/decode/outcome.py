"""What cross-validation finds for one feature: scores, what their intervals are made of, and the level of knowing nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from neurodyn.decode.crossval import CrossValidation, Forms
from neurodyn.decode.design import Design, shuffled
from neurodyn.decode.intervals import NULL_DRAWS, Evidence, Refits, fixed_interval, score_interval
from neurodyn.decode.labels import Labels
from neurodyn.decode.scoring import metric_values
from neurodyn.decode.settings import Protocol
from neurodyn.decode.splits import Fold
from neurodyn.metrics.circular import constant_guess


@dataclass(frozen=True)
class Outcome:
    """Scores of one feature: metric -> (repeat, column), those of each fold, what intervals are made of, forms taken."""

    pooled: dict[str, np.ndarray]
    single: list[tuple[Fold, dict[str, np.ndarray]]]
    evidence: Evidence
    taken: str
    guessed: np.ndarray

    @property
    def primary(self) -> str:
        """The metric that is shown first."""
        return next(iter(self.pooled))


def outcome(validation: CrossValidation, forms: Forms, tell: Callable[[float], None]) -> Outcome:
    """Cross-validate a decoder on the forms of one feature, `tell` called with the share of folds that is done."""
    task, design = validation.task, validation.design
    guesses = validation.run(forms, tell, refitted=validation.decoder.refits)
    pooled = metric_values(task, guesses.sums.sum(axis=1))
    null = {metric: scores.mean(axis=0)[1:] for metric, scores in pooled.items()}
    if task == "regress" and design.columns.shape[1] <= NULL_DRAWS:
        more = replace(validation, design=shuffled(design, validation.labels.times, validation.protocol))
        drawn = metric_values(task, more.run(forms, tell, refitted=False).sums.sum(axis=1))
        null = {metric: scores.mean(axis=0) for metric, scores in drawn.items()}
    single = [(fold, metric_values(task, sums)) for fold, sums in zip(design.folds, guesses.folds, strict=True)]
    evidence = Evidence(task, guesses.sums[:, :, 0], design.repeats, guesses.refits, null)
    return Outcome(pooled, single, evidence, _taken(guesses.taken) if len(forms) > 1 else "", guesses.guessed)


def _taken(forms: tuple[str, ...]) -> str:
    """Say which forms of a feature training folds chose, the most frequent first."""
    told = ", ".join(f"{form} ({count} of {len(forms)})" for form, count in Counter(forms).most_common())
    return f"chosen inside training folds: {told}"


def joined(several: Sequence[Evidence]) -> Evidence:
    """Return the evidence for the mean score of several features of the same trials and folds."""
    repeats = [len(one.sums) for one in several]
    before = np.cumsum(repeats) - repeats
    refits = [one.refits for one in several if one.refits is not None]
    return Evidence(
        several[0].task,
        np.concatenate([one.sums for one in several]),
        np.concatenate([one.repeat + first for one, first in zip(several, before, strict=True)]),
        _together(refits) if refits else None,
        {metric: np.mean([one.null[metric] for one in several], axis=0) for metric in several[0].null},
    )


def _together(refits: Sequence[Refits]) -> Refits:
    return Refits(np.concatenate([one.change for one in refits]), np.concatenate([one.left for one in refits]))


def interval(metric: str, evidence: Evidence, protocol: Protocol) -> tuple[float, float]:
    """Return the 95 % interval of a score: over trials, and over trainings where these are cheap enough."""
    if evidence.refits is None:
        return fixed_interval(metric, evidence, protocol.bootstraps, protocol.seed)
    return score_interval(metric, evidence)


def chance_level(metric: str, labels: Labels, design: Design) -> tuple[float, str]:
    """Return what knowing nothing but the labels scores, NaN where that is not known, and how, in words."""
    if metric == "accuracy":
        counts = np.bincount(design.columns[:, 0].astype(int))
        return float(counts.max() / counts.sum()), f" (most frequent of {counts.size} classes)"
    if metric == "balanced accuracy":
        return 1 / design.classes.size, ""
    if labels.task == "circular":
        cosine, error = constant_guess(design.columns[:, 0])
        level = cosine if metric == "mean cosine" else error * labels.circle.degrees / (2 * np.pi)
        return float(level), " (best constant guess)"
    return float("nan"), ""
