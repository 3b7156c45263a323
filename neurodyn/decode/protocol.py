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
from neurodyn.decode.nulls import UNTOLD, Null, best_of_rows, make_null
from neurodyn.decode.rare import few_trials, require_divisible
from neurodyn.decode.reduce import Division, FoldPCA, Plain, Reduction, Rotation
from neurodyn.decode.scaling import without_trend
from neurodyn.decode.scoring import LOWER_IS_BETTER, bootstrap_interval, metric_values, null_summary, trial_sums
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
    scores, tried = [], []
    for number, (name, values) in enumerate(named.items()):
        _check(name, values, labels, chosen.sequential)
        tell = partial(within(progress, number, len(named)), f"{labels.name} from {name}, {protocol.split} split")
        predicted, reference = _cross_validate(chosen, settings, values, labels, design, protocol, tell)
        context = _Context(labels, protocol, (models or {}).get(name, "none"), name, decoder)
        found, pooled = _score(context, predicted, reference, design)
        scores += found
        tried.append(pooled)
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


def _cross_validate(
    decoder: type[Decoder],
    params: Any,
    values: np.ndarray,
    labels: Labels,
    design: _Design,
    protocol: Protocol,
    tell: Callable[[float], None],
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return, per fold, predictions and training means, each of shape (test sample, column)."""
    reduction, fitted = _reduction(decoder, params, values, protocol)
    candidates = decoder.candidates(fitted) if protocol.tune else [fitted]
    predicted, reference, task = [], [], labels.task
    for fold in design.folds:
        if protocol.detrend:
            reduction, _ = _reduction(decoder, params, without_trend(values, labels.times, fold.train), protocol)
        targets = design.columns[fold.train]
        inner = inner_folds(design.groups[fold.train], protocol.inner_folds, protocol.seed)
        rows = reduction.divide(fold.train, fold.test, inner)
        predicted.append(_tuned(decoder, candidates, task, rows, targets, inner))
        reference.append(np.broadcast_to(targets.mean(axis=0), predicted[-1].shape))
        tell(len(predicted) / len(design.folds))
    return predicted, reference


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
) -> np.ndarray:
    """Predict with the candidate that is best inside the training samples, per column where that is cheap.

    Where it is not, shuffles use the setting chosen for the true labels; their test labels play no part in either.
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
            return path[best, :, np.arange(best.size)].T
        candidates = [candidates[best[0]]]
    return decoder.predict_path(candidates, task, rows.train, targets, rows.test)[0]


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


def _score(
    context: _Context, predicted: list[np.ndarray], reference: list[np.ndarray], design: _Design
) -> tuple[list[Score], dict[str, np.ndarray]]:
    """Return the rows of the table, and the pooled values of true and null labels by metric, shape (column,)."""
    task, protocol, period = context.labels.task, context.protocol, context.labels.circle.degrees
    shape = (int(design.groups.max()) + 1, design.classes.size)
    sums = np.zeros((protocol.repeats, shape[0], design.columns.shape[1], 2 * shape[1] if task == "classify" else 3))
    single = []
    for fold, guess, mean in zip(design.folds, predicted, reference, strict=True):
        part = trial_sums(task, design.columns[fold.test], guess, mean, design.groups[fold.test], shape, period)
        sums[fold.repeat] += part
        single.append((fold, metric_values(task, part[:, 0].sum(axis=0))))
    pooled = {name: found.mean(axis=0) for name, found in metric_values(task, sums.sum(axis=1)).items()}
    bands = bootstrap_interval(task, sums[:, :, 0], protocol.bootstraps, protocol.seed)
    tested = np.unique(np.concatenate([design.groups[fold.test] for fold in design.folds])).size
    scores = []
    for metric, across in pooled.items():
        null_mean, p, words = null_summary(metric, across[0], across[1:])
        band = {"ci_low": bands[metric][0], "ci_high": bands[metric][1]}
        note = _note(context, metric, words, design)
        scores.append(context.score(metric, across[0], tested, null_mean=null_mean, p=p, note=note, **band))
        for fold, by_metric in single:
            trials = np.unique(design.groups[fold.test]).size
            scores.append(context.score(metric, float(by_metric[metric]), trials, fold=f"{fold.repeat}.{fold.number}"))
    return scores, pooled


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
