"""Score what models say between the frames against what is known to be true there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr
from pydantic import Field
from scipy.interpolate import make_interp_spline

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.data.scores import Score
from neurodyn.evaluate.base import PredictionEvaluation
from neurodyn.evaluate.inferred import Inferred, open_inferred
from neurodyn.metrics.interpolation import interpolation_errors, roughness

SAME_TIME = 1e-6


class InterpolationConfig(Params):
    """How interpolation is scored."""

    interpolate: bool = Field(
        default=False, description="also score every model's frames, interpolated linearly and by cubic splines"
    )
    bootstraps: int = Field(default=1000, ge=100, description="resamples of trials for the intervals")
    seed: int = Field(default=0, ge=0, description="seed of the resamples")


class Interpolation(PredictionEvaluation):
    """What models say between the frames against what is known to be true there, trial by trial.

    Over the queried times of a trial that are no frame's: `l2_error`, the mean length of the error vector; `mse`, the
    mean squared error per entry; `relative_l2_error`, length of the whole error over that of the truth. Over all queried
    times: `roughness`, the mean length of the second divided difference. All in units of the truth's `scale` (and, for
    the roughness, per s²). Where times were also asked for a few together (`--few`), that is a model of its own; the
    frames of models that have no prediction between them are interpolated. Further estimates in the group truth, such
    as `oracle`, are scored beside the models.
    """

    name = "interpolation"
    Config = InterpolationConfig
    config: InterpolationConfig

    def open(self, paths: Sequence[Path]) -> list[Inferred]:
        """Open runs with a prediction, made with `--at truth` where the model can."""
        return open_inferred(paths)

    def score(self, sources: Sequence[Inferred]) -> Iterator[Score]:
        """Return a row per trial, and their mean with fold "all"."""
        first = {one.recording.session: one for one in reversed(sources)}
        for one in sources:
            estimates = _estimates(one, self.config.interpolate)
            if one is first[one.recording.session]:
                estimates |= _references(one)
            for name, values in estimates.items():
                yield from _scores(one, name, values, self.config)


def _estimates(one: Inferred, interpolate: bool) -> dict[str, np.ndarray]:
    """Return what a model says at the times of the truth, shape (window, query, *space), under a name for each way."""
    truth, given, frames = _truth(one), one.given("at"), one.given("mean")
    if "dense" not in truth or frames is None or one.prediction is None:
        raise DataError(
            f"{one.path} cannot be compared with truth between its frames.",
            f"Found truth/dense: {'dense' in truth}; prediction: {frames is not None}.",
            f"Make it: neurodyn infer {one.path} --at truth",
        )
    found = {} if given is None else {one.model: _checked(one, given)} | _asked_in_turn(one)
    if interpolate or given is None:
        times, clock = truth["query"].values, one.windows.clock()
        found[f"{one.model}, linear"] = _interpolated(frames, clock, times, 1)
        found[f"{one.model}, spline"] = _interpolated(frames, clock, times, 3)
    return found


def _interpolated(frames: np.ndarray, clock: np.ndarray, times: np.ndarray, degree: int) -> np.ndarray:
    """Interpolate every window's frames by splines, at times that lie between them."""
    inside = [np.clip(times, own[0], own[-1]) for own in clock]
    return np.stack(
        [make_interp_spline(own, f, degree)(at) for f, own, at in zip(frames, clock, inside, strict=True)]
    ).astype(np.float32)


def _checked(one: Inferred, given: np.ndarray) -> np.ndarray:
    truth, prediction = _truth(one), one.prediction
    if prediction is not None and not np.array_equal(prediction["query"].values, truth["query"].values):
        raise DataError(
            f"{one.path} was asked at other times than truth is known for.",
            f"Found {prediction.sizes['query']} times, expected {truth.sizes['query']}.",
            f"Make it again: neurodyn infer {one.path} --at truth",
        )
    return given


def _asked_in_turn(one: Inferred) -> dict[str, np.ndarray]:
    """Return what the model predicted when it was asked for few times together."""
    given = one.given("at_few")
    if given is None or one.prediction is None:
        return {}
    return {f"{one.model}, {one.prediction.attrs['settings']['few']} at a time": given}


def _references(one: Inferred) -> dict[str, np.ndarray]:
    """Return further estimates that the recording itself holds."""
    truth = _truth(one)
    like = [str(name) for name in truth if truth[name].dims == truth["dense"].dims and name != "dense"]
    return {name: truth[name].values[one.windows.trial] for name in like}


def _scores(one: Inferred, model: str, values: np.ndarray, config: InterpolationConfig) -> Iterator[Score]:
    truth, trial = _truth(one)["dense"], one.windows.trial
    scale, times = float(truth.attrs.get("scale", 1.0)), truth["query"].values
    apart = np.abs(times[None, :, None] - one.windows.clock()[:, None, :]) > SAME_TIME
    metrics = interpolation_errors(values / scale, truth.values[trial] / scale, np.asarray(apart.all(2)))
    metrics["roughness"] = roughness(values / scale, times)
    for part in one.scored:
        for metric, found in metrics.items():
            for score in one.means(part, "interpolation", metric, found, config.bootstraps, config.seed):
                yield replace(score, model=model)


def _truth(one: Inferred) -> xr.Dataset:
    found = one.recording.table("truth")
    return xr.Dataset() if found is None else found
