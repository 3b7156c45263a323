"""The one protocol: cross-validation, nested tuning, label shuffles and intervals, for every decoder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from neurodyn.core.config import build
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.scores import Score
from neurodyn.decode import DECODERS
from neurodyn.decode.base import Decoder, Task
from neurodyn.decode.circle import Circle
from neurodyn.decode.intervals import (
    FEW,
    FEWEST,
    FIXED,
    NULL_DRAWS,
    Evidence,
    Refits,
    difference_interval,
    fixed_interval,
    leave_out,
    score_interval,
    stacked,
    tested_trials,
)
from neurodyn.decode.rare import few_trials, require_divisible
from neurodyn.decode.reduce import Division, FoldPCA, Plain, Reduction, Rotation
from neurodyn.decode.scoring import metric_values, null_summary, trial_sums
from neurodyn.decode.settings import Protocol
from neurodyn.decode.splits import Fold, inner_folds, make_folds, order_groups
from neurodyn.metrics.circular import constant_guess

LOGGER = logging.getLogger(__name__)
RANDOM_NOTE = "random split over overlapping windows: neighbours of test windows are in training; flatters every row"


@dataclass(frozen=True)
class Labels:
    """What is decoded: one label per sample, and which samples belong together.

    Parameters
    ----------
    target
        Labels, shape (sample,): numbers, or any values for classification.
    groups
        Trial (or segment) of each sample, shape (sample,).
    times
        Time of each sample, s, shape (sample,).
    task
        "regress", "classify" or "circular".
    name, session, unit, note
        Written into every score; `unit` says what the groups are.
    taken
        What the target was taken for, and why; written before the note.
    circle
        One turn of a circular target.

    Raises
    ------
    DataError
        If lengths differ, labels are missing, or there is only one value.
    """

    target: np.ndarray
    groups: np.ndarray
    times: np.ndarray
    task: Task
    name: str = "target"
    session: str = ""
    unit: str = "trials"
    note: str = ""
    taken: str = ""
    circle: Circle = Circle()

    def __post_init__(self) -> None:
        sizes = {len(self.target), len(self.groups), len(self.times)}
        if len(sizes) != 1 or 0 in sizes:
            raise DataError(
                "Target, trials and times must have one entry per sample.",
                f"Found {len(self.target)}, {len(self.groups)} and {len(self.times)}.",
                "Check where they come from.",
            )
        if self.task != "classify" and not np.isfinite(self.target.astype(float)).all():
            raise DataError(
                f"Target '{self.name}' has missing values.", "Expected finite numbers.", "Drop those samples first."
            )
        on_circle = self.circle.radians(self.target).round(9) if self.task == "circular" else self.target
        if np.unique(on_circle).size < 2:
            raise DataError(
                f"Target '{self.name}' is constant.",
                f"Found only {self.target[0]} in {len(self.target)} samples.",
                "Choose another target, or windows that cover more conditions.",
            )


@dataclass(frozen=True)
class _Design:
    """What all features share: folds, encoded labels with their shuffles, trials."""

    folds: list[Fold]
    columns: np.ndarray  # (sample, 1 + shuffles)
    groups: np.ndarray
    classes: np.ndarray


def evaluate(
    features: Mapping[str, np.ndarray] | np.ndarray,
    labels: Labels,
    *,
    decoder: str = "ridge",
    params: Mapping[str, Any] | None = None,
    protocol: Protocol | None = None,
    models: Mapping[str, str] | None = None,
) -> list[Score]:
    """Score a decoder on one or more sets of features, all on the same folds and shuffles.

    Parameters
    ----------
    features
        Name -> array of shape (sample, feature), or one such array; (sample, time, feature) for sequential decoders.
    labels
        What to decode.
    decoder
        Registered name.
    params
        The decoder's settings.
    models
        Feature name -> what made it; "none" where not given.

    Returns
    -------
    list of Score
        Per feature and metric the pooled value (fold "all") with interval, null and p, then one row per fold.

    Raises
    ------
    DataError
        If there are fewer trials than folds, classes cannot be divided, or features are not finite.
    ConfigError
        If the decoder cannot do the task.
    """
    protocol = protocol or Protocol()
    named = features if isinstance(features, Mapping) else {"features": features}
    chosen = _decoder(decoder, labels.task)
    settings = build(chosen.Params, dict(params or {}), "decoder params")
    design = _design(labels, protocol)
    labels = _with_rare_classes(labels, design)
    outcomes = {}
    for name, values in named.items():
        _check(name, values, labels, chosen.sequential)
        outcomes[name] = _outcome(chosen, settings, values, labels, design, protocol)
    made_by = {name: (models or {}).get(name, "none") for name in named}
    first = next((name for name in named if made_by[name] == "none"), next(iter(named)))
    scores = []
    for name, outcome in outcomes.items():
        context = _Context(labels, protocol, made_by[name], name, decoder)
        against = None if name == first else (first, outcomes[first].evidence)
        scores += _score(context, outcome, design, against)
    return scores


def _decoder(name: str, task: Task) -> type[Decoder]:
    chosen = DECODERS.get(name)
    if task not in chosen.tasks:
        fit = [n for n in DECODERS.names() if task in DECODERS.get(n).tasks]
        raise ConfigError(
            f"Decoder '{name}' cannot {task}.", f"It can: {', '.join(sorted(chosen.tasks))}.", f"Use --decoder {fit[0]}"
        )
    return chosen


def _check(name: str, values: np.ndarray, labels: Labels, sequential: bool) -> None:
    if values.ndim == 3 and not sequential:
        raise ConfigError(
            f"Features '{name}' are sequences.",
            "This decoder takes one row per sample.",
            f"Use --decoder gru, or --features {name.partition(':')[0]}:flat",
        )
    if values.ndim not in (2, 3) or values.shape[0] != len(labels.target) or 0 in values.shape:
        raise DataError(
            f"Features '{name}' do not fit the target.",
            f"Found shape {values.shape}; expected ({len(labels.target)}, feature).",
            "Make features and target from the same windows.",
        )
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).reshape(len(values), -1).any(axis=1).sum())
        raise DataError(
            f"Features '{name}' are not finite.", f"Found {bad} samples with NaN or infinity.", "Mask or repair them."
        )


def _design(labels: Labels, protocol: Protocol) -> _Design:
    groups = order_groups(labels.groups, labels.times)
    if labels.task == "classify":
        classes, encoded = np.unique(labels.target, return_inverse=True)
        require_divisible(labels.name, classes, encoded, groups)
    elif labels.task == "circular":
        classes, encoded = np.empty(0), labels.circle.radians(labels.target)
    else:
        classes, encoded = np.empty(0), labels.target.astype(np.float64)
    folds = make_folds(groups, protocol)
    rng = np.random.default_rng([protocol.seed, 1])
    shuffled = [shuffle_trials(encoded, groups, labels.times, rng) for _ in range(protocol.shuffles)]
    return _Design(folds, np.stack([encoded, *shuffled], axis=1), groups, classes)


def _with_rare_classes(labels: Labels, design: _Design) -> Labels:
    """Add to the note, and tell at once, what classes of few trials do to the scores."""
    word = ""
    if labels.task == "classify":
        word = few_trials(design.classes, design.columns[:, 0], design.groups, design.folds)
    if word:
        LOGGER.warning("%s: %s", labels.name, word)
    return replace(labels, note="; ".join(filter(None, (labels.note, word))))


def shuffle_trials(target: np.ndarray, groups: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give each trial the label sequence of another one, so that the structure within trials is kept.

    Parameters
    ----------
    target
        Labels, shape (sample,).
    groups
        Trials numbered from 0, shape (sample,).
    times
        s, shape (sample,); order the samples of a trial. Where lengths differ, relative positions are matched.
    """
    order = np.lexsort((times, groups))
    size = np.bincount(groups)
    begin = np.cumsum(size) - size
    group = groups[order]
    rank = np.arange(order.size) - begin[group]
    donor = rng.permutation(size.size)[group]
    source = begin[donor] + ((rank + 0.5) / size[group] * size[donor]).astype(int)
    out = np.empty_like(target)
    out[order] = target[order][source]
    return out


@dataclass(frozen=True)
class _Guesses:
    """Per fold, predictions and training means, each of shape (test sample, column), and refits where asked for."""

    predicted: list[np.ndarray]
    reference: list[np.ndarray]
    refits: list[Refits]


def _cross_validate(
    decoder: type[Decoder],
    params: Any,
    values: np.ndarray,
    task: Task,
    design: _Design,
    protocol: Protocol,
    refit_period: float | None = None,
) -> _Guesses:
    reduction, params = _reduction(decoder, params, values, protocol)
    candidates = decoder.candidates(params) if protocol.tune else [params]
    guesses = _Guesses([], [], [])
    for fold in design.folds:
        targets = design.columns[fold.train]
        inner = inner_folds(design.groups[fold.train], protocol.inner_folds, protocol.seed)
        rows = reduction.divide(fold.train, fold.test, inner)
        predicted, best = _tuned(decoder, candidates, task, rows, targets, inner)
        guesses.predicted.append(predicted)
        guesses.reference.append(np.broadcast_to(targets.mean(axis=0), predicted.shape))
        if refit_period is not None:
            refit = _refit(decoder, best, task, rows)
            guesses.refits.append(
                leave_out(
                    refit,
                    task,
                    fold,
                    design.columns[:, 0],
                    predicted[:, 0],
                    design.groups,
                    design.classes.size,
                    refit_period,
                )
            )
    return guesses


def _refit(
    decoder: type[Decoder], params: Any, task: Task, rows: Division
) -> Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """Return what trains a fold's decoder again on some of its training samples."""

    def predict(kept: np.ndarray, tested: np.ndarray, target: np.ndarray) -> np.ndarray:
        return decoder.predict_path([params], task, rows.train[kept], target, rows.test[tested])[0]

    return predict


def _reduction(decoder: type[Decoder], params: Any, values: np.ndarray, protocol: Protocol) -> tuple[Reduction, Any]:
    """Return what makes the rows of a fold, and the decoder's settings for such rows.

    Component scores keep their relative variance: z-scored, those of no variance would count as much as the first.
    """
    standardise = getattr(params, "standardise", None)
    unscaled = params if standardise is None else params.model_copy(update={"standardise": False})
    if protocol.pca is not None:
        return FoldPCA(values, protocol.pca, unit_variance=standardise is not None), unscaled
    if values.shape[-1] <= protocol.wide:
        return Plain(values), params
    if decoder.rotation_invariant(params) and values.ndim == 2:
        return Rotation(values, bool(standardise), protocol.wide), unscaled
    return FoldPCA(values, protocol.wide_pca), params


def _tuned(
    decoder: type[Decoder],
    candidates: list[Any],
    task: Task,
    rows: Division,
    targets: np.ndarray,
    inner: list[tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, Any]:
    """Predict with the candidate that is best inside the training samples, per column where that is cheap.

    Where it is not, shuffles use the setting chosen for the true labels; their test labels play no part in either.
    Also returns the setting of the first column.
    """
    if len(candidates) > 1:
        tried = targets if decoder.vectorised else targets[:, :1]
        loss = np.zeros((len(candidates), tried.shape[1]))
        for (fit, held), (fitted, tested) in zip(inner, rows.inner, strict=True):
            path = decoder.predict_path(candidates, task, fitted, tried[fit], tested)
            loss += _loss(task, tried[held], path)
        best = loss.argmin(axis=0)
        if decoder.vectorised:
            path = decoder.predict_path(candidates, task, rows.train, targets, rows.test)
            return path[best, :, np.arange(best.size)].T, candidates[best[0]]
        candidates = [candidates[best[0]]]
    return decoder.predict_path(candidates, task, rows.train, targets, rows.test)[0], candidates[0]


def _loss(task: Task, truth: np.ndarray, path: np.ndarray) -> np.ndarray:
    if task == "classify":
        wrong = truth != path
    else:
        wrong = (truth - path) ** 2 if task == "regress" else 1 - np.cos(truth - path)
    return wrong.sum(axis=1)


@dataclass(frozen=True)
class _Context:
    labels: Labels
    protocol: Protocol
    model: str
    features: str
    decoder: str

    def score(self, metric: str, value: float, n: int, **rest: Any) -> Score:
        missing = float("nan")
        common = {"fold": "all", "ci_low": missing, "ci_high": missing, "null_mean": missing, "p": missing}
        return Score(
            session=self.labels.session,
            model=self.model,
            seed=self.protocol.seed,
            split=self.protocol.split,
            target=self.labels.name,
            metric=metric,
            value=float(value),
            n=n,
            unit=self.labels.unit,
            features=self.features,
            decoder=self.decoder,
            **(common | rest),
        )


@dataclass(frozen=True)
class _Outcome:
    """Scores of one feature: metric -> (repeat, column), those of each fold, and what intervals are made of."""

    pooled: dict[str, np.ndarray]
    single: list[tuple[Fold, dict[str, np.ndarray]]]
    evidence: Evidence


def _outcome(
    decoder: type[Decoder], params: Any, values: np.ndarray, labels: Labels, design: _Design, protocol: Protocol
) -> _Outcome:
    task, period = labels.task, labels.circle.degrees
    guesses = _cross_validate(
        decoder, params, values, task, design, protocol, refit_period=period if decoder.refits else None
    )
    sums, single = _sums(task, guesses, design, protocol.repeats, period)
    pooled = metric_values(task, sums.sum(axis=1))
    null = {metric: scores.mean(axis=0)[1:] for metric, scores in pooled.items()}
    if task == "regress" and protocol.shuffles < NULL_DRAWS:
        more = _shuffled(design, labels.times, protocol)
        drawn = _cross_validate(decoder, params, values, task, more, protocol)
        drawn_sums = _sums(task, drawn, more, protocol.repeats, period)[0].sum(axis=1)
        null = {metric: scores.mean(axis=0) for metric, scores in metric_values(task, drawn_sums).items()}
    repeat = np.array([fold.repeat for fold in design.folds])
    refits = stacked(guesses.refits) if guesses.refits else None
    return _Outcome(pooled, single, Evidence(task, sums[:, :, 0], repeat, refits, null))


def _shuffled(design: _Design, times: np.ndarray, protocol: Protocol) -> _Design:
    """Return labels shuffled often enough to say how uncertain a score of nothing is."""
    rng = np.random.default_rng([protocol.seed, 2])
    columns = [shuffle_trials(design.columns[:, 0], design.groups, times, rng) for _ in range(NULL_DRAWS)]
    return replace(design, columns=np.stack(columns, axis=1))


def _sums(
    task: Task, guesses: _Guesses, design: _Design, repeats: int, period: float
) -> tuple[np.ndarray, list[tuple[Fold, dict[str, np.ndarray]]]]:
    """Return sums over trials, shape (repeat, trial, column, sum), and the first column's metrics in each fold."""
    shape = (int(design.groups.max()) + 1, design.classes.size)
    sums = np.zeros((repeats, shape[0], design.columns.shape[1], 2 * shape[1] if task == "classify" else 3))
    single = []
    for fold, guess, mean in zip(design.folds, guesses.predicted, guesses.reference, strict=True):
        part = trial_sums(task, design.columns[fold.test], guess, mean, design.groups[fold.test], shape, period)
        sums[fold.repeat] += part
        single.append((fold, metric_values(task, part[:, 0].sum(axis=0))))
    return sums, single


def _score(context: _Context, outcome: _Outcome, design: _Design, against: tuple[str, Evidence] | None) -> list[Score]:
    tested = tested_trials(outcome.evidence)
    scores = []
    for metric, values in outcome.pooled.items():
        across = values.mean(axis=0)
        null_mean, p, words = null_summary(metric, across[0], across[1:])
        low, high = _interval(metric, outcome.evidence, context.protocol)
        said = "; ".join(filter(None, (words, _interval_words(metric, outcome.evidence, against))))
        note = _note(context, metric, said, design)
        rest = {"null_mean": null_mean, "p": p, "note": note, "ci_low": low, "ci_high": high}
        scores.append(context.score(metric, across[0], tested, **rest))
        for fold, by_metric in outcome.single:
            trials = np.unique(design.groups[fold.test]).size
            scores.append(context.score(metric, float(by_metric[metric]), trials, fold=f"{fold.repeat}.{fold.number}"))
    return scores


def _interval(metric: str, evidence: Evidence, protocol: Protocol) -> tuple[float, float]:
    if evidence.refits is None:
        return fixed_interval(metric, evidence, protocol.bootstraps, protocol.seed)
    return score_interval(metric, evidence)


def _interval_words(metric: str, evidence: Evidence, against: tuple[str, Evidence] | None) -> str:
    """Say what an interval leaves out, and the paired difference to the first feature of the signal."""
    if tested_trials(evidence) < FEWEST:
        return FEW
    said = [FIXED] if evidence.refits is None else []
    if against is not None:
        difference, low, high = difference_interval(metric, evidence, against[1])
        said.append(f"minus {against[0]}: {difference:.3f} (95 %: {low:.3f} to {high:.3f})")
    return "; ".join(said)


def _note(context: _Context, metric: str, words: str, design: _Design) -> str:
    chance = ""
    if metric == "accuracy":
        counts = np.bincount(design.columns[:, 0].astype(int))
        chance = f"chance {counts.max() / counts.sum():.3f} (most frequent of {counts.size} classes)"
    elif metric == "balanced accuracy":
        chance = f"chance {1 / design.classes.size:.3f}"
    elif context.labels.task == "circular":
        cosine, error = constant_guess(design.columns[:, 0])
        level = cosine if metric == "mean cosine" else error * context.labels.circle.degrees / (2 * np.pi)
        chance = f"chance {level:.3f} (best constant guess)"
    random = RANDOM_NOTE if context.protocol.split == "random" else ""
    return "; ".join(part for part in (random, chance, words, context.labels.taken, context.labels.note) if part)
