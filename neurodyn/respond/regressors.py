"""What activity is regressed on: events by their kernels, courses of behaviour with lags, and what these might have been."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from scipy.signal import oaconvolve

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.aligned import span_of
from neurodyn.data.behavior import along_circle, at_times, held
from neurodyn.data.columns import Column, meaning_of, read_column
from neurodyn.data.recording import Recording
from neurodyn.metrics.nulls import Null, make_null
from neurodyn.respond.conditions import axis_of
from neurodyn.respond.settings import GlmConfig, RespondConfig

EVENTS = "events"  # the name of onsets alone
MOVED = "moved along the recording"
SIGNS = "signs of single events turned, as events are regular"
LABELS = 500  # null levels
TESTED = 8  # widths of bumps in a kernel that is tested


@dataclass(frozen=True)
class Basis:
    r"""Bumps over time that kernels are made of, evenly spaced.

    .. math:: b_j(t) = \tfrac12 \Bigl(1 + \cos \pi \frac{t - c_j}{w}\Bigr), \quad |t - c_j| < w

    where w is the distance of their centres; together they are 1 everywhere. Or boxes of width w. Pillow JW et al. (2008).
    Spatio-temporal correlations and visual signalling in a complete neuronal population. Nature 454:995-999.

    Parameters
    ----------
    first, stop
        Window, s.
    width
        w, s.
    kind
        Raised cosines, or boxes.
    """

    first: float
    stop: float
    width: float
    kind: Literal["cosine", "box"]

    @property
    def count(self) -> int:
        """How many bumps there are."""
        return max(1, round(np.ceil((self.stop - self.first) / self.width - 1e-6))) + (self.kind == "cosine")

    def __call__(self, time: np.ndarray) -> np.ndarray:
        """Return every bump at times, s, float32, shape (..., bump); 0 outside of the window."""
        place = (time[..., None] - self.first) / self.width - np.arange(self.count)
        inside = (time[..., None] >= self.first - 1e-9) & (time[..., None] < self.stop - 1e-9)
        if self.kind == "box":
            return (inside & (place >= -1e-9) & (place < 1 - 1e-9)).astype(np.float32)
        return np.where(inside & (np.abs(place) < 1), 0.5 + 0.5 * np.cos(np.pi * place), 0).astype(np.float32)

    def times(self) -> np.ndarray:
        """Return moments at which kernels are shown, half a width apart, s, shape (moment,)."""
        return np.arange(self.first, self.stop - 1e-6, self.width / 2)


@dataclass(frozen=True)
class Bins:
    """Known frames, averaged by a few, which is enough for whatever is as smooth as a kernel.

    Parameters
    ----------
    known
        Frames that count, bool, shape (time,).
    size
        Frames of a bin.
    time
        Mean of each bin, s, shape (bin,).
    """

    known: np.ndarray
    size: int
    time: np.ndarray

    @classmethod
    def of(cls, time: np.ndarray, known: np.ndarray, size: int) -> Bins:
        """Put known frames into bins, those left over at the end into none."""
        return cls(known, size, _binned(time[known][:, None], size)[:, 0])

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return means over bins, shape (bin, column), of all frames or of the known ones, shape (time, column)."""
        return _binned(values[self.known] if len(values) == self.known.size else values, self.size)


def _binned(values: np.ndarray, size: int) -> np.ndarray:
    count = len(values) // size
    return values[: count * size].reshape(count, size, -1).mean(axis=1)


# Columns moved along the recording by a share of it, with what else is drawn; as they are without a generator.
Draw = Callable[[float, np.random.Generator | None], np.ndarray]


@dataclass(frozen=True)
class EventRegressor:
    """Onsets, each with the kernel of its level.

    Parameters
    ----------
    name, levels
        What is shown and written.
    basis
        Bumps of the kernels.
    time
        Frames, s, shape (time,).
    onset
        s, shape (event,).
    code
        Level of each event, shape (event,).
    apart
        Whether `events` are a regressor too; kernels are then what a level differs from their mean.
    """

    name: str
    levels: tuple[str, ...]
    basis: Basis
    time: np.ndarray
    onset: np.ndarray
    code: np.ndarray
    apart: bool

    @property
    def columns(self) -> np.ndarray:
        """Bumps of every level after every onset, float32, shape (time, level × bump)."""
        return self._at(self.time, self.onset)

    @property
    def known(self) -> np.ndarray:
        """All frames."""
        return np.ones(self.time.size, dtype=bool)

    @cached_property
    def labels(self) -> Null:
        """Levels of no relation to the recording, as their order allows them."""
        trials = np.arange(self.code.size)
        return make_null(self.code, trials, self.onset, "classify", course=False, shuffles=LABELS, seed=0)

    @property
    def null(self) -> str:
        """What it is compared with, in words; "" where nothing is left to compare it with.

        Regular events, moved, are the same ones again: signs of single events are turned instead, unless their levels come in
        blocks, which signs would break. Where `events` are a regressor, too, only the levels are in question.
        """
        if self.apart:
            return f"levels drawn anew ({self.labels.words})" if self.labels.columns.size else ""
        gaps = np.diff(self.onset)
        regular = gaps.size > 1 and np.abs(gaps - np.median(gaps)).mean() < self.basis.width
        return SIGNS if regular and (len(self.levels) == 1 or self.labels.by_trial) else MOVED

    def over(self, bins: Bins) -> Draw:
        """Draw events as `null` says.

        Kernels are of few bumps here: what a test gains by more is less than what it loses, and takes longer.
        """
        coarse = replace(self.basis, width=max(self.basis.width, (self.basis.stop - self.basis.first) / TESTED))
        one = replace(self, basis=coarse)
        first, span = self.time[0], self.time[-1] - self.time[0]
        inside = (bins.time >= self.onset[0]) & (bins.time < self.onset[-1] + self.basis.stop)

        def moved(share: float, rng: np.random.Generator | None) -> np.ndarray:
            return one._at(bins.time, first + (self.onset - first + share * span) % span)

        def relabelled(share: float, rng: np.random.Generator | None) -> np.ndarray:
            columns = self.labels.columns
            code = self.code if rng is None else columns[:, rng.integers(columns.shape[1])].astype(int)
            return replace(one, code=code)._at(bins.time, self.onset)

        def turned(share: float, rng: np.random.Generator | None) -> np.ndarray:
            signs = np.ones(self.onset.size) if rng is None else rng.choice([-1.0, 1.0], self.onset.size)
            found = one._at(bins.time, self.onset, signs)
            found[inside] -= found[inside].mean(axis=0)  # else all bumps together would tell the ends of the session
            return found

        return relabelled if self.apart else turned if self.null == SIGNS else moved

    def _at(self, time: np.ndarray, onset: np.ndarray, signs: np.ndarray | None = None) -> np.ndarray:
        step = float(np.median(np.diff(time)))
        length = int(np.ceil((self.basis.stop - self.basis.first) / step)) + 1
        row = np.searchsorted(time, onset + self.basis.first - 1e-9)[:, None] + np.arange(length)
        inside = row < time.size
        row = np.minimum(row, time.size - 1)
        bumps = self.basis(time[row] - onset[:, None]) * inside[..., None]
        bumps = bumps if signs is None else bumps * signs[:, None, None]
        out = np.zeros((time.size, len(self.levels), self.basis.count), dtype=np.float32)
        np.add.at(out, (row, np.broadcast_to(self.code[:, None], row.shape)), bumps)
        if self.apart:
            share = np.bincount(self.code, minlength=len(self.levels)) / self.code.size
            out = out - out.sum(axis=1, keepdims=True) * share[:, None].astype(np.float32)
        return out.reshape(time.size, -1)


@dataclass(frozen=True)
class CourseRegressor:
    """A behaviour before and after every frame.

    Parameters
    ----------
    name, levels, basis
        As `EventRegressor` has them.
    columns
        Bumps of every level over lags, float32, shape (time, level × bump).
    known
        Frames at which all lags are known, bool, shape (time,).
    """

    name: str
    levels: tuple[str, ...]
    basis: Basis
    columns: np.ndarray
    known: np.ndarray

    @property
    def null(self) -> str:
        """What it is compared with, in words."""
        return MOVED

    def over(self, bins: Bins) -> Draw:
        """Move the course round and round."""
        values = bins.mean(self.columns)
        return lambda share, rng: values if rng is None else np.roll(values, round(share * len(values)), axis=0)


Regressor = EventRegressor | CourseRegressor


def regressors_of(recording: Recording, config: RespondConfig, glm: GlmConfig) -> list[Regressor]:
    """Read what is asked for.

    Raises
    ------
    DataError
        If the recording has no such column.
    ConfigError
        If one is asked for twice.
    """
    names = glm.names
    if len(set(names)) < len(names):
        raise ConfigError(f"--glm {glm.regressors} names a regressor twice.", "Expected each once.", "Leave one out.")
    apart = EVENTS in names
    return [_regressor(recording, name, config, glm, apart) for name in names]


def _regressor(recording: Recording, name: str, config: RespondConfig, glm: GlmConfig, apart: bool) -> Regressor:
    if name == EVENTS:
        return _of_events(recording, name, None, config, glm, apart=False)
    column = read_column(recording, name)
    if column.behavior:
        return _of_course(recording, column, config, glm)
    return _of_events(recording, name, column, config, glm, apart)


def _of_events(
    recording: Recording, name: str, column: Column | None, config: RespondConfig, glm: GlmConfig, apart: bool
) -> EventRegressor:
    table = recording.table("stimulus")
    if table is None or not table.sizes.get("event"):
        raise DataError(
            f"Recording '{recording.session}' has no events.",
            "Found no stimulus table.",
            "Name behaviours alone, or add events: neurodyn convert … --stimulus FILE",
        )
    onset = np.sort(table["start"].values.astype(float))
    code, levels = np.zeros(onset.size, dtype=int), ("event",)
    if column is not None:
        axis = axis_of(column, column.values, config.bins, config.period)
        code, levels = axis.code, tuple(f"{one:g}" if isinstance(one, float) else str(one) for one in axis.levels)
    window = glm.kernel or (0.0, span_of(table).after)
    here = (code >= 0) & (onset > recording.time[0] - window[1]) & (onset < recording.time[-1])
    return EventRegressor(name, levels, _basis(recording, window, glm), recording.time, onset[here], code[here], apart)


def _basis(recording: Recording, window: tuple[float, float], glm: GlmConfig) -> Basis:
    finest, length = (2 if glm.basis == "cosine" else 1) / recording.rate_hz, window[1] - window[0]
    bumps = max(1, int(length / max(glm.width, finest) + 1e-6))  # the last one's peak is the end of the window
    return Basis(*window, length / bumps, glm.basis)


def _of_course(recording: Recording, column: Column, config: RespondConfig, glm: GlmConfig) -> CourseRegressor:
    behavior, time = recording.table("behavior"), recording.time
    assert behavior is not None
    course, meant = behavior[column.name].copy(data=column.values), meaning_of(column, config.period)
    if meant.kind == "class":
        values = held(course, time)
        known = np.isfinite(values) if values.dtype.kind == "f" else values != ""
        levels = np.unique(values[known])
        traces = (values[:, None] == levels).astype(float)
        names = tuple(map(str, levels))
    elif meant.kind == "angle":
        radians = meant.circle.radians(along_circle(course, time, meant.circle))
        traces, names = np.stack([np.cos(radians), np.sin(radians)], axis=1), ("cosine", "sine")
        known = np.isfinite(radians)
    else:
        traces, names = at_times(course, time)[:, None], ("",)
        known = np.isfinite(traces[:, 0])
    basis = _basis(recording, glm.lags, glm)
    columns, whole = _lagged(_standard(traces, known, column.name), known, basis, recording.rate_hz)
    return CourseRegressor(column.name, names, basis, columns, whole)


def _standard(traces: np.ndarray, known: np.ndarray, name: str) -> np.ndarray:
    """Return traces of mean 0 and, together, standard deviation 1; 0 where they are not known."""
    inside = traces[known]
    spread = np.sqrt(inside.var(axis=0).mean()) if len(inside) else 0.0
    if not spread > 0:
        raise DataError(f"Behaviour '{name}' never changes.", "Found one value, or none.", "Leave it out of --glm.")
    return np.where(known[:, None], (traces - inside.mean(axis=0)) / spread, 0.0)


def _lagged(traces: np.ndarray, known: np.ndarray, basis: Basis, rate_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Return each trace weighted by each bump over lags, per s, and the frames of which all lags are known."""
    lags = np.arange(round(basis.first * rate_hz), round(basis.stop * rate_hz) + 1)
    bumps = basis(lags / rate_hz) / rate_hz  # (lag, bump)
    pad = ((max(lags[-1], 0), max(-lags[0], 0)), (0, 0))
    long = np.pad(traces, pad)  # (time + reach, level)
    first = max(lags[-1], 0) - lags[-1]
    rows = slice(first, first + len(traces) + lags.size - 1)
    lagged = oaconvolve(long[rows][:, :, None], bumps[:, None], mode="valid", axes=0)
    seen = oaconvolve(np.pad(known.astype(float), pad[0])[rows], np.ones(lags.size), mode="valid")
    return lagged.reshape(len(traces), -1).astype(np.float32), seen > lags.size - 0.5
