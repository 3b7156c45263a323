"""What all features of a decoding share: folds, labels and those of the null, and what is to be told of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np

from neurodyn.decode.intervals import NULL_DRAWS, covered
from neurodyn.decode.labels import Labels
from neurodyn.decode.rare import few_trials, require_divisible
from neurodyn.decode.settings import Protocol
from neurodyn.decode.splits import Fold, inner_folds, make_folds, order_groups
from neurodyn.metrics.nulls import UNTOLD, Null, make_null, permuted_trials

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Design:
    """What all features share.

    Parameters
    ----------
    folds
        How samples are divided.
    inner
        How the training samples of each fold are divided again for tuning, as from `inner_folds`.
    columns
        Encoded labels, then those of the null, shape (sample, 1 + shuffle).
    groups
        Trials numbered from 0 in order of time, shape (sample,).
    classes
        Names of classes, shape (class,); none of numbers and circles.
    null
        Where the labels of the null are from.
    """

    folds: list[Fold]
    inner: list[list[tuple[np.ndarray, np.ndarray]]]
    columns: np.ndarray
    groups: np.ndarray
    classes: np.ndarray
    null: Null

    @property
    def repeats(self) -> np.ndarray:
        """Repeat of the cross-validation that each fold is of, shape (fold,)."""
        return np.array([fold.repeat for fold in self.folds])


def make_design(labels: Labels, protocol: Protocol) -> Design:
    """Encode labels, divide them into folds, and make those of the null.

    Raises
    ------
    DataError
        If there are fewer trials than folds, or classes cannot be divided.
    """
    groups = order_groups(labels.groups, labels.times)
    classes, encoded = encode(labels)
    if labels.task == "classify":
        require_divisible(labels.name, classes, encoded, groups)
    folds = make_folds(groups, protocol)
    null = null_of(labels, encoded, groups, protocol)
    inner = [inner_folds(groups[fold.train], protocol.inner_folds, protocol.seed) for fold in folds]
    return Design(folds, inner, np.column_stack([encoded, null.columns]), groups, classes, null)


def encode(labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    """Return the names of classes, none of numbers and circles, and labels as decoders take them, shape (sample,)."""
    if labels.task == "classify":
        classes, encoded = np.unique(labels.target, return_inverse=True)
        return classes, encoded
    if labels.task == "circular":
        return np.empty(0), labels.circle.radians(labels.target)
    return np.empty(0), labels.target.astype(np.float64)


def null_of(labels: Labels, encoded: np.ndarray, groups: np.ndarray, protocol: Protocol) -> Null:
    """Make the labels that encoded ones are held against; trials are numbered in order of time."""
    course = labels.course or labels.unit == "segments"
    return make_null(
        encoded,
        groups,
        labels.times,
        labels.task,
        course=course,
        shuffles=protocol.shuffles,
        seed=protocol.seed,
    )


def with_warnings(labels: Labels, design: Design, refitted: bool) -> Labels:
    """Add to the note, and tell at once, what classes of few trials, or of an order of their own, do to the scores.

    Order of conditions, null, what the interval covers and unit are told in every note; `refitted` where decoders are
    trained again for the interval.
    """
    word = ""
    if labels.task == "classify":
        word = few_trials(design.classes, design.columns[:, 0], design.groups, design.folds)
    untold = f"{design.null.order}: {UNTOLD}" if UNTOLD in design.null.words else ""
    for one in filter(None, (word, untold)):
        LOGGER.warning("%s: %s", labels.name, one)
    tested = np.unique(design.groups[np.concatenate([fold.test for fold in design.folds])]).size
    unit = f"{labels.unit}, of which each counts once however many windows it has"
    facts = [*design.null.sentences, f"interval: {covered(tested, refitted)}", f"unit: {unit}"]
    return replace(labels, note="; ".join(filter(None, (labels.note, word, *facts))))


def shuffled(design: Design, times: np.ndarray, protocol: Protocol) -> Design:
    """Return labels shuffled often enough to say how uncertain a score of nothing is."""
    rng = np.random.default_rng([protocol.seed, 2])
    columns = permuted_trials(design.columns[:, 0], design.groups, times, NULL_DRAWS, rng)
    return replace(design, columns=columns)
