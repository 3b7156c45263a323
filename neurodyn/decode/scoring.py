"""Metrics from sums over trials, so that intervals and nulls cost one matrix product."""

from __future__ import annotations

import numpy as np

from neurodyn.decode.base import Task
from neurodyn.metrics.circular import angular_difference
from neurodyn.metrics.intervals import widening


def trial_sums(
    task: Task,
    truth: np.ndarray,
    predicted: np.ndarray,
    reference: np.ndarray,
    groups: np.ndarray,
    shape: tuple[int, int],
    period: float = 360.0,
) -> np.ndarray:
    """Sum per trial what the metrics need.

    Parameters
    ----------
    truth, predicted
        Labels and predictions, shape (sample, column); radians of a whole turn for circular targets.
    reference
        What is known without features: the training mean, shape (sample, column). Used for regression.
    groups
        Trial of each sample, shape (sample,).
    shape
        Number of trials and of classes.
    period
        One turn of a circular target, degrees: 360 for directions, 180 for orientations.

    Returns
    -------
    numpy.ndarray
        Shape (trial, column, sum): count, squared error, squared deviation from the reference; for circular targets
        count, cosine of the error, absolute error in degrees; for classification the count and the correct count of each
        class.
    """
    if task == "regress":
        parts = [np.ones_like(predicted), (truth - predicted) ** 2, (truth - reference) ** 2]
    elif task == "circular":
        error = angular_difference(truth, predicted)
        parts = [np.ones_like(error), np.cos(error), np.abs(error) * period / (2 * np.pi)]
    else:
        hits = truth == predicted
        parts = [truth == k for k in range(shape[1])]
        parts += [part & hits for part in parts]
    order = np.argsort(groups, kind="stable")
    tested, begin = np.unique(groups[order], return_index=True)
    out = np.zeros((shape[0], truth.shape[1], len(parts)))
    for k, part in enumerate(parts):
        out[tested, :, k] = np.add.reduceat(part[order], begin, axis=0, dtype=np.float64)
    return out


def metric_values(task: Task, sums: np.ndarray) -> dict[str, np.ndarray]:
    r"""Turn sums into metrics.

    .. math:: R^2 = 1 - \sum_i (y_i - \hat y_i)^2 / \sum_i (y_i - \bar y_\mathrm{train})^2

    so that predicting the training mean gives exactly 0. Circular targets: the mean of
    :math:`\cos(\theta_i - \hat\theta_i)`, 1 for no error and 0 for knowing nothing of evenly spread directions, and the
    mean absolute error the short way round, in degrees.

    Parameters
    ----------
    sums
        Shape (..., sum), as from `trial_sums`, added over trials.

    Returns
    -------
    dict
        Metric -> values, shape (...); NaN where nothing was tested.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        if task == "regress":
            count, error, deviation = np.moveaxis(sums, -1, 0)
            values = {"r2": 1 - error / deviation, "mse": error / count}
        elif task == "circular":
            count, cosine, error = np.moveaxis(sums, -1, 0)
            values = {"mean cosine": cosine / count, "error, deg": error / count}
        else:
            total, correct = np.split(sums, 2, axis=-1)
            recall = np.where(total > 0, correct / total, 0.0).sum(-1) / (total > 0).sum(-1)
            values = {"accuracy": correct.sum(-1) / total.sum(-1), "balanced accuracy": recall}
    return {name: np.where(np.isfinite(value), value, np.nan) for name, value in values.items()}


TIED = 1e-9  # labels that are the same but for names give the same score but for rounding
LOWER_IS_BETTER = frozenset({"mse", "error, deg"})


def metric_gradients(task: Task, sums: np.ndarray) -> dict[str, np.ndarray]:
    """Return how each metric changes with the sums.

    Parameters
    ----------
    sums
        Shape (..., sum), as in `metric_values`.

    Returns
    -------
    dict
        Metric -> derivative by each sum, of the shape of `sums`; 0 where nothing was tested.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        if task == "classify":
            slopes = _hit_gradients(sums)
        else:
            count, first, second = np.moveaxis(sums, -1, 0)
            none, one = np.zeros_like(count), 1 / count
            if task == "regress":
                slopes = {"r2": (none, -1 / second, first / second**2), "mse": (-first / count**2, one, none)}
            else:
                slopes = {
                    "mean cosine": (-first / count**2, one, none),
                    "error, deg": (-second / count**2, none, one),
                }
            slopes = {name: np.stack(parts, axis=-1) for name, parts in slopes.items()}
    return {name: np.where(np.isfinite(slope), slope, 0.0) for name, slope in slopes.items()}


def _hit_gradients(sums: np.ndarray) -> dict[str, np.ndarray]:
    total, correct = np.split(sums, 2, axis=-1)
    tested, count = (total > 0).sum(-1, keepdims=True), total.sum(-1, keepdims=True)
    by_count = np.broadcast_to(-correct.sum(-1, keepdims=True) / count**2, total.shape)
    by_hits = np.broadcast_to(1 / count, total.shape)
    by_class = np.where(total > 0, -correct / total**2, 0) / tested, np.where(total > 0, 1 / total, 0) / tested
    return {
        "accuracy": np.concatenate([by_count, by_hits], axis=-1),
        "balanced accuracy": np.concatenate(by_class, axis=-1),
    }


def bootstrap_interval(task: Task, sums: np.ndarray, bootstraps: int, seed: int) -> dict[str, tuple[float, float]]:
    """Return 95 % percentile intervals over resampled trials, widened for few; the fitted decoders are held fixed.

    Parameters
    ----------
    sums
        Sums of the true labels' predictions, shape (repeat, trial, sum).
    """
    trials = sums.shape[1]
    weights = np.random.default_rng(seed).multinomial(trials, np.full(trials, 1 / trials), size=bootstraps)
    resampled = np.einsum("bg,rgk->brk", weights.astype(float), sums)
    whole = {name: values.mean() for name, values in metric_values(task, sums.sum(axis=1)).items()}
    bands = {}
    for name, values in metric_values(task, resampled).items():
        means = values.mean(axis=1)
        means = means[np.isfinite(means)]
        ends = np.percentile(means, [2.5, 97.5]) if means.size else np.full(2, np.nan)
        low, high = whole[name] + widening(trials) * (ends - whole[name])
        bands[name] = (float(low), float(high))
    return bands


def null_summary(name: str, value: float, null: np.ndarray) -> tuple[float, float, str]:
    """Compare a value with those of null labels.

    Returns
    -------
    tuple
        Mean over shuffles, p = (1 + number at least as good) / (1 + shuffles), and the shuffles' 95 % range in words.
    """
    if not null.size:
        return float("nan"), float("nan"), ""
    better = (value - null if name in LOWER_IS_BETTER else null - value) >= -TIED
    low, high = np.percentile(null, [2.5, 97.5])
    return float(null.mean()), float((1 + better.sum()) / (1 + null.size)), f"shuffled 95 %: {low:.3f} to {high:.3f}"
