"""Tuning to the course of a behaviour: position, speed, heading; every frame counts, and shifts of the course are the null."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.sparse import csr_matrix

from neurodyn.core.errors import ConfigError
from neurodyn.core.log import Report, silent
from neurodyn.data.aligned import binned
from neurodyn.data.behavior import along_circle, at_times, held
from neurodyn.data.columns import Column, meaning_of
from neurodyn.data.recording import Recording
from neurodyn.metrics.grouped import shift_p, without_drift
from neurodyn.metrics.nulls import shift_steps
from neurodyn.respond.cells import Columns, Units, of_curves, with_q
from neurodyn.respond.conditions import Axis, Conditions, axis_of, conditions_of
from neurodyn.respond.settings import RespondConfig

CELLS, SEGMENTS, WAVES = 256, 40, 3
SHIFTS = 500
FEWEST_FRAMES, FEWEST_SECONDS = 5, 0.5  # in a bin
SPARSE = 0.1  # share of zeros
MOST_BYTES = 2**30  # of a movie at once


@dataclass(frozen=True)
class Sums:
    """Sums of frames over bins of behaviour.

    Parameters
    ----------
    code
        Bin of each frame, -1 for none, shape (time,).
    count
        Bins.
    """

    code: np.ndarray
    count: int

    def over(self, values: np.ndarray, groups: np.ndarray | None = None, parts: int = 1) -> np.ndarray:
        """Return sums of values, shape (time, cell), over bins: (bin, cell), or (group, bin, cell) of groups of frames."""
        known = np.flatnonzero(self.code >= 0)
        row = self.code[known] + (0 if groups is None else groups[known] * self.count)
        table = csr_matrix((np.ones(known.size), (row, known)), shape=(parts * self.count, self.code.size))
        sums = np.asarray(table @ values)
        return sums if groups is None else sums.reshape(parts, self.count, -1)


def behavior_conditions(recording: Recording, columns: list[Column], config: RespondConfig) -> Conditions:
    """Return the bins of one or two courses of behaviour, on the frames of the recording."""
    axes = [_axis(recording, column, config) for column in columns]
    fewest = max(FEWEST_FRAMES, round(FEWEST_SECONDS * recording.rate_hz))
    return conditions_of(axes, fewest, "frames")


def _axis(recording: Recording, column: Column, config: RespondConfig) -> Axis:
    behavior = recording.table("behavior")
    assert behavior is not None
    course = behavior[column.name].copy(data=column.values)
    meant = meaning_of(column, config.period)
    if meant.kind == "class":
        values = held(course, recording.time)
    elif meant.kind == "angle":
        values = along_circle(course, recording.time, meant.circle)
    else:
        values = at_times(course, recording.time)
    return axis_of(column, values, config.bins, config.period)


def of_behavior(
    variable: xr.Variable, rate_hz: float, conditions: Conditions, config: RespondConfig, progress: Report = silent
) -> Columns:
    """Return columns of the table of cells, shape (cell,), and of tuning curves, shape (condition, cell)."""
    parts, total = [], max(1, int(np.prod(variable.shape[1:], dtype=np.int64)) // config.bin**2)
    done = 0
    for values in _blocks(variable, config.bin):
        parts.append(_of_block(values, rate_hz, conditions, config))
        done += values.shape[1]
        progress("shifting", done / total)
    return with_q({name: np.concatenate([part[name] for part in parts], axis=-1) for name in parts[0]}, config.alpha)


def shift_count(frames: int, config: RespondConfig) -> np.ndarray:
    """Return by how many frames behaviour is shifted, shape (shuffle,)."""
    return shift_steps(frames, SHIFTS if config.shuffles is None else config.shuffles)


def _blocks(variable: xr.Variable, bin: int) -> Iterator[np.ndarray]:
    """Yield traces of some cells, or of a movie's pixels, float32, shape (time, cell)."""
    if variable.ndim == 2:
        for begin in range(0, variable.shape[1], CELLS):
            yield variable[:, begin : begin + CELLS].values.astype(np.float32)
        return
    size = 4 * variable.size // bin**2
    if size > MOST_BYTES:
        raise ConfigError(
            "The movie is too large to be held against behaviour pixel by pixel.",
            f"It takes {size / 2**30:.1f} GB at {bin} x {bin} pixels; at most {MOST_BYTES / 2**30:g} GB are read.",
            f"Average more pixels: --set bin={bin * int(np.ceil(np.sqrt(size / MOST_BYTES)))}",
        )
    step = max(1, 512)
    movie = np.concatenate([binned(variable[k : k + step].values, bin) for k in range(0, variable.shape[0], step)])
    pixels = movie.reshape(len(movie), -1)
    for begin in range(0, pixels.shape[1], CELLS):
        yield pixels[:, begin : begin + CELLS]


def _of_block(values: np.ndarray, rate_hz: float, conditions: Conditions, config: RespondConfig) -> Columns:
    there = np.isfinite(values)
    clean, sums = np.where(there, values, 0).astype(np.float64), Sums(conditions.code, conditions.count)
    number = sums.over(there.astype(np.float64))
    mean = sums.over(clean) / np.maximum(number, 1)
    segments = np.arange(len(values)) * SEGMENTS // len(values)
    total, seen = (sums.over(part, segments, SEGMENTS) for part in (clean, there.astype(np.float64)))
    present = [seen[:, k].any(axis=1) for k in range(conditions.count)]
    units = Units([total[here, k] for k, here in enumerate(present)], [seen[here, k] for k, here in enumerate(present)])
    best = mean.argmax(axis=0)
    found = {"preferred": best, "peak_response": mean[best, np.arange(best.size)]}
    return found | _shifted(values, there, conditions, config) | of_curves(mean, number, units, conditions, config)


def _shifted(values: np.ndarray, there: np.ndarray, conditions: Conditions, config: RespondConfig) -> Columns:
    """Return how unlikely the spread of bins, and the information in them, are for shifted behaviour."""
    flat = np.where(there, without_drift(values, WAVES), np.nan)
    rates = np.where(there, values, 0).astype(np.float32) if _is_sparse(values[there]) else None
    steps = shift_count(len(values), config)
    p, bits = shift_p(flat, conditions.code, steps, conditions.count, rates)
    columns: Columns = {"selective_p": p[0]}
    return columns if rates is None else columns | {"spatial_information": bits, "spatial_information_p": p[1]}


def _is_sparse(values: np.ndarray) -> bool:
    """Say whether values are rates of events, of which information per event can be told."""
    return bool((values >= 0).all()) and float(np.mean(values == 0)) > SPARSE
