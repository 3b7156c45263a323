"""`Windows`: short stretches of recordings, read when asked for, split without leakage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from neurodyn.core.config import Params
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording

IN_MEMORY_BYTES = 2 * 2**30
GAP_FACTOR = 1.5
PARTS = ("train", "valid", "test")


class WindowConfig(Params):
    """Which windows are cut from a recording, and how they are split."""

    variable: str = Field(default="dff", description="neural variable")
    duration: float = Field(default=1.0, gt=0, description="window length, s")
    stride: float | None = Field(
        default=None, gt=0, description="distance between window starts, s (default: the duration)"
    )
    align: Literal["stream", "events"] = Field(
        default="stream", description="cut along the whole recording, or one window per stimulus event"
    )
    offset: float = Field(default=0.0, description="start of the window relative to the event, s (align: events)")
    split: Literal["blocked", "trial", "condition", "column", "random"] = Field(
        default="blocked",
        description="what never crosses train, valid and test; column: a stimulus column names each trial's part",
    )
    fractions: tuple[float, float, float] = Field(
        default=(0.6, 0.1, 0.3), description="shares of train, valid and test (not for split: column)"
    )
    blocks: int = Field(
        default=1,
        ge=1,
        description="how often train, valid and test follow each other along the recording (split: blocked)",
    )
    gap: float | None = Field(default=None, ge=0, description="guard gap between blocks, s (default: one window)")
    condition: str | None = Field(
        default=None,
        description="stimulus column whose values are held out (split: condition) or are the parts (split: column)",
    )
    seed: int = Field(default=0, ge=0, description="seed of the trial, condition and random splits")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if abs(sum(self.fractions) - 1) > 1e-6 or min(self.fractions) < 0:
            raise ValueError("fractions must be non-negative and sum to 1")
        if (self.split in ("condition", "column")) != (self.condition is not None):
            raise ValueError("split: condition or column, and the name of a condition column, go together")
        return self


@dataclass(frozen=True)
class Windows:
    """A lazy set of equally long windows over one or more recordings.

    Parameters
    ----------
    recordings
        Sessions of one rate; of one spatial shape, too, unless padded.
    config
        What was asked for.
    session
        Index into `recordings`, shape (window,).
    first
        First frame of each window in its recording, shape (window,).
    trial
        Stimulus event, in order of onsets, that each window lies in entirely, -1 where there is none, shape (window,).
        Trial k lasts from the start of event k to the start of event k+1.
    frames
        Frames per window.
    padded
        Number of cells to which every window is padded, with entries that are not valid; None for one spatial shape.
    places
        A model's number of each recording; None for their order here.
    """

    recordings: tuple[Recording, ...]
    config: WindowConfig
    session: np.ndarray
    first: np.ndarray
    trial: np.ndarray
    frames: int
    padded: int | None = None
    places: tuple[int, ...] | None = None

    @classmethod
    def cut(cls, recordings: Sequence[Recording], config: WindowConfig, ragged: bool = False) -> Self:
        """Cut windows that cross no gap in the frame times; where `ragged`, traces may differ in their cells.

        Raises
        ------
        DataError
            If shapes or rates differ between recordings, or no window fits.
        """
        ragged = ragged and all(recording[config.variable].ndim == 2 for recording in recordings)
        _check_alike(recordings, config.variable, ragged)
        rate = recordings[0].rate_hz
        frames = max(1, round(config.duration * rate))
        session, first, trial = [], [], []
        for index, recording in enumerate(recordings):
            starts, trials = _starts(recording, config, frames)
            session.append(np.full(starts.size, index))
            first.append(starts)
            trial.append(trials)
        if not sum(map(len, first)):
            length = max(recording.time.size for recording in recordings) / rate
            raise DataError(
                f"No window of {config.duration:g} s fits.",
                f"The longest recording has {length:g} s at {rate:g} Hz; events, gaps and edges count too.",
                "Shorten it: --set windows.duration=SECONDS",
            )
        index, begin, event = (np.concatenate(column) for column in (session, first, trial))
        padded = max(recording[config.variable].shape[1] for recording in recordings) if ragged else None
        return cls(tuple(recordings), config, index, begin, event, frames, padded)

    def __len__(self) -> int:
        return int(self.first.size)

    @property
    def space(self) -> tuple[int, ...]:
        """Shape of one frame: (roi,) or (y, x)."""
        return self.recordings[0][self.config.variable].shape[1:] if self.padded is None else (self.padded,)

    @property
    def cells(self) -> tuple[int, ...]:
        """Number of cells of each recording; () for movies."""
        shapes = [recording[self.config.variable].shape[1:] for recording in self.recordings]
        return tuple(shape[0] for shape in shapes) if len(self.space) == 1 else ()

    @property
    def rate_hz(self) -> float:
        """Frames per second."""
        return self.recordings[0].rate_hz

    @property
    def brain(self) -> np.ndarray:
        """Entries of a frame that are data in every recording, bool, shape (*space); for movies, the brain mask."""
        masks = [recording.brain for recording in self.recordings] if len(self.space) == 2 else []
        whole = np.ones(self.space, dtype=bool)
        return np.logical_and.reduce([whole, *(mask for mask in masks if mask is not None)])

    @cached_property
    def start(self) -> np.ndarray:
        """Time of each window's first frame, s, shape (window,)."""
        times = [recording.time for recording in self.recordings]
        return np.array([times[s][f] for s, f in zip(self.session, self.first, strict=True)])

    @property
    def times(self) -> np.ndarray:
        """Frame times within a window, s from its first frame (from the event when aligned to events), shape (time,)."""
        return np.arange(self.frames) / self.rate_hz + (self.config.offset if self.config.align == "events" else 0.0)

    @cached_property
    def _sources(self) -> list[Any]:
        arrays = [recording[self.config.variable].variable for recording in self.recordings]
        small = sum(array.nbytes for array in arrays) <= IN_MEMORY_BYTES
        return [array.values if small else array for array in arrays]

    def take(self, indices: np.ndarray) -> Self:
        """Return the windows at `indices`."""
        taken = replace(self, session=self.session[indices], first=self.first[indices], trial=self.trial[indices])
        taken.__dict__["_sources"] = self._sources  # one copy in memory serves every part
        return taken

    def values(self, indices: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Read windows.

        Returns
        -------
        values
            float32, shape (window, time, *space); 0 where there is no valid datum.
        mask
            bool, same shape: finite data inside the brain.
        """
        session, first = self.session[indices], self.first[indices]
        out = np.full((first.size, self.frames, *self.space), np.nan, dtype=np.float32)
        for row, (s, f) in enumerate(zip(session, first, strict=True)):
            found = self._sources[s][f : f + self.frames]
            out[(row, slice(None), *map(slice, found.shape[1:]))] = found
        mask = np.isfinite(out) & self.brain
        out[~mask] = 0.0
        return out, mask

    def column(self, name: str) -> np.ndarray:
        """Return a stimulus column per window, by its trial, shape (window,).

        Raises
        ------
        DataError
            If a recording has no such column, or a window lies in no trial.
        """
        if (self.trial < 0).any():
            raise DataError(
                f"'{name}' is not known for every window.",
                f"Found {(self.trial < 0).sum()} of {len(self)} windows in no trial.",
                "Take windows with trial >= 0, or align them to events: --set windows.align=events",
            )
        columns = [stimulus_column(recording, name) for recording in self.recordings]
        return np.array([columns[s][k] for s, k in zip(self.session, self.trial, strict=True)])

    def split(self) -> dict[str, Self]:
        """Split into train, valid and test as configured; windows on a border belong to none.

        Raises
        ------
        DataError
            If a part would be empty, or two parts would share frames (never checked for `random`).
        """
        part = SPLITS[self.config.split](self)
        if self.config.split != "random":
            self._check_apart(part)
        parts = {name: self.take(np.flatnonzero(part == k)) for k, name in enumerate(PARTS)}
        self._check_filled(parts)
        return parts

    def _check_filled(self, parts: dict[str, Self]) -> None:
        by_column = self.config.split == "column"  # which may well name no test trials
        wanted = (1.0, 1.0, 0.0) if by_column else self.config.fractions
        for name, fraction in zip(PARTS, wanted, strict=True):
            if fraction > 0 and not len(parts[name]) and by_column:
                raise DataError(
                    f"No window is in a trial of part '{name}'.",
                    f"Found {len(self)} windows; column '{self.config.condition}' names the part of each trial.",
                    f"Mark some trials as {name}, or use --set windows.align=events",
                )
            if fraction > 0 and not len(parts[name]):
                raise DataError(
                    f"The {name} part of the {self.config.split} split is empty.",
                    f"Found {len(self)} windows for fractions {self.config.fractions}.",
                    "Use shorter windows, a smaller gap, or other fractions: --set windows.fractions=[0.6,0.1,0.3]",
                )

    def _check_apart(self, part: np.ndarray) -> None:
        used = np.flatnonzero(part >= 0)
        order = used[np.lexsort((self.first[used], self.session[used]))]
        near = (np.diff(self.session[order]) == 0) & (np.diff(self.first[order]) < self.frames)
        shared = near & (np.diff(part[order]) != 0)
        if shared.any():
            raise DataError(
                f"The {self.config.split} split would share frames between its parts.",
                f"Found {shared.sum()} overlapping pairs; a window has {self.frames} frames.",
                "Use shorter windows, or --set windows.split=blocked",
            )


def stimulus_column(recording: Recording, name: str) -> np.ndarray:
    """Return one column of a recording's stimulus table in order of onsets, shape (event,).

    Raises
    ------
    DataError
        If there is none of that name.
    """
    stimulus = recording.stimulus
    if name not in stimulus:
        columns = ", ".join(str(c) for c in stimulus.variables)
        raise DataError(
            f"There is no stimulus column '{name}'.", f"Found: {columns}.", "Name one of these: --target NAME"
        )
    return stimulus[name].values[np.argsort(stimulus["start"].values, kind="stable")]


def _check_alike(recordings: Sequence[Recording], variable: str, ragged: bool) -> None:
    first = recordings[0]
    space = first[variable].shape[1:]
    names = [recording.session for recording in recordings]
    if ragged and len(set(names)) < len(names):
        raise DataError("Two recordings have one session name.", f"Found {', '.join(names)}.", "Rename one of them.")
    for other in recordings[1:]:
        unlike = other[variable].shape[1:] != space and not ragged
        if unlike or abs(other.rate_hz / first.rate_hz - 1) > 0.01:
            raise DataError(
                "The recordings do not share one shape and rate.",
                f"{first.session}: {space} at {first.rate_hz:g} Hz; "
                f"{other.session}: {other[variable].shape[1:]} at {other.rate_hz:g} Hz.",
                "Train them one by one, or bin and resample them alike.",
            )


def _starts(recording: Recording, config: WindowConfig, frames: int) -> tuple[np.ndarray, np.ndarray]:
    time, rate = recording.time, recording.rate_hz
    has_events = recording.table("stimulus") is not None
    onsets = np.sort(recording.stimulus["start"].values) if has_events or config.align == "events" else np.empty(0)
    if config.align == "events":
        first = np.searchsorted(time, onsets + config.offset - 0.5 / rate)
        trial = np.arange(onsets.size)
    else:
        stride = max(1, round((config.stride or config.duration) * rate))
        first = np.arange(0, time.size - frames + 1, stride)
        trial = np.searchsorted(onsets, time[first] + 1e-9, side="right") - 1
    fits = first + frames <= time.size
    first, trial = first[fits], trial[fits]
    last = first + frames - 1
    broken = np.concatenate([[0], np.cumsum(np.diff(time) > GAP_FACTOR / rate)])
    whole = broken[first] == broken[last]
    first, trial, last = first[whole], trial[whole], last[whole]
    if config.align == "events":
        near = np.abs(time[first] - onsets[trial] - config.offset) <= 1 / rate
        return first[near], trial[near]
    next_onset = np.append(onsets, np.inf)[trial + 1]
    return first, np.where(time[last] < next_onset, trial, -1)


def _bounds(fractions: tuple[float, float, float], count: int) -> list[int]:
    return [0, *(int(round(x * count)) for x in np.cumsum(fractions)[:2]), count]


def _assign(groups: np.ndarray, config: WindowConfig) -> np.ndarray:
    """Deal whole groups to the three parts at random; -1 stays outside."""
    names = np.unique(groups[groups >= 0])
    order = np.random.default_rng(config.seed).permutation(names)
    part = np.full(groups.shape, -1)
    bounds = _bounds(config.fractions, names.size)
    for k in range(3):
        part[np.isin(groups, order[bounds[k] : bounds[k + 1]])] = k
    return part


def _by_trial(windows: Windows) -> np.ndarray:
    stride = int(windows.trial.max()) + 1
    return _assign(np.where(windows.trial < 0, -1, windows.session * stride + windows.trial), windows.config)


def _in_trials(windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Return the windows that lie in a trial, and the condition column of each."""
    if windows.config.condition is None:
        raise ConfigError(
            f"split: {windows.config.split} needs a column.", "Found none.", "--set windows.condition=COLUMN"
        )
    inside = np.flatnonzero(windows.trial >= 0)
    return inside, windows.take(inside).column(windows.config.condition)


def _by_condition(windows: Windows) -> np.ndarray:
    inside, values = _in_trials(windows)
    groups = np.full(len(windows), -1)
    groups[inside] = np.unique(values, return_inverse=True)[1]
    return _assign(groups, windows.config)


def _by_column(windows: Windows) -> np.ndarray:
    inside, values = _in_trials(windows)
    named = np.array([str(value) for value in values])  # a store gives strings back in several types
    strange = sorted(set(named) - set(PARTS))
    if strange:
        raise DataError(
            f"Column '{windows.config.condition}' does not name parts.",
            f"Found {', '.join(strange[:5])}{', …' if len(strange) > 5 else ''}; expected {', '.join(PARTS)}.",
            "Mend the column, or split by its values: --set windows.split=condition",
        )
    part = np.full(len(windows), -1)
    for k, name in enumerate(PARTS):
        part[inside[named == name]] = k
    return part


def _random(windows: Windows) -> np.ndarray:
    return _assign(np.arange(len(windows)), windows.config)


def _blocked(windows: Windows) -> np.ndarray:
    """Cut each session's time into contiguous blocks, train, valid, test in turn, a guard gap between them."""
    config, rate = windows.config, windows.rate_hz
    gap = config.duration if config.gap is None else config.gap
    shares = np.cumsum([0.0, *np.tile(np.divide(config.fractions, config.blocks), config.blocks)])
    part = np.full(len(windows), -1)
    for index, recording in enumerate(windows.recordings):
        mine = windows.session == index
        first = windows.start[mine]
        last = first + (windows.frames - 1) / rate
        begin, end = recording.time[0], recording.time[-1] + 1 / rate
        edges = begin + (end - begin) * shares
        owner = np.full(first.size, -1)
        for k, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
            low += gap / 2 if low > begin else 0
            high -= gap / 2 if high < end - 1e-9 else 0
            owner[(first >= low - 1e-9) & (last < high - 1e-9)] = k % len(PARTS)
        part[mine] = owner
    return part


SPLITS = {
    "blocked": _blocked,
    "trial": _by_trial,
    "condition": _by_condition,
    "column": _by_column,
    "random": _random,
}
