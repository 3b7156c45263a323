"""The one protocol: cross-validation, nested tuning, label shuffles and intervals, for every decoder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from neurodyn.core.config import build
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.core.log import Report, silent, within
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
from neurodyn.decode.nulls import UNTOLD, Null, best_of_rows, make_null, permuted_trials
from neurodyn.decode.rare import few_trials, require_divisible
from neurodyn.decode.reduce import Division, FoldPCA, Plain, Reduction, Rotation
from neurodyn.decode.scaling import without_trend
from neurodyn.decode.scoring import LOWER_IS_BETTER, metric_values, null_summary, trial_sums
from neurodyn.decode.settings import Protocol
from neurodyn.decode.splits import Fold, inner_folds, make_folds, order_groups
from neurodyn.metrics.circular import constant_guess
from neurodyn.metrics.intervals import DECODING_COVERS

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
    course
        Whether they are the course of a behaviour, slow in time as the recording is; segments always are.

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
    course: bool = False

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
    """What all features share: folds, encoded labels with those of the null, trials."""

    folds: list[Fold]
    columns: np.ndarray  # (sample, 1 + shuffles)
    groups: np.ndarray
    classes: np.ndarray
    null: Null


def evaluate(
    features: Mapping[str, np.ndarray] | np.ndarray,
    labels: Labels,
    *,
    decoder: str = "ridge",
    params: Mapping[str, Any] | None = None,
    protocol: Protocol | None = None,
    models: Mapping[str, str] | None = None,
    progress: Report = silent,
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
    progress
        Called after every fold with the features and the share of folds × features that is done.

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
    labels = _with_warnings(labels, design)
    outcomes = {}
    for number, (name, values) in enumerate(named.items()):
        _check(name, values, labels, chosen.sequential)
        tell = partial(within(progress, number, len(named)), f"{labels.name} from {name}, {protocol.split} split")
        outcomes[name] = _outcome(chosen, settings, values, labels, design, protocol, tell)
    made_by = {name: (models or {}).get(name, "none") for name in named}
    first = next((name for name in named if made_by[name] == "none"), next(iter(named)))
    scores = []
    for name, outcome in outcomes.items():
        context = _Context(labels, protocol, made_by[name], name, decoder)
        against = None if name == first else (first, outcomes[first].evidence)
        scores += _score(context, outcome, design, against)
    tried = [{metric: found.mean(axis=0) for metric, found in one.pooled.items()} for one in outcomes.values()]
    return _corrected(scores, tried)


def _corrected(scores: list[Score], tried: list[dict[str, np.ndarray]]) -> list[Score]:
    """Write into the notes p of each row as one of several that were tried; `tried` has the pooled values of each."""
    if len(tried) < 2 or tried[0][next(iter(tried[0]))].size < 2:
        return scores
    found: dict[str, list[float]] = {}
    for metric in tried[0]:
        rows = np.array([one[metric] for one in tried])
        found[metric] = best_of_rows(-rows if metric in LOWER_IS_BETTER else rows).tolist()
    return [
        replace(s, note=f"{s.note}; of {len(tried)} rows p {found[s.metric].pop(0):.4f}") if s.fold == "all" else s
        for s in scores
    ]


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
    null = make_null(
        encoded,
        groups,
        labels.times,
        labels.task,
        course=labels.course or labels.unit == "segments",
        shuffles=protocol.shuffles,
        seed=protocol.seed,
    )
    return _Design(folds, np.column_stack([encoded, null.columns]), groups, classes, null)


def _with_warnings(labels: Labels, design: _Design) -> Labels:
    """Add to the note, and tell at once, what classes of few trials, or of an order of their own, do to the scores."""
    word = ""
    if labels.task == "classify":
        word = few_trials(design.classes, design.columns[:, 0], design.groups, design.folds)
    untold = f"{design.null.order}: {UNTOLD}" if UNTOLD in design.null.words else ""
    for one in filter(None, (word, untold)):
        LOGGER.warning("%s: %s", labels.name, one)
    facts = [*design.null.sentences, f"interval: {DECODING_COVERS}", f"unit: {labels.unit}"]
    return replace(labels, note="; ".join(filter(None, (labels.note, word, *facts))))


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
    labels: Labels,
    design: _Design,
    protocol: Protocol,
    tell: Callable[[float], None],
    refitted: bool = False,
) -> _Guesses:
    reduction, fitted = _reduction(decoder, params, values, protocol)
    candidates = decoder.candidates(fitted) if protocol.tune else [fitted]
    task, guesses = labels.task, _Guesses([], [], [])
    for fold in design.folds:
        if protocol.detrend:
            reduction, _ = _reduction(decoder, params, without_trend(values, labels.times, fold.train), protocol)
        targets = design.columns[fold.train]
        inner = inner_folds(design.groups[fold.train], protocol.inner_folds, protocol.seed)
        rows = reduction.divide(fold.train, fold.test, inner)
        predicted, best = _tuned(decoder, candidates, task, rows, targets, inner)
        guesses.predicted.append(predicted)
        guesses.reference.append(np.broadcast_to(targets.mean(axis=0), predicted.shape))
        if refitted:
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
                    labels.circle.degrees,
                )
            )
        tell(len(guesses.predicted) / len(design.folds))
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
    decoder: type[Decoder],
    params: Any,
    values: np.ndarray,
    labels: Labels,
    design: _Design,
    protocol: Protocol,
    tell: Callable[[float], None],
) -> _Outcome:
    task, period = labels.task, labels.circle.degrees
    guesses = _cross_validate(decoder, params, values, labels, design, protocol, tell, refitted=decoder.refits)
    sums, single = _sums(task, guesses, design, protocol.repeats, period)
    pooled = metric_values(task, sums.sum(axis=1))
    null = {metric: scores.mean(axis=0)[1:] for metric, scores in pooled.items()}
    if task == "regress" and design.columns.shape[1] <= NULL_DRAWS:
        more = _shuffled(design, labels.times, protocol)
        drawn = _cross_validate(decoder, params, values, labels, more, protocol, tell)
        drawn_sums = _sums(task, drawn, more, protocol.repeats, period)[0].sum(axis=1)
        null = {metric: scores.mean(axis=0) for metric, scores in metric_values(task, drawn_sums).items()}
    repeat = np.array([fold.repeat for fold in design.folds])
    refits = stacked(guesses.refits) if guesses.refits else None
    return _Outcome(pooled, single, Evidence(task, sums[:, :, 0], repeat, refits, null))


def _shuffled(design: _Design, times: np.ndarray, protocol: Protocol) -> _Design:
    """Return labels shuffled often enough to say how uncertain a score of nothing is."""
    rng = np.random.default_rng([protocol.seed, 2])
    columns = permuted_trials(design.columns[:, 0], design.groups, times, NULL_DRAWS, rng)
    return replace(design, columns=columns)


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
    return scores, pooled


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
