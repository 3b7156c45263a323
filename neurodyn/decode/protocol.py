"""The one protocol: scores with cross-validation, nested tuning, null labels and intervals, for every decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from neurodyn.core.config import Params, build
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.core.log import Report, silent, within
from neurodyn.data.guesses import Guesses
from neurodyn.data.scores import Score
from neurodyn.decode import DECODERS
from neurodyn.decode.base import Decoder, Task
from neurodyn.decode.crossval import CrossValidation, Forms
from neurodyn.decode.design import Design, make_design, with_warnings
from neurodyn.decode.intervals import (
    FEWEST,
    Evidence,
    difference_interval,
    tested_trials,
)
from neurodyn.decode.labels import Labels
from neurodyn.decode.outcome import Outcome, chance_level, interval, outcome
from neurodyn.decode.scoring import LOWER_IS_BETTER, null_summary
from neurodyn.decode.settings import Protocol
from neurodyn.metrics.nulls import best_of_rows

RANDOM_NOTE = "random split over overlapping windows: neighbours of test windows are in training; flatters every row"


@dataclass(frozen=True)
class Evaluated:
    """Scores, and what they are of.

    Parameters
    ----------
    scores
        Rows of the table.
    guesses
        What was guessed from every feature, of the samples that were tested.
    """

    scores: list[Score]
    guesses: Guesses


def evaluate(features: Mapping[str, np.ndarray | Forms] | np.ndarray, labels: Labels, **settings: Any) -> list[Score]:
    """Return the scores of `cross_validate`, which takes the same."""
    return cross_validate(features, labels, **settings).scores


def cross_validate(
    features: Mapping[str, np.ndarray | Forms] | np.ndarray,
    labels: Labels,
    *,
    decoder: str = "ridge",
    params: Mapping[str, Any] | None = None,
    protocol: Protocol | None = None,
    models: Mapping[str, str] | None = None,
    against: Sequence[str] = (),
    progress: Report = silent,
) -> Evaluated:
    """Score a decoder on one or more sets of features, all on the same folds and shuffles.

    Parameters
    ----------
    features
        Name -> array of shape (sample, feature), or one such array; (sample, time, feature) for sequential decoders. Also
        name -> such arrays by name, forms of the same content: inside each training fold the best of them is chosen.
    labels
        What to decode.
    decoder
        Registered name.
    params
        The decoder's settings.
    models
        Feature name -> what made it; "none" where not given.
    against
        Features whose scores are subtracted from those of the others, of the same trials and folds, in the notes (default:
        the first that no model made).
    progress
        Called after every fold with the features and the share of folds × features that is done.

    Returns
    -------
    Evaluated
        Scores: per feature and metric the pooled value (fold "all") with interval, null and p, then one row per fold; and
        what was guessed.

    Raises
    ------
    DataError
        If there are fewer trials than folds, classes cannot be divided, or features are not finite.
    ConfigError
        If the decoder cannot do the task.
    """
    protocol = protocol or Protocol()
    named = features if isinstance(features, Mapping) else {"features": features}
    validation = make_validation(labels, decoder, params or {}, protocol)
    chosen, design = validation.decoder, validation.design
    labels = with_warnings(labels, design, chosen.refits)
    outcomes = {}
    for number, (name, values) in enumerate(named.items()):
        forms = values if isinstance(values, Mapping) else {name: values}
        for form, rows in forms.items():
            _check(form, rows, labels, chosen.sequential)
        tell = partial(within(progress, number, len(named)), f"{labels.name} from {name}, {protocol.split} split")
        outcomes[name] = outcome(validation, forms, tell)
    made_by = {name: (models or {}).get(name, "none") for name in named}
    references = against or [next((name for name in named if made_by[name] == "none"), next(iter(named)))]
    scores = []
    for name, found in outcomes.items():
        context = _Context(labels, protocol, made_by[name], name, decoder)
        others = {one: outcomes[one].evidence for one in references if one != name}
        scores += _score(context, found, design, others)
    tried = [{metric: found.mean(axis=0) for metric, found in one.pooled.items()} for one in outcomes.values()]
    guessed = {name: one.guessed for name, one in outcomes.items()}
    return Evaluated(corrected(scores, tried), guesses_of(guessed, labels, design, decoder, protocol.split))


def make_validation(labels: Labels, decoder: str, params: Mapping[str, Any], protocol: Protocol) -> CrossValidation:
    """Return a decoder with its settings, labels with those of the null, and how they are divided; as `cross_validate`."""
    return CrossValidation(*decoder_of(decoder, labels.task, params), labels, make_design(labels, protocol), protocol)


def guesses_of(guessed: dict[str, np.ndarray], labels: Labels, design: Design, decoder: str, split: str) -> Guesses:
    """Put guesses beside what was true, both in the target's unit."""
    tested = np.isfinite(next(iter(guessed.values())))

    def told(codes: np.ndarray) -> np.ndarray:
        if labels.task == "classify":
            return design.classes[codes[tested].astype(int)]
        return labels.circle.values(codes[tested]) if labels.task == "circular" else codes[tested]

    return Guesses(
        session=labels.session,
        target=labels.name,
        task=labels.task,
        decoder=decoder,
        split=split,
        trial=labels.groups[tested],
        times=labels.times[tested],
        true=told(design.columns[:, 0]),
        guessed={name: told(values) for name, values in guessed.items()},
        period=labels.circle.period if labels.task == "circular" else float("nan"),
    )


def corrected(scores: list[Score], tried: list[dict[str, np.ndarray]]) -> list[Score]:
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


def decoder_of(name: str, task: Task, params: Mapping[str, Any]) -> tuple[type[Decoder], Params]:
    """Return a decoder that can do a task, and its settings.

    Raises
    ------
    ConfigError
        If it cannot, or has no such settings.
    """
    chosen = DECODERS.get(name)
    if task not in chosen.tasks:
        fit = [n for n in DECODERS.names() if task in DECODERS.get(n).tasks]
        raise ConfigError(
            f"Decoder '{name}' cannot {task}.", f"It can: {', '.join(sorted(chosen.tasks))}.", f"Use --decoder {fit[0]}"
        )
    return chosen, build(chosen.Params, dict(params), "decoder params")


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


@dataclass(frozen=True)
class _Context:
    labels: Labels
    protocol: Protocol
    model: str
    features: str
    decoder: str

    def score(self, metric: str, value: float, n: int, **rest: Any) -> Score:
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
            **rest,
        )


def _score(context: _Context, found: Outcome, design: Design, others: Mapping[str, Evidence]) -> list[Score]:
    tested = tested_trials(found.evidence)
    scores = []
    for metric, values in found.pooled.items():
        across = values.mean(axis=0)
        null_mean, p, words = null_summary(metric, across[0], across[1:])
        low, high = interval(metric, found.evidence, context.protocol)
        said = "; ".join(filter(None, (words, _difference_words(metric, found.evidence, others), found.taken)))
        note = _note(context, metric, said, design)
        rest = {"null_mean": null_mean, "p": p, "note": note, "ci_low": low, "ci_high": high}
        scores.append(context.score(metric, across[0], tested, **rest))
        for fold, by_metric in found.single:
            trials = np.unique(design.groups[fold.test]).size
            scores.append(context.score(metric, float(by_metric[metric]), trials, fold=f"{fold.repeat}.{fold.number}"))
    return scores


def _difference_words(metric: str, evidence: Evidence, others: Mapping[str, Evidence]) -> str:
    """Give the paired differences to other features in words."""
    if tested_trials(evidence) < FEWEST:
        return ""
    found = {name: difference_interval(metric, evidence, other) for name, other in others.items()}
    return "; ".join(
        f"minus {name}: {difference:.3f} (95 %: {low:.3f} to {high:.3f})"
        for name, (difference, low, high) in found.items()
    )


def _note(context: _Context, metric: str, words: str, design: Design) -> str:
    level, of = chance_level(metric, context.labels, design)
    chance = f"chance {level:.3f}{of}" if level == level else ""
    random = RANDOM_NOTE if context.protocol.split == "random" else ""
    return "; ".join(part for part in (random, chance, words, context.labels.taken, context.labels.note) if part)
