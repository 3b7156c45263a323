"""What is known of every cell: whether it responds, whether it tells conditions apart, how reliably, and to what most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurodyn.metrics.grouped import (
    corrected,
    correlation,
    group_means,
    half_means,
    information,
    mean_intervals,
    permutation_p,
    sign_flip_p,
    without_baseline,
    without_drift,
)
from neurodyn.metrics.nulls import Null
from neurodyn.metrics.tuning import half_rise
from neurodyn.respond.axes import of_axis
from neurodyn.respond.conditions import Conditions
from neurodyn.respond.events import Responses
from neurodyn.respond.settings import RespondConfig

CELLS = 1024  # at once: what is drawn is the same for all of them
WAVES, TRIALS_PER_WAVE = 8, 20
NORMAL = 1.96
INFORMED = 100  # null labels that the bias of information is told from
Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Units:
    """What is resampled: per condition the sum and the number of values of each trial, or stretch of time.

    Parameters
    ----------
    sums, numbers
        Shape (unit, cell), one of each per condition.
    """

    sums: Sequence[np.ndarray]
    numbers: Sequence[np.ndarray]

    @classmethod
    def of_trials(cls, values: np.ndarray, conditions: Conditions) -> Units:
        """Take every trial as a unit; `values` of shape (event, cell)."""
        parts = [values[conditions.code == k] for k in range(conditions.count)]
        return cls([np.nan_to_num(part) for part in parts], [np.isfinite(part).astype(float) for part in parts])


def of_events(responses: Responses, conditions: Conditions, null: Null, config: RespondConfig) -> Columns:
    """Return columns of the table of cells, shape (cell,), and of tuning curves, shape (condition, cell)."""
    parts = []
    for begin in range(0, responses.response.shape[1], CELLS):
        chosen = slice(begin, begin + CELLS)
        parts.append(
            _tested(responses, conditions, null, config, chosen) | _tuned(responses, conditions, config, chosen)
        )
    return with_q({name: np.concatenate([part[name] for part in parts], axis=-1) for name in parts[0]}, config.alpha)


def with_q(columns: Columns, alpha: float) -> Columns:
    """Add to each p its q over cells, and whether q is below alpha."""
    told = {"responsive_p": "responsive", "selective_p": "tuned", "spatial_information_p": "informative"}
    out: Columns = {}
    for name, values in columns.items():
        out[name] = values
        if name in told:
            q = corrected(values)
            out |= {name.replace("_p", "_q"): q, told[name]: np.nan_to_num(q, nan=1.0) < alpha}
    return out


def slow_waves(null: Null, events: int, conditions: int) -> int:
    """Return how many slow cosines are taken off before conditions are compared: none where whole blocks change places."""
    return min(WAVES, events // TRIALS_PER_WAVE, max(0, events // conditions // 2 - 1)) if null.by_trial else 0


def _tested(responses: Responses, conditions: Conditions, null: Null, config: RespondConfig, chosen: slice) -> Columns:
    code, count = conditions.code, conditions.count
    found: Columns = {"responsive_p": np.full(responses.response[:, chosen].shape[1], np.nan)}
    if responses.plan.subtract:
        rng = np.random.default_rng([config.seed, 1])  # anew for every block of cells, whose size then does not matter
        found["responsive_p"] = sign_flip_p(responses.change[:, chosen], code, count, max(1, null_count(config)), rng)
    if count < 2:
        return found
    known = code >= 0
    # Neither knows the labels, so that permuting these afterwards is as exact as before.
    waves = slow_waves(null, int(known.sum()), count)
    flat, level = (without_drift(part[known][:, chosen], waves) for part in (responses.response, responses.level))
    flat = without_baseline(flat, level) if responses.plan.subtract else flat
    found["selective_p"] = permutation_p(flat, code[known], null.columns, count)
    found["information"] = information(flat, code[known], null.columns[:, :INFORMED], count)
    return found


def null_count(config: RespondConfig) -> int:
    """Return how many null labels are drawn."""
    return 1000 if config.shuffles is None else config.shuffles


def _tuned(responses: Responses, conditions: Conditions, config: RespondConfig, chosen: slice) -> Columns:
    values = responses.response[:, chosen]
    mean, variance, number = group_means(values, conditions.code, conditions.count)
    units = Units.of_trials(values, conditions)
    best = np.nan_to_num(mean, nan=-np.inf).argmax(axis=0)
    cell = np.arange(mean.shape[1])
    course = responses.average[best, :, cell + (chosen.start or 0)].T
    plan = responses.plan
    latency = half_rise(course, plan.frames.offset, plan.window[1]) if plan.subtract else np.full(cell.size, np.nan)
    return {
        "preferred": best,
        "peak_response": mean[best, cell],
        "latency": latency,
    } | of_curves(mean, number, units, conditions, config, variance / np.maximum(number, 1))


def of_curves(
    mean: np.ndarray,
    number: np.ndarray,
    units: Units,
    conditions: Conditions,
    config: RespondConfig,
    squared_error: np.ndarray | None = None,
) -> Columns:
    """Return tuning curves with their intervals, their reliability, and what they say of each column.

    Parameters
    ----------
    squared_error
        Of the means, where it is known; else as the intervals tell it, shape (condition, cell).
    """
    low, high = mean_intervals(units.sums, units.numbers, config.bootstraps, np.random.default_rng([config.seed, 2]))
    error = ((high - low) / (2 * NORMAL)) ** 2 if squared_error is None else squared_error
    halves = list(half_means(units.sums, units.numbers, config.splits, np.random.default_rng([config.seed, 3])))
    found: Columns = {"tuning": mean, "tuning_low": low, "tuning_high": high}
    if conditions.count > 2:
        with np.errstate(invalid="ignore"):
            found["reliability"] = np.mean([correlation(one, other) for one, other in halves], axis=0)
    for place, axis in enumerate(conditions.axes):
        prefix = f"{axis.name}_" if len(conditions.axes) > 1 else ""
        own = of_axis(axis, conditions.places[:, place], mean, error, number, halves)
        found |= {f"{prefix}{name}": values for name, values in own.items()}
    return found
