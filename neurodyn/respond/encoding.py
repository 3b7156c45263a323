"""Encoding models: what each of several stimuli and behaviours tells of a cell that the others do not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.core.log import Report, silent
from neurodyn.core.provenance import version
from neurodyn.data.aligned import binned
from neurodyn.data.recording import Recording
from neurodyn.metrics.glm import Blocks, GaussianBlocks, Held, PoissonBlocks, ScoreTest, held_out
from neurodyn.metrics.grouped import as_large, corrected, mean_intervals
from neurodyn.metrics.intervals import jackknife_reach
from neurodyn.metrics.nulls import shift_steps
from neurodyn.respond.encoded import OF_KERNELS, OF_REGRESSORS
from neurodyn.respond.regressors import Bins, CourseRegressor, Regressor, regressors_of
from neurodyn.respond.settings import GlmConfig, RespondConfig

SHUFFLES = 200
BLOCK, MOST_BLOCKS = 30.0, 50  # s, at least
BYTES = 2**28  # of traces at once, single precision
SPARSE = 0.1
FINE = 2 / 3  # of the narrowest bump, over which frames are averaged for tests
WIDE = 128  # columns of null draws that are multiplied at once
Columns = dict[str, np.ndarray]
Family = Literal["gaussian", "poisson"]
Space = tuple[tuple[str, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Plan:
    """What is regressed on what.

    Parameters
    ----------
    regressors
        Which.
    design
        Constant, drift and regressors, of mean 0 and standard deviation 1, float32, shape (known frame, column).
    scale
        Standard deviation of every column before, shape (column,).
    owner
        Regressor of each column, -1 of constant and drift, shape (column,).
    block
        Of each known frame, -1 in gaps, shape (known frame,).
    bins
        Known frames in bins.
    """

    regressors: list[Regressor]
    design: np.ndarray
    scale: np.ndarray
    owner: np.ndarray
    block: np.ndarray
    bins: Bins

    @property
    def free(self) -> int:
        """Columns that bear no penalty."""
        return int((self.owner < 0).sum())

    def models(self) -> dict[str, np.ndarray]:
        """Return which columns each model has: all of them, drift, and of every regressor k all but it, and it alone."""
        drift = self.owner < 0
        found = {"all": np.ones(drift.size, dtype=bool), "drift": drift}
        for k in range(len(self.regressors)):
            found |= {f"without {k}": self.owner != k, f"alone {k}": drift | (self.owner == k)}
        return found


def plan_model(recording: Recording, config: RespondConfig, glm: GlmConfig) -> Plan:
    """Make the design of a recording, and divide its frames into blocks.

    Raises
    ------
    DataError
        If a column is missing, or too few frames are known for the folds.
    """
    regressors, time = regressors_of(recording, config, glm), recording.time
    known = np.logical_and.reduce([one.known for one in regressors])
    borders = _borders(recording, glm)
    block = np.searchsorted(borders[1:-1], time, side="right")
    gap = time >= borders[block + 1] - glm.gap
    block = np.where(gap, -1, block)[known]
    counts = np.bincount(block[block >= 0], minlength=borders.size - 1)
    if not known.any() or (counts < 2).any():
        raise DataError(
            "Too few frames are left for the model.",
            f"Regressors are known at {known.sum()} of {time.size} frames; {int((counts < 2).sum())} of {counts.size} blocks "
            "have none.",
            "Leave out what is known for a part of the time, or take a shorter gap: --set glm.gap=0.5",
        )
    drift = _drift(time[known], glm.drift)
    parts = [drift, *(one.columns[known] for one in regressors)]
    owner = np.repeat(np.arange(-1, len(regressors)), [part.shape[1] for part in parts])
    design, scale = _standard(np.concatenate(parts, axis=1))
    size = max(1, int(min(one.basis.width for one in regressors) * recording.rate_hz * FINE))
    return Plan(regressors, design, scale, owner, block, Bins.of(time, known, size))


def _borders(recording: Recording, glm: GlmConfig) -> np.ndarray:
    """Return where blocks begin and end, s, shape (block + 1,): at onsets, where there are events."""
    first, stop = recording.time[0], recording.time[-1] + 1 / recording.rate_hz
    length = max(BLOCK, 5 * glm.gap)
    count = int(min((stop - first) // length, MOST_BLOCKS)) // glm.folds * glm.folds
    if count < glm.folds:
        raise DataError(
            f"Recording '{recording.session}' is too short to be held against itself.",
            f"It lasts {stop - first:.0f} s; {glm.folds} folds of blocks of {length:g} s need {glm.folds * length:g}.",
            "Take fewer folds: --set glm.folds=3",
        )
    borders = np.linspace(first, stop, count + 1)
    table = recording.table("stimulus")
    if table is not None and table.sizes.get("event", 0) > 2 * count:
        onset = np.sort(table["start"].values.astype(float))
        near = onset[np.clip(np.searchsorted(onset, borders[1:-1]), 0, onset.size - 1)]
        borders[1:-1] = np.where(np.abs(near - borders[1:-1]) < length / 3, near, borders[1:-1])
    return borders


def _drift(time: np.ndarray, period: float) -> np.ndarray:
    """Return a constant, a line and cosines of long periods, shape (time, column)."""
    place = (time - time[0]) / max(float(np.ptp(time)), 1e-9)
    waves = np.arange(1, int(2 * np.ptp(time) / period) + 1)
    return np.column_stack([np.ones(time.size), place, np.cos(np.pi * place[:, None] * waves)])


def _standard(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return columns of mean 0 and standard deviation 1, but for the constant, and their standard deviations before."""
    spread = columns.std(axis=0, dtype=np.float64)
    scale = np.where(spread > 1e-9, spread, 1.0)
    design = (columns - columns.mean(axis=0, dtype=np.float64)) / scale
    design[:, 0] = 1.0
    return design.astype(np.float32), scale


def encode(
    recording: Recording, name: str, config: RespondConfig, glm: GlmConfig, space: Space, progress: Report = silent
) -> xr.Dataset:
    """Regress every cell on all regressors at once; see `neurodyn.respond.run.respond`.

    Parameters
    ----------
    name
        Of the variable.
    space
        Dimensions of a cell, and how many there are along each.

    Returns
    -------
    xarray.Dataset
        `explained`, the share of deviance beyond drift that frames left out have, per cell; per regressor `unique`, what of
        it goes when the regressor is left out, `alone`, what it tells without the others, `p` and `q`, and whether the cell
        `encodes` it; `kernel` with intervals, over regressors, their levels and time.
    """
    plan = plan_model(recording, config, glm)
    variable, parts = recording[name].variable, []
    family = glm.family or _family_of(variable)
    total, done = int(np.prod(variable.shape[1:], dtype=np.int64)) // config.bin**2, 0
    for values in _blocks(variable, plan, config, family):
        parts.append(_of_block(values, plan, config, glm, family))
        done += values.shape[1]
        progress("fitting", done / total)
    found = {key: np.concatenate([part[key] for part in parts], axis=-1) for key in parts[0]}
    found["q"] = np.stack([corrected(p) for p in found["p"]])
    found["encodes"] = np.nan_to_num(found["q"], nan=1.0) < config.alpha
    return _labelled(found, plan, space).assign_attrs(_told(recording, name, plan, config, glm, family))


def _family_of(variable: xr.Variable) -> Family:
    some = variable[:1000].values
    some = some[np.isfinite(some)]
    return "poisson" if some.size and some.min() >= 0 and np.mean(some == 0) > SPARSE else "gaussian"


def _blocks(variable: xr.Variable, plan: Plan, config: RespondConfig, family: Family) -> Iterator[np.ndarray]:
    """Yield known frames of some cells, or of some of a movie's pixels, float32, shape (known frame, cell)."""
    known = plan.bins.known
    step = max(1, BYTES // (4 * len(plan.design) * (4 if family == "poisson" else 1)))
    if variable.ndim == 2:
        for begin in range(0, variable.shape[1], step):
            yield variable[:, begin : begin + step].values[known].astype(np.float32, copy=False)
        return
    rows = max(1, step * config.bin // variable.shape[2]) * config.bin
    for begin in range(0, variable.shape[1] // config.bin * config.bin, rows):
        strip = variable[:, begin : begin + rows].values[known]
        yield binned(strip, config.bin).reshape(len(strip), -1)


def _of_block(values: np.ndarray, plan: Plan, config: RespondConfig, glm: GlmConfig, family: Family) -> Columns:
    """Return columns of some cells; NaN for those that lack a frame or never change."""
    there = np.isfinite(values).all(axis=0)
    spread = np.where(there, values.std(axis=0), 0)
    kept = spread > 1e-9
    if family == "poisson" and (values[:, kept] < 0).any():
        raise ConfigError("Traces below 0 are no counts.", "Found negative values.", "Type: --set glm.family=gaussian")
    clean, unit = values[:, kept], np.ones(int(kept.sum()), dtype=np.float32)
    if family == "gaussian":
        unit = spread[kept].astype(np.float32)
        clean -= clean.mean(axis=0)
        clean /= unit
    build = GaussianBlocks.of if family == "gaussian" else PoissonBlocks.of
    found = _fitted(build(plan.design, clean, plan.block, plan.free), plan, config, glm, unit)
    return {key: _spread_out(part, kept) for key, part in found.items()}


def _spread_out(part: np.ndarray, kept: np.ndarray) -> np.ndarray:
    out = np.full((*part.shape[:-1], kept.size), np.nan)
    out[..., kept] = part
    return out


def _fitted(blocks: Blocks, plan: Plan, config: RespondConfig, glm: GlmConfig, unit: np.ndarray) -> Columns:
    held = held_out(blocks, plan.models(), glm.folds, glm.penalties)
    found = _shares(held, plan, config)
    found["p"] = np.stack([_moved_p(blocks, plan, k, held, config) for k in range(len(plan.regressors))])
    kernels = np.stack([_kernels(weights, plan) for weights in held.weights]) * unit  # (fold, moment, cell)
    found["kernel"] = kernels.mean(axis=0)
    reach = jackknife_reach(kernels)
    found["kernel_low"], found["kernel_high"] = found["kernel"] - reach, found["kernel"] + reach
    return found


def _shares(held: Held, plan: Plan, config: RespondConfig) -> Columns:
    """Return shares of what drift leaves, with intervals by blocks resampled; models as they were fitted."""
    base, whole = held.deviance["drift"], held.deviance["all"]
    count = range(len(plan.regressors))
    less = [base - whole, *(held.deviance[f"without {k}"] - whole for k in count)]
    less += [base - held.deviance[f"alone {k}"] for k in count]
    share = np.stack([part.sum(axis=0) / base.sum(axis=0) for part in less])
    low, high = mean_intervals(less, [base] * len(less), config.bootstraps, np.random.default_rng([config.seed, 4]))
    each = len(plan.regressors)
    return {
        "explained": share[0], "explained_low": low[0], "explained_high": high[0],
        "unique": share[1 : 1 + each], "unique_low": low[1 : 1 + each], "unique_high": high[1 : 1 + each],
        "alone": share[1 + each :],
    }  # fmt: skip


def _moved_p(blocks: Blocks, plan: Plan, k: int, held: Held, config: RespondConfig) -> np.ndarray:
    """Return p of a regressor: how often, drawn anew, it tells as much of what the others leave."""
    if not plan.regressors[k].null:
        return np.full(blocks.cells, np.nan)
    others = plan.owner != k
    weights = blocks.fit(np.ones(blocks.count, dtype=bool), others, held.penalty.min(axis=0))
    test = ScoreTest.of(plan.bins.mean(plan.design[:, others]), blocks.left(weights, plan.bins.mean))
    draw, rng = plan.regressors[k].over(plan.bins), np.random.default_rng([config.seed, 5, k])
    truth = test(_centred(draw(0.0, None))[None])[0]
    steps = shift_steps(plan.bins.time.size, SHUFFLES if config.shuffles is None else config.shuffles)
    shares, above = steps / plan.bins.time.size, np.zeros(truth.size)
    many = max(1, WIDE // int((plan.owner == k).sum()))
    for begin in range(0, shares.size, many):
        draws = [_centred(draw(float(s), rng)) for s in shares[begin : begin + many]]
        above += as_large(test(np.stack(draws)), truth).sum(axis=0)
    return (1 + above) / (1 + shares.size)


def _centred(columns: np.ndarray) -> np.ndarray:
    return (columns - columns.mean(axis=0)).astype(np.float32)


def _kernels(weights: np.ndarray, plan: Plan) -> np.ndarray:
    """Return kernels of all regressors, one below another, shape (moment, cell)."""
    parts = []
    for k, one in enumerate(plan.regressors):
        own = weights[plan.owner == k] / plan.scale[plan.owner == k][:, None]
        bumps = one.basis(one.basis.times())
        parts.append(np.einsum("mb,lbc->lmc", bumps, own.reshape(len(one.levels), -1, own.shape[1])))
    return np.concatenate([part.reshape(-1, part.shape[2]) for part in parts])


def _labelled(found: Columns, plan: Plan, space: Space) -> xr.Dataset:
    dims, shape = space
    lead: dict[str, tuple[str, ...]] = dict.fromkeys(OF_REGRESSORS, ("regressor",))
    lead |= dict.fromkeys(OF_KERNELS, ("moment",))
    data = {
        key: ((*lead.get(key, ()), *dims), values.reshape(*values.shape[:-1], *shape)) for key, values in found.items()
    }
    rows = [(one.name, level, at) for one in plan.regressors for level in one.levels for at in one.basis.times()]
    names, levels, times = zip(*rows, strict=True)
    coords = {
        "regressor": np.array([one.name for one in plan.regressors], dtype=object),
        "kernel_regressor": ("moment", np.array(names, dtype=object)),
        "kernel_level": ("moment", np.array(levels, dtype=object)),
        "kernel_time": ("moment", np.array(times), {"units": "s"}),
    }
    return xr.Dataset(data, coords)


def _told(
    recording: Recording, name: str, plan: Plan, config: RespondConfig, glm: GlmConfig, family: Family
) -> dict[str, Any]:
    units = str(recording[name].attrs.get("units", ""))
    shifts = SHUFFLES if config.shuffles is None else config.shuffles
    behavior = [one.name for one in plan.regressors if isinstance(one, CourseRegressor)]
    nulls = "; ".join(f"{one.name}, {one.null or 'none, as it cannot be told from drift'}" for one in plan.regressors)
    return {
        "session": recording.session,
        "variable": name,
        "units": units if family == "gaussian" else "log rate",
        "target": glm.regressors,
        "family": family,
        "behaviors": json.dumps(behavior),
        "frames": f"{int((plan.block >= 0).sum())} of {recording.time.size}",
        "held_out": f"{glm.folds} folds, dealt from {plan.block.max() + 1} blocks with gaps of {glm.gap:g} s",
        "null": f"{shifts} draws, no p below {1 / (1 + shifts):.3f}: {nulls}",
        "alpha": config.alpha,
        "version": version(),
        "config": config.model_dump_json(),
    }
