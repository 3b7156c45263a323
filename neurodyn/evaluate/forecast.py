"""Score forecasts neuron by neuron, against the mean response to the stimulus and against the last value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from pydantic import Field

from neurodyn.core.config import Params
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.scores import NAN, Score
from neurodyn.data.windows import Windows
from neurodyn.evaluate.base import PredictionEvaluation
from neurodyn.evaluate.held import LAST_VALUE, PSTH, Held, ahead, conditions, held_of
from neurodyn.evaluate.inferred import Inferred
from neurodyn.metrics.ensemble import mean_weights
from neurodyn.metrics.forecast import (
    correlation_by_step,
    mae,
    mase,
    mse,
    mse_by_step,
    noise_ceiling,
    over_windows,
    psnr,
    skill,
    smape,
    trace_correlation,
    trace_ssim,
)
from neurodyn.metrics.intervals import block_indices, widening
from neurodyn.runs.folder import RunFolder
from neurodyn.runs.prediction import Prediction

CEILING = "noise ceiling"
ENSEMBLE = "ensemble"
OF_VARYING = ("correlation", "absolute_correlation")
BY_HORIZON = "_by_horizon"
LIKENESS = {"correlation": "r", "absolute_correlation": "|r|", "ssim": "SSIM", "skill": "Skill"}
ERRORS = {"mse": "MSE", "mae": "MAE", "smape": "SMAPE", "mase": "MASE", "psnr": "PSNR (dB)"}
BLOCK_ENTRIES = 2**20
Measures = dict[str, np.ndarray]


class ForecastConfig(Params):
    """How forecasts are scored."""

    bootstraps: int = Field(default=1000, ge=100, description="resamples of neurons for the intervals")
    seed: int = Field(default=0, ge=0, description="seed of the resamples")
    ensemble: bool = Field(
        default=False,
        description="also score the mean of all runs' forecasts, its weights chosen on validation windows",
    )


class Forecast(PredictionEvaluation):
    """Forecasts, neuron by neuron, beside the mean response to the stimulus and the last value.

    Over the horizon of every held-out window, of every neuron: `correlation`, signed, over time and averaged over windows,
    and `absolute_correlation`; `mse`, `mae` and `smape` over windows and time; `mase`, against holding the last value;
    `ssim` and `psnr`, of the range of the neuron's target; `skill` = 1 - MSE / MSE of the PSTH, the mean over the run's
    training windows of the same condition (of all, where stimuli are not told). Per step ahead: `mse_by_horizon` and
    `correlation_by_horizon`, the latter across windows. PSTH and last value are scored as models of their own, once per
    recording and part. `noise_ceiling`, where stimuli repeat in windows aligned to events: the correlation of a single
    trial with the true mean response, from all repeats of the conditions in the part.

    With `ensemble`, the mean of the runs' forecasts, as a model of its own whose rows note the weights: those with the least
    squared error on validation windows, none negative, of sum 1.

    Runs inferred on other recordings have no training windows there, hence no PSTH and no skill.
    """

    name = "forecast"
    Config = ForecastConfig
    figure = "forecast"
    labels: ClassVar = LIKENESS | ERRORS
    config: ForecastConfig

    def open(self, paths: Sequence[Path]) -> list[Inferred]:
        """Open runs with a prediction, trained or inferred with one horizon."""
        for path in paths:
            if not RunFolder(path).begun:
                raise _without_forecasts(path)
        sources = [_with_horizon(one) for one in super().open(paths)]
        _check_alike(sources)
        return sources

    def score(self, sources: Sequence[Inferred]) -> Iterator[Score]:
        """Return the mean over neurons (fold "all"), every neuron (fold "roi K"), and every step ahead (fold "S s")."""
        first = {(_key(one), part): one for one in reversed(sources) for part in one.scored}
        for path, runs in groupby(sources, key=lambda one: one.path):
            whole = Prediction.open(RunFolder(path)).whole
            for one in runs:
                for part in one.scored:
                    yield from _scores(one, part, whole, one is first[_key(one), part], self.config)
        for key in dict.fromkeys(map(_key, sources)) if self.config.ensemble else ():
            yield from _ensemble_scores([one for one in sources if _key(one) == key], self.config)


def _with_horizon(one: Inferred) -> Inferred:
    """Return the run with the horizon it was inferred with among the settings of its windows."""
    settings = {} if one.prediction is None else one.prediction.attrs.get("settings", {})
    windows = one.windows
    if settings.get("horizon"):
        windows = replace(windows, config=windows.config.model_copy(update={"horizon": settings["horizon"]}))
    if one.prediction is None or not windows.horizon:
        raise _without_forecasts(one.path)
    if len(windows.space) != 1:
        raise DataError(
            f"{one.path} forecasts a movie, not neurons.",
            f"Found frames of {' × '.join(map(str, windows.space))} pixels; expected traces.",
            f"Score its frames: neurodyn evaluate {one.path} --metric frames",
        )
    if not one.scored:
        raise DataError(
            f"{one.path} has no prediction for held-out windows.",
            f"Found parts: {', '.join(sorted(set(one.part)))}.",
            f"Make it: neurodyn infer {one.path}",
        )
    return replace(one, windows=windows)


def _without_forecasts(path: Path) -> DataError:
    return DataError(
        f"{path} has no forecasts.",
        "Expected a run with prediction.zarr, trained or inferred with a horizon.",
        f"Make them: neurodyn infer {path} --horizon SECONDS",
    )


def _check_alike(sources: Sequence[Inferred]) -> None:
    found = sorted({one.windows.config.horizon or 0.0 for one in sources})
    if len(found) > 1:
        raise ConfigError(
            "Forecasts of different horizons cannot share a table.",
            f"Found {', '.join(f'{horizon:g}' for horizon in found)} s.",
            "Score the runs of each horizon apart: neurodyn evaluate RUN… --metric forecast -o DIR",
        )


def _key(one: Inferred) -> tuple[str, str]:
    return one.recording.session, one.windows.config.split


def _alike(windows: Windows, one: Inferred) -> Windows:
    """Return the windows of a run's one session, with the horizon it was inferred with."""
    mine = windows.take(np.flatnonzero(windows.session == one.windows.session[0]))
    return replace(mine, config=one.windows.config)


def _scores(one: Inferred, part: str, whole: Windows, first: bool, config: ForecastConfig) -> Iterator[Score]:
    """Score a run on one part and, where it is the first on this recording and part, the references beside it."""
    train = None if part == "all" else _alike(whole.split()["train"], one)
    held = held_of(one.take(np.flatnonzero(one.part == part)), part, train)
    mean = _Mean.over(held.target.shape[2], config)
    for name in held.forecasts if first else [one.model]:
        yield from _model_scores(held, name, mean)
    if first:
        yield from _ceiling_scores(held, _alike(whole, one), mean)


def _ensemble_scores(runs: Sequence[Inferred], config: ForecastConfig) -> Iterator[Score]:
    """Score the mean of forecasts of one recording on the parts that did not choose its weights."""
    known = _of_runs(runs, "valid")
    weights = mean_weights(known[0].target, [held.forecasts[held.run.model] for held in known])
    said = ", ".join(f"{weight:.2f} {one.model} {one.seed}" for weight, one in zip(weights, runs, strict=True))
    train = _alike(Prediction.open(RunFolder(runs[0].path)).whole.split()["train"], runs[0])
    for part in (name for name in runs[0].scored if name != "valid"):
        first, *others = _of_runs(runs, part, train)
        members = [held.forecasts[held.run.model] for held in (first, *others)]
        mixed = {**first.forecasts, ENSEMBLE: np.tensordot(weights, members, axes=1)}
        held = replace(first, run=replace(first.run, model=ENSEMBLE), forecasts=mixed)
        for row in _model_scores(held, ENSEMBLE, _Mean.over(held.target.shape[2], config)):
            yield replace(row, note="; ".join(filter(None, (row.note, f"weights: {said}"))))


def _of_runs(runs: Sequence[Inferred], part: str, train: Windows | None = None) -> list[Held]:
    """Return the forecasts of a part by all runs; refuse runs that forecast different windows."""
    found = [_of_part(one, part, train) for one in runs]
    for held in found[1:]:
        alike = held.target.shape == found[0].target.shape
        if not alike or not np.allclose(held.target, found[0].target, rtol=1e-3, atol=1e-5, equal_nan=True):
            raise DataError(
                f"{held.run.path} and {found[0].run.path} do not forecast the same windows.",
                f"Found {held.target.shape} and {found[0].target.shape} (window, step, cell) of the part {part}, or other values.",
                "Train all members of an ensemble with the same windows.* settings and normalisation.",
            )
    return found


def _of_part(one: Inferred, part: str, train: Windows | None = None) -> Held:
    """Return the forecasts of a part; refuse a run that has none."""
    if part not in one.scored:
        raise DataError(
            f"{one.path} has no forecasts of the part {part}.",
            "An ensemble is weighed on validation windows, and scored on those of test.",
            f"Make both: neurodyn infer {one.path} --on valid,test",
        )
    return held_of(one.take(np.flatnonzero(one.part == part)), part, train)


def _model_scores(held: Held, name: str, mean: _Mean) -> Iterator[Score]:
    found = _measures(held, held.forecasts[name])
    windows, varying = found.pop("windows"), found.pop("varying")
    left_out = int((windows - varying).sum())
    note = f"{left_out} of {windows.sum()} traces left out: constant" if left_out else ""
    for metric, values in found.items():
        row = held.row(name, metric)
        if metric.endswith(BY_HORIZON):
            yield from mean.curve(row, values, held.run.windows.rate_hz)
        elif metric in OF_VARYING:
            yield from mean.neurons(replace(row, note=note), values, varying)
        else:
            yield from mean.neurons(row, values, windows)


def _measures(held: Held, forecast: np.ndarray) -> Measures:
    """Return every metric of a forecast, shape (neuron,) or (horizon, neuron), a block of neurons at a time."""
    frames = held.target.shape[0] * held.target.shape[1]
    width = max(1, BLOCK_ENTRIES // max(1, frames))
    blocks = [slice(first, first + width) for first in range(0, held.target.shape[2], width)]
    found = [
        _block_measures(
            held.target[..., block],
            forecast[..., block],
            {name: values[..., block] for name, values in held.forecasts.items()},
        )
        for block in blocks
    ]
    return {name: np.concatenate([one[name] for one in found], axis=-1) for name in found[0]}


def _block_measures(target: np.ndarray, forecast: np.ndarray, known: Mapping[str, np.ndarray]) -> Measures:
    r, error = trace_correlation(target, forecast), mse(target, forecast)
    against = {"skill": skill(error, mse(target, known[PSTH]))} if PSTH in known else {}
    return {
        "correlation": over_windows(r),
        "absolute_correlation": over_windows(np.abs(r)),
        "mse": error,
        "mae": mae(target, forecast),
        "smape": smape(target, forecast),
        "mase": mase(target, forecast, known[LAST_VALUE]),
        "ssim": over_windows(trace_ssim(target, forecast)),
        "psnr": psnr(target, forecast),
        **against,
        f"mse{BY_HORIZON}": mse_by_step(target, forecast),
        f"correlation{BY_HORIZON}": correlation_by_step(target, forecast),
        "windows": np.isfinite(target).any(axis=1).sum(axis=0),
        "varying": np.isfinite(r).sum(axis=0),
    }


def _ceiling_scores(held: Held, whole: Windows, mean: _Mean) -> Iterator[Score]:
    """Score the noise ceiling where windows begin at events and the part's conditions repeat in the recording."""
    if whole.code is None or whole.config.align != "events":
        return
    condition, scored = conditions(whole), conditions(held.run.windows)
    rows = np.flatnonzero(np.isin(condition, scored[scored >= 0]))
    if np.unique(condition[rows]).size < rows.size:
        target = ahead(whole.take(rows), held.target.shape[2])
        values, counts = noise_ceiling(target, condition[rows]), np.isfinite(target).all(axis=1).sum(axis=0)
        yield from mean.neurons(held.row(CEILING, "noise_ceiling"), values, counts)


@dataclass(frozen=True)
class _Mean:
    """The mean over neurons, with a 95 % interval by bootstrap over them.

    Parameters
    ----------
    drawn
        How often a resample draws each neuron, shape (resample, neuron).
    """

    drawn: np.ndarray

    @classmethod
    def over(cls, neurons: int, config: ForecastConfig) -> Self:
        """Draw the resamples."""
        drawn = np.zeros((config.bootstraps, neurons))
        indices = block_indices(neurons, 1, config.bootstraps, config.seed)
        np.add.at(drawn, (np.arange(config.bootstraps)[:, None], indices), 1)
        return cls(drawn)

    def neurons(self, row: Score, values: np.ndarray, counts: np.ndarray) -> Iterator[Score]:
        """Yield the mean of a metric, and every neuron that has a value.

        Parameters
        ----------
        values, counts
            The metric, and the windows behind it, shape (neuron,).
        """
        yield next(self._means(row, values[None]))
        for k in np.flatnonzero(np.isfinite(values)):
            yield replace(row, fold=f"roi {k}", value=float(values[k]), n=int(counts[k]), unit="windows")

    def curve(self, row: Score, values: np.ndarray, rate_hz: float) -> Iterator[Score]:
        """Yield the mean at every step ahead, fold the seconds; `values` of shape (horizon, neuron)."""
        for step, mean in enumerate(self._means(row, values), start=1):
            yield replace(mean, fold=f"{step / rate_hz:.3f} s")

    def _means(self, row: Score, values: np.ndarray) -> Iterator[Score]:
        """Yield the mean of each row of values, shape (row, neuron), over the neurons that have one."""
        known = np.isfinite(values)
        filled, count = np.where(known, values, 0.0), known.sum(axis=1)
        with np.errstate(invalid="ignore"):  # a row or a resample without any value
            mean, resampled = filled.sum(axis=1) / count, (self.drawn @ filled.T) / (self.drawn @ known.T)
        for k, n in enumerate(count):
            low, high = np.nanquantile(resampled[:, k], [0.025, 0.975]) if n > 1 else (NAN, NAN)
            low, high = (mean[k] + widening(int(n)) * (end - mean[k]) for end in (low, high))
            yield replace(row, value=float(mean[k]), ci_low=float(low), ci_high=float(high), n=int(n))
