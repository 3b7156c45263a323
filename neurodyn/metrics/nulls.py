"""Labels to hold scores against: as alike to the true ones in time as these are, and of no relation to the recording."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import factorial, prod

import numpy as np

from neurodyn.metrics.order import Kind, follows_time, order_p, runs

RANDOM_ABOVE = 0.05  # p of the test of the order above which it is taken for random
BLOCKED_FROM = 0.5  # share of neighbours of one value from which numbers come in blocks
FOLLOWS_FROM = 0.9  # of the correlation with time that the same labels have when they are sorted
REACH = 0.05  # a null that no p below this can come of is none
ENDS = 40  # the first and last 1/40 of the labels fix the line that shifts leave in place
UNTOLD = "this score cannot tell a response from drift"


@dataclass(frozen=True)
class Null:
    """Labels of no relation to the recording, and why they are these.

    Parameters
    ----------
    columns
        Shape (sample, shuffle); no column where nothing helps.
    order, words
        The order of conditions and the null, in words.
    by_trial
        Whether single trials change places, so that what is slower than a few of them may be taken off before.
    """

    columns: np.ndarray
    order: str
    words: str
    by_trial: bool = False

    @property
    def sentences(self) -> tuple[str, str]:
        """What a reader must know of both."""
        asked = self.columns.shape[1] or UNTOLD in self.words
        return (
            f"order of conditions: {self.order}",
            f"null: {self.words if asked else 'none, no shuffles were asked for'}",
        )


@dataclass(frozen=True)
class _Units:
    """What is moved: trials, or single samples of a behaviour's course.

    Parameters
    ----------
    of
        Unit of each sample, numbered in order of time, shape (sample,).
    values
        Classes, numbers or radians: the most frequent or mean label of each unit, shape (unit,).
    """

    of: np.ndarray
    values: np.ndarray


def make_null(
    target: np.ndarray, groups: np.ndarray, times: np.ndarray, task: Kind, *, course: bool, shuffles: int, seed: int
) -> Null:
    r"""Choose by the order of the labels what they are compared with.

    Trials in random order are permuted: exact, whatever drifts. Where the order is not random, drift alone can be decoded,
    and permuted labels, which no drift follows, are too easy to beat. Then,

    - where conditions come round in one order, as directions often do, a shift is another name for the same labels: the
      order within each round is drawn anew, so that null labels change as fast as the true ones;
    - of conditions in blocks, whole blocks are permuted, as the experimenter might have done;
    - other labels, and any number or direction of a behaviour, are shifted along the recording, round and round, but for the
      line from their beginning to their end, which stays where it is, since the seam would tell shifts from the truth. Shifts
      start at one sample or trial: leaving out more of those near 0 makes p too small, as true labels then are the only ones
      at a peak of theirs;
    - labels that follow time, and conditions in so few blocks that no p could reach .05, have no null.

    Parameters
    ----------
    target
        Classes as integers from 0, numbers, or radians, shape (sample,).
    groups
        Trials numbered from 0 in order of time, shape (sample,).
    times
        s, shape (sample,).
    course
        Whether the labels are the course of a behaviour, which is never in random order.
    shuffles
        Null labels to make, fewer where there are not so many shifts.

    References
    ----------
    Harris KD (2021). Nonsense correlations in neuroscience. bioRxiv, doi:10.1101/2020.11.29.402719.
    """
    rng = np.random.default_rng([seed, 1])
    trials = _Units(groups, _levels(target, groups, task))
    p = 0.0 if course else order_p(trials.values, task, rng)
    if p > RANDOM_ABOVE:
        order, words = f"random (test of neighbours, p {p:.3f})", f"{shuffles} permutations of trials"
        return Null(permuted_trials(target, groups, times, shuffles, rng), order, words, by_trial=True)
    units = _samples(target, times) if course and np.unique(groups).size < groups.size else trials
    order = "a behaviour's course, slow by nature" if course else f"not random (test of neighbours, p {p:.3f})"
    if follows_time(units.values, task) >= FOLLOWS_FROM:
        return _none(target, f"{order}, conditions follow time")
    if not course and (cycle := _cycle(trials.values)):
        return _permuted_cycles(target, trials, times, cycle, (shuffles, order), rng)
    if task == "classify" or np.mean(np.diff(units.values) == 0) >= BLOCKED_FROM:
        pieces = _blocks(units.values)
        if not (smallest := _smallest_p(units.values, pieces, task)) <= REACH:
            return _none(target, f"{order}, conditions in {len(pieces)} blocks, too few for a null")
        if order_p(units.values[[piece[0] for piece in pieces]], task, rng, neighbours=True) > RANDOM_ABOVE:
            return _permuted_blocks(target, units, times, pieces, (shuffles, order, smallest), rng)
    return _shifted(target, units, times, task, shuffles, order)


def permuted_trials(
    target: np.ndarray, groups: np.ndarray, times: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Return labels of which each trial has those of another one, whatever their order was, shape (sample, count)."""
    trials = _Units(groups, np.empty(int(groups.max()) + 1))
    donors = np.array([rng.permutation(trials.values.size) for _ in range(count)], dtype=int)
    return _moved(target, trials, times, donors)


def _none(target: np.ndarray, order: str) -> Null:
    return Null(np.empty((target.size, 0)), order, f"none, {UNTOLD}")


def _permuted_blocks(
    target: np.ndarray,
    units: _Units,
    times: np.ndarray,
    pieces: list[np.ndarray],
    told: tuple[int, str, float],
    rng: np.random.Generator,
) -> Null:
    shuffles, order, smallest = told
    donors = [np.concatenate([pieces[k] for k in rng.permutation(len(pieces))]) for _ in range(shuffles)]
    least = max(smallest, 1 / (1 + shuffles))
    words = f"{shuffles} permutations of {len(pieces)} blocks, no p below {least:.3f}"
    return Null(_moved(target, units, times, np.array(donors, dtype=int)), f"{order}, in blocks", words)


def _cycle(values: np.ndarray) -> int:
    """Return after how many trials all values come round again, each of them once; 0 where they do not."""
    length = np.unique(values).size
    same = length <= values.size / 2 and np.unique(values[:length]).size == length
    return length if same and (values[length:] == values[:-length]).all() else 0


def _permuted_cycles(
    target: np.ndarray, units: _Units, times: np.ndarray, cycle: int, told: tuple[int, str], rng: np.random.Generator
) -> Null:
    shuffles, order = told
    rounds = np.split(np.arange(units.values.size), np.arange(cycle, units.values.size, cycle))
    donors = [np.concatenate([rng.permutation(part) for part in rounds]) for _ in range(shuffles)]
    words = f"{shuffles} permutations of trials within each round"
    columns = _moved(target, units, times, np.array(donors, dtype=int))
    return Null(columns, f"{order}, the same {cycle} conditions round and round", words, by_trial=True)


def _shifted(target: np.ndarray, units: _Units, times: np.ndarray, task: Kind, shuffles: int, order: str) -> Null:
    count = units.values.size
    steps = shift_steps(count, shuffles)
    donors = (np.arange(count) - steps[:, None]) % count
    columns = _moved(target, units, times, donors)
    if task != "classify":
        line = _line(np.unwrap(units.values) if task == "circular" else units.values)
        columns = columns + (line - line[donors])[:, units.of].T
    words = f"{steps.size} shifts of the labels along the recording, no p below {1 / (1 + steps.size):.3f}"
    return Null(np.mod(columns, 2 * np.pi) if task == "circular" else columns, order, words)


def shift_steps(count: int, shuffles: int) -> np.ndarray:
    """Return by how many samples labels are shifted, evenly over the recording, 0 and all round left out, shape (shuffle,)."""
    return np.unique(np.linspace(0, count, min(shuffles, count - 1) + 2).round().astype(int))[1:-1]


def _line(values: np.ndarray) -> np.ndarray:
    """Return the line from the beginning of values to their end, shape of `values`."""
    ends = max(1, values.size // ENDS)
    return np.linspace(values[:ends].mean(), values[-ends:].mean(), values.size)


def _levels(target: np.ndarray, groups: np.ndarray, task: Kind) -> np.ndarray:
    """Return the label of each trial: the most frequent class, or the mean, shape (trial,)."""
    size = np.bincount(groups)
    if task == "classify":
        classes = int(target.max()) + 1
        return (
            np.bincount(groups * classes + target.astype(int), minlength=size.size * classes)
            .reshape(-1, classes)
            .argmax(1)
        )
    if task == "regress":
        return (np.bincount(groups, target) / size).round(9)
    return np.arctan2(np.bincount(groups, np.sin(target)), np.bincount(groups, np.cos(target))).round(9)


def _samples(target: np.ndarray, times: np.ndarray) -> _Units:
    rank = np.empty(times.size, dtype=int)
    rank[(order := np.argsort(times, kind="stable"))] = np.arange(times.size)
    return _Units(rank, target[order])


def _blocks(values: np.ndarray) -> list[np.ndarray]:
    """Cut units into blocks of one value; blocks of a common length are told apart where neighbours share their value."""
    found = runs(values)
    length = int(np.gcd.reduce([run.size for run in found]))
    return [part for run in found for part in np.split(run, run.size // length)] if length > 1 else found


def _smallest_p(values: np.ndarray, pieces: list[np.ndarray], task: Kind) -> float:
    """Return the share of the blocks' arrangements that no score can tell from the true one."""
    kinds: dict[tuple[float, int], int] = {}
    for piece in pieces:
        kind = (float(values[piece[0]]), piece.size)
        kinds[kind] = kinds.get(kind, 0) + 1
    alike = 2  # numbers and circles may be reversed
    if task == "classify":  # names of classes with blocks of the same lengths may be exchanged
        made = [
            tuple(sorted((size, n) for (value, size), n in kinds.items() if value == one)) for one in np.unique(values)
        ]
        alike = prod(factorial(made.count(one)) for one in set(made))
    return alike * prod(factorial(n) for n in kinds.values()) / factorial(len(pieces))


def _moved(target: np.ndarray, units: _Units, times: np.ndarray, donors: np.ndarray) -> np.ndarray:
    """Give each unit the labels of another one, shape (sample, shuffle); what is within a unit keeps its structure.

    Parameters
    ----------
    donors
        Unit that each unit gets its labels of, shape (shuffle, unit). Where lengths differ, relative positions are matched.
    """
    order = np.lexsort((times, units.of))
    size = np.bincount(units.of)
    begin = np.cumsum(size) - size
    unit = units.of[order]
    rank = np.arange(order.size) - begin[unit]
    out = np.empty((target.size, len(donors)))
    for column, donor in enumerate(donors):
        own = donor[unit]
        source = begin[own] + ((rank + 0.5) / size[unit] * size[own]).astype(int)
        out[order, column] = target[order][source]
    return out


def best_of_rows(columns: np.ndarray) -> np.ndarray:
    r"""Return p of each row, corrected for the rows that it may have been chosen from.

    .. math:: p_r = \frac1B \, \#\{b : \min_{r'} p_{r'b} \le p_{r0}\}

    where :math:`p_{rb}` is the share of row r's B columns that are at least as good as column b: single-step minimum of p,
    which keeps whatever rows have in common.

    Parameters
    ----------
    columns
        What is larger the better a score, of true labels, then of null labels, shape (row, column); the same labels for
        every row.

    References
    ----------
    Westfall PH, Young SS (1993). Resampling-based multiple testing. Wiley.
    """
    rounded = columns.round(9)
    above = np.array([np.searchsorted(np.sort(row), row, side="left") for row in rounded])
    p = 1 - above / columns.shape[1]
    least = p.min(axis=0)
    return (least[None] <= p[:, :1] + 1e-12).mean(axis=1)


def largest_p(columns: np.ndarray) -> np.ndarray:
    r"""Return p of each row as one of all rows, by the largest score of each shuffle.

    .. math:: p_r = \frac{1 + \#\{b : \max_{r'} s_{r'b} \ge s_{r0}\}}{1 + B}

    For rows on one scale, such as times of a trial: with many rows and few shuffles it can still find something, where
    `best_of_rows`, whose p are steps of 1 / B, cannot.

    Parameters
    ----------
    columns
        What is larger the better a score, of true labels, then of null labels, shape (row, column); the same labels for
        every row.

    Returns
    -------
    numpy.ndarray
        Shape (row,); NaN without null labels.

    References
    ----------
    Westfall PH, Young SS (1993). Resampling-based multiple testing. Wiley.
    """
    if columns.shape[1] < 2:
        return np.full(len(columns), np.nan)
    largest = columns[:, 1:].max(axis=0)
    return (1 + (largest >= columns[:, :1] - 1e-9).sum(axis=1)) / (1 + largest.size)


def facts(note: str) -> Iterator[str]:
    """Return, as sentences, what a score's note says of order, null, interval and unit."""
    for part in note.split("; "):
        if part.startswith(FACTS):
            yield f"{part[:1].upper()}{part[1:]}."


FACTS = ("order of conditions: ", "null: ", "interval: ", "unit: ")
