"""A decoder trained on one session and tested on another one of the same cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.core.log import nobody
from neurodyn.data.guesses import Guesses
from neurodyn.data.scores import Score
from neurodyn.decode.crossval import CrossValidation, Forms
from neurodyn.decode.design import Design, encode, null_of
from neurodyn.decode.features import build_forms, feature_names
from neurodyn.decode.intervals import FEW, FEWEST, FIXED, Evidence, fixed_interval, tested_trials
from neurodyn.decode.labels import Labels
from neurodyn.decode.outcome import chance_level
from neurodyn.decode.protocol import corrected, decoder_of, guesses_of
from neurodyn.decode.scoring import metric_values, null_summary, trial_sums
from neurodyn.decode.sessions import Pair
from neurodyn.decode.settings import Protocol
from neurodyn.decode.splits import Fold, inner_folds, order_groups
from neurodyn.decode.tasks import default_decoder
from neurodyn.metrics.nulls import Null

SPLIT = "session"


def across(pair: Pair, tell: Callable[[float], None]) -> tuple[list[Score], Guesses]:
    """Train on one session and score on the other, from every feature.

    Scales, components and settings are those of the session that is trained on. Null labels are shuffles of those that are
    asked for; the decoders, and what they guess, stay the same.

    Parameters
    ----------
    tell
        Called after every feature with the share of them that is done.
    """
    protocol, name = pair.config.protocols()[0], default_decoder(pair.config, pair.known.task)
    labels = _joined(pair.known, pair.asked)
    first = len(pair.known.target)
    design, null = _design(labels, first, protocol)
    decoder, params = decoder_of(name, labels.task, pair.config.params)
    validation = CrossValidation(decoder, params, labels, design, protocol)
    features, scores, guessed, tried = feature_names(pair.train, pair.config), [], {}, []
    for number, feature in enumerate(features):
        guessed[feature] = validation.run(_forms(feature, pair), nobody, refitted=False).guessed
        evidence, columns = _evidence(guessed[feature][first:], null, validation)
        scores += _scores(pair, evidence, columns, validation, {"features": feature, "decoder": name}, null)
        tried.append(columns)
        tell((number + 1) / len(features))
    return corrected(scores, tried), guesses_of(guessed, labels, design, name, SPLIT)


def _joined(known: Labels, asked: Labels) -> Labels:
    """Return the labels of both sessions, one after the other, under the name of the second."""
    groups = [order_groups(one.groups, one.times) for one in (known, asked)]
    both = {name: np.concatenate([getattr(known, name), getattr(asked, name)]) for name in ("target", "times")}
    return replace(asked, groups=np.concatenate([groups[0], groups[1] + groups[0].max() + 1]), **both)


def _design(labels: Labels, first: int, protocol: Protocol) -> tuple[Design, Null]:
    """Return one fold, of which the `first` samples are trained on and the others tested, and null labels of these."""
    train, test = np.split(np.arange(len(labels.target)), [first])
    classes, encoded = encode(labels)
    inner = inner_folds(labels.groups[train], protocol.inner_folds, protocol.seed)
    asked = replace(labels, **{name: getattr(labels, name)[test] for name in ("target", "groups", "times")})
    null = null_of(asked, encoded[test], asked.groups - asked.groups.min(), protocol)
    return Design([Fold(0, 0, train, test)], [inner], encoded[:, None], labels.groups, classes, null), null


def _forms(name: str, pair: Pair) -> Forms:
    """Make a feature of both sessions, one after the other."""
    both = [build_forms(name, source, pair.config) for source in (pair.train, pair.test)]
    widths = [{form: rows.shape[1:] for form, rows in one.items()} for one in both]
    if widths[0] != widths[1]:
        raise DataError(
            f"Features '{name}' of the two sessions differ in size.",
            f"Found {widths[0]} and {widths[1]}.",
            "Take means instead of whole windows, or bin and resample both alike.",
        )
    return {form: np.concatenate([rows, both[1][form]]) for form, rows in both[0].items()}


def _evidence(guessed: np.ndarray, null: Null, validation: CrossValidation) -> tuple[Evidence, dict[str, np.ndarray]]:
    """Score guesses of the second session by its labels and by null ones; return metric -> scores, true labels' first."""
    design, task = validation.design, validation.task
    (fold,) = design.folds
    truth = np.column_stack([design.columns[fold.test], null.columns])
    groups = design.groups[fold.test] - design.groups[fold.test].min()
    mean = np.full(truth.shape, design.columns[fold.train].mean())
    shape = (int(groups.max()) + 1, design.classes.size)
    told = np.repeat(guessed[:, None], truth.shape[1], axis=1)
    sums = trial_sums(task, truth, told, mean, groups, shape, validation.labels.circle.degrees)
    columns = metric_values(task, sums.sum(axis=0))
    null_scores = {metric: values[1:] for metric, values in columns.items()}
    return Evidence(task, sums[None, :, 0], np.zeros(1, dtype=int), None, null_scores), columns


def _scores(
    pair: Pair,
    evidence: Evidence,
    columns: dict[str, np.ndarray],
    validation: CrossValidation,
    of: dict[str, str],
    null: Null,
) -> list[Score]:
    labels, protocol, tested = pair.asked, validation.protocol, tested_trials(evidence)
    asked = replace(validation.design, columns=validation.design.columns[validation.design.folds[0].test])
    covers = FEW if tested < FEWEST else FIXED
    scores = []
    for metric, values in columns.items():
        null_mean, p, words = null_summary(metric, values[0], values[1:])
        low, high = fixed_interval(metric, evidence, protocol.bootstraps, protocol.seed)
        level, how = chance_level(metric, labels, asked)
        said = (
            pair.words,
            f"chance {level:.3f}{how}" if level == level else "",
            words,
            labels.taken,
            labels.note,
            *null.sentences,
            f"interval: {SPLIT} split, {covers}",
            f"unit: {labels.unit}, of which each counts once however many windows it has",
        )
        scores.append(
            Score(
                session=labels.session,
                model="none",
                seed=protocol.seed,
                split=SPLIT,
                target=labels.name,
                metric=metric,
                value=float(values[0]),
                ci_low=low,
                ci_high=high,
                null_mean=null_mean,
                p=p,
                n=tested,
                unit=labels.unit,
                note="; ".join(filter(None, said)),
                **of,
            )
        )
    return scores
