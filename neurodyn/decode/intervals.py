"""95 % intervals of cross-validated scores: stretches of trials are left out of the whole cross-validation in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import t as student

from neurodyn.decode.base import Task
from neurodyn.decode.scoring import bootstrap_interval, metric_gradients, metric_values, trial_sums
from neurodyn.decode.splits import Fold
from neurodyn.metrics.intervals import DECODING_COVERS, alike, long_run

FIXED = "95 %, for the decoders as they were trained: what training them anew would change is left out"
FEW = "none, fewer than 8 trials"
FEWEST = 8
STRETCHES = 10
NULL_DRAWS = 60
MOST_ALIKE = 0.7  # autocorrelation of neighbouring trials; more could not be told from few
TRAINING = (
    1.25  # least variance of a score relative to that over test trials alone, for five folds: 1 + test / training
)
REFIT_WEIGHT = 0.3  # of the jackknife's variance in that of hits; found in simulations, as what covers 95 %


@dataclass(frozen=True)
class Refits:
    """How predictions of other trials change when a stretch of trials is left out.

    Parameters
    ----------
    change
        Change of the sums over the tested trials that remain, shape (fold, stretch, sum).
    left
        How many they are, shape (fold, stretch).
    """

    change: np.ndarray
    left: np.ndarray


@dataclass(frozen=True)
class Evidence:
    """What is known of the scores of one feature.

    Parameters
    ----------
    task
        "regress", "classify" or "circular".
    sums
        Sums of the true labels' predictions, shape (repeat, trial, sum), as from `trial_sums`; trials in order of time.
    repeat
        Repeat of each fold, shape (fold,).
    refits
        None where decoders are too costly to be trained again.
    null
        Scores of shuffled labels, metric -> shape (shuffle,).
    """

    task: Task
    sums: np.ndarray
    repeat: np.ndarray
    refits: Refits | None
    null: dict[str, np.ndarray]


def stretches(trials: int) -> np.ndarray:
    """Return the stretch of neighbouring trials that each trial belongs to, shape (trial,)."""
    return np.arange(trials) * min(STRETCHES, trials) // trials


def leave_out(
    predict: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    task: Task,
    fold: Fold,
    target: np.ndarray,
    before: np.ndarray,
    groups: np.ndarray,
    classes: int,
    period: float = 360.0,
) -> Refits:
    """Train a fold anew without each stretch of trials, with the settings that were chosen with it.

    Parameters
    ----------
    predict
        Takes which training samples to keep and which test samples, both bool, and the labels of those kept, shape
        (sample, 1); returns predictions, shape (sample, 1).
    target
        Labels of all samples, shape (sample,).
    before
        Sums of the predictions with all training samples, shape (trial, sum), as from `trial_sums`.
    groups
        Trials numbered from 0 in order of time, shape (sample,).
    classes
        Number of classes; 0 for numbers.
    period
        One turn of a circular target, degrees.

    Returns
    -------
    Refits
        Of one fold: shapes (stretch, sum) and (stretch,).
    """
    stretch = stretches(int(groups.max()) + 1)[groups]
    shape = (int(groups.max()) + 1, classes)
    train, test = target[fold.train, None], target[fold.test, None]
    change, left = np.zeros((stretch.max() + 1, before.shape[-1])), np.zeros(stretch.max() + 1)
    for k in range(len(left)):
        kept, tested = stretch[fold.train] != k, stretch[fold.test] != k
        if not tested.any() or np.unique(groups[fold.train][kept]).size < 2:
            continue
        trials = groups[fold.test][tested]
        mean = np.broadcast_to(train[kept].mean(axis=0), test[tested].shape)
        after = trial_sums(task, test[tested], predict(kept, tested, train[kept]), mean, trials, shape, period)[:, 0]
        remain = np.unique(trials)
        change[k] = (after - before)[remain].sum(axis=0)
        left[k] = remain.size
    return Refits(change, left)


def stacked(folds: Sequence[Refits]) -> Refits:
    """Join the refits of all folds."""
    return Refits(np.stack([fold.change for fold in folds]), np.stack([fold.left for fold in folds]))


def score_interval(metric: str, evidence: Evidence) -> tuple[float, float]:
    r"""Return the 95 % interval of the mean score that recordings of as many trials would give.

    A score varies from recording to recording by its test trials and by what is learned from the training trials. Ten
    stretches of neighbouring trials are left out in turn, and decoders are trained again without each. The jackknife's
    variance over stretches counts twice and more what only one test fold or another makes of a changed training set;
    the variance of the change over folds is taken off. It is no less than the variance over test trials with the
    decoders fixed, :math:`1 + n_\mathrm{test} / n_\mathrm{train}` times (Nadeau & Bengio 2003, Machine Learning
    52:239-281). Both are widened where neighbouring trials are alike, by their autocorrelation at one trial.

    Errors are taken on a logarithmic scale, :math:`\log(1 - R^2)` or :math:`\log` of the error, about the centre of a
    log-normal mean; the mean cosine by :math:`\operatorname{arctanh}`; shares of hits by the logit with one hit and one
    miss added to an effective number of trials (Agresti & Coull 1998; Korn & Graubard 1998), so that 100 % correct has an
    interval. Hits flip with any change of training, so the jackknife's variance has a small weight in theirs.
    R² no higher than null labels' may be is at least as uncertain as theirs, since it can be near 0 by choice of the
    strongest penalty.

    Returns
    -------
    tuple of float
        NaN of fewer than 8 trials.
    """
    value, own, moved = _influences(metric, evidence)
    if tested_trials(evidence) < FEWEST or not np.isfinite(value):
        return float("nan"), float("nan")
    trials, jackknifed = _variances(own, moved, evidence)
    if evidence.task == "classify":
        return _share_interval(value, trials, jackknifed, evidence)
    scale = _SCALES[metric]
    slope = scale.slope(value) ** 2
    reach = _reach(own, trials * slope, jackknifed * slope, evidence)
    centre = float(scale.to(value))
    if scale.logarithmic:
        centre += min((reach / _quantile(_count(evidence))) ** 2, 0.5) / 2
    if metric == "r2" and _may_be_nothing(value, evidence):
        reach = max(reach, float(np.quantile(np.abs(_spread_of_nothing(evidence)), 0.95)))
    low, high = sorted((scale.back(centre - reach), scale.back(centre + reach)))
    return float(low), float(high)


def fixed_interval(metric: str, evidence: Evidence, bootstraps: int, seed: int) -> tuple[float, float]:
    """Return the interval of the score of decoders held fixed, by bootstrap over trials.

    Where all trials are alike, as all hits, resamples tell nothing: shares of hits then have that of `score_interval`.
    """
    low, high = bootstrap_interval(evidence.task, evidence.sums, bootstraps, seed)[metric]
    blind = low == high and evidence.task == "classify"
    return score_interval(metric, evidence) if blind or tested_trials(evidence) < FEWEST else (low, high)


def difference_interval(metric: str, one: Evidence, other: Evidence) -> tuple[float, float, float]:
    """Return one score minus another of the same folds, and the 95 % interval of the mean difference.

    The variances are those of `score_interval`, of trials' and stretches' differences; of hits one trial found by either
    alone is added (Agresti & Min 2005, Statistics in Medicine 24:729-740), and differences of R² that may be
    nothing are at least as uncertain as those of null labels, on the scale of `score_interval`.
    """
    (value, own, moved), (minus, others, away) = _influences(metric, one), _influences(metric, other)
    difference, own = value - minus, own - others
    if tested_trials(one) < FEWEST or not np.isfinite(difference):
        return difference, float("nan"), float("nan")
    trials, jackknifed = _variances(own, None if moved is None or away is None else moved - away, one)
    if one.task == "classify":
        trials += 1 / (tested_trials(one) + 2) ** 2
        reach = _hit_reach(trials, jackknifed, tested_trials(one))
    else:
        reach = _reach(own, trials, jackknifed, one)
    if metric == "r2" and (_may_be_nothing(value, one) or _may_be_nothing(minus, other)):
        null = (1 - minus) * _spread_of_nothing(other) - (1 - value) * _spread_of_nothing(one)
        reach = max(reach, float(np.quantile(np.abs(null), 0.95)))
    return difference, float(difference - reach), float(difference + reach)


def _may_be_nothing(value: float, evidence: Evidence) -> bool:
    """Say whether an R² lies no higher than those of null labels may."""
    null = evidence.null["r2"]
    return null.size > 0 and value <= float(np.quantile(null, 0.975))


def _spread_of_nothing(evidence: Evidence) -> np.ndarray:
    """Return deviations of log(1 - R²) of null labels from that of their mean, shape (shuffle,)."""
    null = evidence.null["r2"]
    return np.asarray(_log(1 - null)) - np.asarray(_log(1 - null.mean()))


def covered(trials: int, refitted: bool) -> str:
    """Say what the intervals of scores of so many trials cover; `refitted` where decoders are trained again for them."""
    if trials < FEWEST:
        return FEW
    return DECODING_COVERS if refitted else FIXED


def tested_trials(evidence: Evidence) -> int:
    """Return the number of trials that were tested."""
    return int(evidence.sums.any(axis=(0, 2)).sum())


def _influences(metric: str, evidence: Evidence) -> tuple[float, np.ndarray, np.ndarray | None]:
    """Return the score, how each trial's own prediction bears on it, and by how much each refit moves it.

    Shapes (trial,) and (fold, stretch), in the score's unit.
    """
    totals = evidence.sums.sum(axis=1)
    value = float(metric_values(evidence.task, totals)[metric].mean())
    slopes = metric_gradients(evidence.task, totals)[metric] / len(totals)
    own = np.einsum("rgk,rk->g", evidence.sums, slopes)
    if evidence.refits is None:
        return value, own, None
    return value, own, np.einsum("fjk,fk->fj", evidence.refits.change, slopes[evidence.repeat])


def _variances(own: np.ndarray, moved: np.ndarray | None, evidence: Evidence) -> tuple[float, float]:
    """Return the variance over test trials, decoders fixed, and the jackknife's over stretches without its noise."""
    count = tested_trials(evidence)
    trials = float(count / (count - 1) * (own**2).sum())
    if moved is None or evidence.refits is None:
        return trials, trials
    left = evidence.refits.left
    part = stretches(own.size)
    most = left.max(axis=1).sum()
    effect = np.bincount(part, own) - moved.sum(axis=0) * most / np.maximum(left.sum(axis=0), 1)
    size = effect.size
    jackknifed = size / (size - 1) * ((effect - effect.mean()) ** 2).sum()
    noise = sum(
        here.size * here.var(ddof=1) for here in (moved[left[:, k] > 0, k] for k in range(size)) if here.size > 1
    )
    return trials, float(max(jackknifed - noise, 0.0))


def _reach(own: np.ndarray, trials: float, jackknifed: float, evidence: Evidence) -> float:
    """Return half the width of an interval from the two variances, widened for trials that are like their neighbours."""
    length = max(1.0, own.size / (stretches(own.size).max() + 1))
    long, within = long_run(alike(own, MOST_ALIKE), length)
    return _quantile(_count(evidence)) * float(np.sqrt(long * max(jackknifed / within, TRAINING * trials)))


def _count(evidence: Evidence) -> int:
    """Return the number of units behind the jackknife's variance: stretches, or trials where nothing was refitted."""
    return tested_trials(evidence) if evidence.refits is None else evidence.refits.left.shape[1]


def _quantile(count: int) -> float:
    return float(student.ppf(0.975, count - 1))


def _hit_reach(trials: float, jackknifed: float, count: int) -> float:
    return _quantile(count) * float(np.sqrt(trials + REFIT_WEIGHT * max(jackknifed - trials, 0)))


def _share_interval(value: float, trials: float, jackknifed: float, evidence: Evidence) -> tuple[float, float]:
    count, samples = tested_trials(evidence), float(evidence.sums[0, :, : evidence.sums.shape[-1] // 2].sum())
    spread = value * (1 - value)
    effective = min(spread / trials, max(samples, count)) if min(trials, spread) > 0 else float(count)
    share = (value * effective + 1) / (effective + 2)
    slope = effective / (effective + 2) / (share * (1 - share))
    least = 1 / ((effective + 2) * share * (1 - share))
    reach = _hit_reach(least, jackknifed * slope**2, count)
    ends = expit(logit(share) + np.array([-reach, reach]))
    low, high = np.clip((ends * (effective + 2) - 1) / effective, 0, 1)
    return low, high


@dataclass(frozen=True)
class _Scale:
    """A scale on which a score is nearly normal: there, back, and its slope."""

    to: Callable[[np.ndarray | float], np.ndarray | float]
    back: Callable[[float], float]
    slope: Callable[[float], float]
    logarithmic: bool


def _log(value: np.ndarray | float) -> np.ndarray | float:
    return np.log(np.maximum(value, 1e-12))


_ERROR = _Scale(_log, np.exp, lambda value: 1 / max(value, 1e-12), True)
_SCALES = {
    "r2": _Scale(lambda v: _log(1 - v), lambda x: 1 - np.exp(x), lambda v: 1 / max(1 - v, 1e-12), True),
    "mse": _ERROR,
    "error, deg": _ERROR,
    "mean cosine": _Scale(
        lambda v: np.arctanh(np.clip(v, -1 + 1e-9, 1 - 1e-9)), np.tanh, lambda v: 1 / max(1 - v**2, 1e-9), False
    ),
}
