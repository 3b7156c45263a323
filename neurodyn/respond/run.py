"""Ask a recording how its cells respond, in memory or into files."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.core.log import Report, silent
from neurodyn.core.provenance import version
from neurodyn.data.columns import Column, read_column
from neurodyn.data.pynapple import roi_ids
from neurodyn.data.recording import Recording
from neurodyn.data.stimulus_code import with_stimulus_alone
from neurodyn.metrics.nulls import Null, make_null
from neurodyn.respond.cells import Columns, null_count, of_events
from neurodyn.respond.conditions import Conditions, axis_of, conditions_of, events_alone
from neurodyn.respond.course import behavior_conditions, of_behavior, shift_count
from neurodyn.respond.encoding import encode, plan_model
from neurodyn.respond.events import Keep, Plan, Responses, found_window, measure, plan_trials
from neurodyn.respond.settings import RespondConfig

PREFERENCE = ("dff", "corrected", "spikes", "fluorescence")
MOST_PAIRED = 2000  # cells, of which all pairs are kept
FEW_SHUFFLES = 200


def respond(
    recording: Recording, config: RespondConfig, keep: Keep | None = None, progress: Report = silent
) -> xr.Dataset:
    """Measure how the cells of a recording respond.

    Parameters
    ----------
    keep
        Given blocks of aligned trials as they pass, shape (event, sample, *space).

    Returns
    -------
    xarray.Dataset
        `responsive_p`, `selective_p`, `tuned`, … per cell, dim roi (or component, or y and x of a movie); tuning curves with
        intervals, dim condition; of events `response` of every trial, and `average` courses over `time` from the onset, s.
        What was done is in its attributes.

    Raises
    ------
    DataError
        If the recording has no such column, no events, or too few of them.
    ConfigError
        If stimulus and behaviour are mixed, or the variable is none of the recording.
    """
    recording, name, columns = _asked(recording, config)
    if config.glm is not None:
        found = encode(recording, name, config, config.glm, _space(recording, name, config), progress)
        return _placed(found, recording)
    if columns and columns[0].behavior:
        return _to_behavior(recording, name, columns, config, progress)
    return _to_events(recording, name, columns, config, keep, progress)


def check(recording: Recording, config: RespondConfig) -> None:
    """Refuse what `respond` would refuse, before any trace is read."""
    recording, _, columns = _asked(recording, config)
    if config.glm is not None:
        plan_model(recording, config, config.glm)
    elif columns and columns[0].behavior:
        behavior_conditions(recording, columns, config)
    else:
        _planned(recording, columns, config)


def _asked(recording: Recording, config: RespondConfig) -> tuple[Recording, str, list[Column]]:
    """Return the recording with the events asked for, the name of its variable, and the columns."""
    if config.glm is not None and config.spare:
        raise ConfigError(
            f"A glm and {', '.join(config.spare)} are two questions.",
            "Expected a target with its window and measure, or a glm with its own settings: --set glm.KEY",
            "Leave one of them out.",
        )
    recording = recording if config.kind is None else with_stimulus_alone(recording, config.kind)
    columns = [read_column(recording, target) for target in config.targets]
    if len(columns) > 2 or len({column.behavior for column in columns}) > 1:
        raise ConfigError(
            f"--target {config.target} cannot be one question.",
            "Expected one column, or two of the stimulus table, or two of behaviour.",
            "Ask one after the other: --target NAME",
        )
    return recording, variable_of(recording, config), columns


def variable_of(recording: Recording, config: RespondConfig) -> str:
    """Return the variable asked for, or the one that suits."""
    if config.variable is not None:
        return str(recording[config.variable].name)
    return next((name for name in PREFERENCE if name in recording.variables), recording.variables[-1])


def _to_events(
    recording: Recording, name: str, columns: list[Column], config: RespondConfig, keep: Keep | None, progress: Report
) -> xr.Dataset:
    stimulus, conditions, plan = _planned(recording, columns, config)
    movie = recording[name].ndim == 3
    config = config.model_copy(update={"shuffles": FEW_SHUFFLES}) if movie and config.shuffles is None else config
    variable = recording[name].variable
    if config.window == "found":
        first = measure(variable, plan, conditions.code, conditions.count, config)
        plan = replace(plan, window=found_window(first))
    responses = measure(variable, plan, conditions.code, conditions.count, config, keep, progress)
    null = _null(conditions, stimulus["start"].values, config)
    found = of_events(responses, conditions, null, config)
    told = _told(recording, name, config, conditions) | _told_of_events(plan, null, config)
    return _dataset(recording, name, found, conditions, config, told, (responses, stimulus))


def _planned(recording: Recording, columns: list[Column], config: RespondConfig) -> tuple[xr.Dataset, Conditions, Plan]:
    stimulus = _events(recording)
    axes = [axis_of(column, column.values, config.bins, config.period) for column in columns]
    conditions = conditions_of(axes) if axes else events_alone(stimulus.sizes["event"])
    return stimulus, conditions, plan_trials(recording.time, stimulus, config)


def _events(recording: Recording) -> xr.Dataset:
    table = recording.table("stimulus")
    if table is None or not table.sizes.get("event"):
        behavior = recording.table("behavior")
        courses = [] if behavior is None else [str(key) for key in behavior.data_vars]
        raise DataError(
            f"Recording '{recording.session}' has no events to respond to.",
            f"Found no stimulus table; behaviour: {', '.join(courses) or 'none'}.",
            f"Name a behaviour: --target {courses[0]}" if courses else "Add events: neurodyn convert … --stimulus FILE",
        )
    return recording.stimulus.isel(event=np.argsort(table["start"].values, kind="stable"))


def _null(conditions: Conditions, start: np.ndarray, config: RespondConfig) -> Null:
    """Return null codes of the events that have a condition; see `make_null` for which, by the order of conditions."""
    if conditions.count < 2:
        return Null(np.empty((start.size, 0)), "one condition", "none")
    known = conditions.code >= 0
    code = conditions.code[known]
    shuffles = null_count(config)
    return make_null(
        code, np.arange(code.size), start[known], "classify", course=False, shuffles=shuffles, seed=config.seed
    )


def _to_behavior(
    recording: Recording, name: str, columns: list[Column], config: RespondConfig, progress: Report
) -> xr.Dataset:
    conditions = behavior_conditions(recording, columns, config)
    found = of_behavior(recording[name].variable, recording.rate_hz, conditions, config, progress)
    steps = shift_count(recording.time.size, config)
    told = _told(recording, name, config, conditions) | {
        "measured": "mean of all frames of a bin",
        "order": "a behaviour's course, slow by nature",
        "null": f"{steps.size} shifts of the behaviour along the recording, no p below {1 / (1 + steps.size):.3f}",
    }
    return _dataset(recording, name, found, conditions, config, told, None)


def _told(recording: Recording, name: str, config: RespondConfig, conditions: Conditions) -> dict[str, Any]:
    return {
        "session": recording.session,
        "variable": name,
        "units": str(recording[name].attrs.get("units", "")),
        "target": config.target or "",
        "condition": conditions.name,
        "kinds": json.dumps({axis.name: axis.kind for axis in conditions.axes}),
        "behavior": int(bool(conditions.axes) and conditions.code.size == recording.time.size),
        "alpha": config.alpha,
        "version": version(),
        "config": config.model_dump_json(),
    }


def _told_of_events(plan: Plan, null: Null, config: RespondConfig) -> dict[str, Any]:
    first, stop = plan.window
    less = f" less the mean of the {-plan.frames.offset[0]:.2g} s before" if plan.subtract else ""
    found = ", where the population responds" if config.window == "found" else ""
    return {
        "behavior": 0,
        "measured": f"{config.measure} from {first:.3g} to {stop:.3g} s after the onset{found}{less}",
        "window": [first, stop],
        "event_duration": plan.event,
        "order": null.order,
        "null": null.words,
        "responsive_by": "signs of response less baseline flipped, largest t of conditions"
        if plan.subtract
        else "none: no baseline",
    }


def _dataset(
    recording: Recording,
    name: str,
    found: Columns,
    conditions: Conditions,
    config: RespondConfig,
    told: dict[str, Any],
    trials: tuple[Responses, xr.Dataset] | None,
) -> xr.Dataset:
    space, shape = _space(recording, name, config)
    lead = ("condition",)
    data: dict[str, Any] = {
        key: (lead * (values.ndim - 1) + space, values.reshape(*values.shape[:-1], *shape))
        for key, values in found.items()
    }
    coords: dict[str, Any] = {"condition": np.array(conditions.labels, dtype=object)}
    for place, axis in enumerate(conditions.axes):
        coords[f"condition_{axis.name}"] = (
            "condition",
            axis.levels[conditions.places[:, place]],
            {"units": axis.units},
        )
    data["number"] = ("condition", np.bincount(conditions.code[conditions.code >= 0], minlength=conditions.count))
    if trials is not None:
        more, times = _of_trials(*trials, conditions, space, shape)
        data, coords = data | more, coords | times
    return _placed(xr.Dataset(data, coords, told), recording)


def _placed(found: xr.Dataset, recording: Recording) -> xr.Dataset:
    """Number the cells of traces as the recording does."""
    for dim in {"roi", "component"} & set(map(str, found.dims)):
        count = found.sizes[dim]
        found = found.assign_coords(
            {dim: roi_ids(recording.table("rois"), count) if dim == "roi" else np.arange(count)}
        )
    return found


def _of_trials(
    responses: Responses, stimulus: xr.Dataset, conditions: Conditions, space: tuple[str, ...], shape: tuple[int, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    offset = responses.plan.frames.offset
    data: dict[str, Any] = {
        "response": (("event", *space), responses.response.reshape(-1, *shape)),
        "average": (("condition", "time", *space), responses.average.reshape(-1, offset.size, *shape)),
        "average_sem": (("condition", "time", *space), responses.sem.reshape(-1, offset.size, *shape)),
    }
    if conditions.count > 1 and len(space) == 1 and shape[0] <= MOST_PAIRED:
        data |= _correlations(responses.response, conditions, space[0])
    coords = {
        "time": ("time", offset, {"units": "s"}),
        "start": ("event", stimulus["start"].values.astype(float), {"units": "s"}),
        "stop": ("event", stimulus["stop"].values.astype(float), {"units": "s"}),
        "event_condition": ("event", conditions.code),
    }
    return data, coords


def _correlations(response: np.ndarray, conditions: Conditions, dim: str) -> dict[str, Any]:
    """Return correlations of every two cells: of their tuning curves (signal), and of their trials less these (noise)."""
    known = conditions.code >= 0
    values, code = np.nan_to_num(response[known]).astype(np.float64), conditions.code[known]
    means = np.stack([values[code == k].mean(axis=0) for k in range(conditions.count)])
    signal, noise = (_all_pairs(part) for part in (means, values - means[code]))
    pair = (dim, "other")
    return {"signal_correlation": (pair, signal), "noise_correlation": (pair, noise)}


def _all_pairs(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean(axis=0)
    spread = np.sqrt((centred**2).sum(axis=0))
    scaled = np.divide(centred, spread, out=np.full(centred.shape, np.nan), where=spread > 1e-12)
    return (scaled.T @ scaled).astype(np.float32)


def _space(recording: Recording, name: str, config: RespondConfig) -> tuple[tuple[str, ...], tuple[int, ...]]:
    dims, shape = tuple(map(str, recording[name].dims[1:])), recording[name].shape[1:]
    return dims, tuple(size // config.bin for size in shape) if len(shape) == 2 else shape
