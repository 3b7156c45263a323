"""`Windows`: short stretches of recordings, read when asked for, split without leakage."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from neurodyn.core.config import Params
from neurodyn.core.errors import DataError
from neurodyn.data.behavior import signal
from neurodyn.data.recording import Recording
from neurodyn.data.responses import ResponseConfig, ResponseRule
from neurodyn.data.splits import PARTS, SPLITS
from neurodyn.data.stimulus_code import StimulusCode, stimulus_column, with_stimulus_alone
from neurodyn.data.streaming import ChunkStore, read_frames

IN_MEMORY_BYTES = 2 * 2**30
BYTES_PER_VALUE = 6  # a float32, and whether it is visible and valid
GAP_FACTOR = 1.5
NOISE_OF_STEPS = 1.4826 / np.sqrt(2)


class WindowConfig(Params):
    """Which windows are cut from a recording, and how they are split."""

    variable: str = Field(default="dff", description="neural variable")
    target: str | None = Field(
        default=None, description="variable of what a model should give, where that is not the variable itself"
    )
    others: tuple[str, ...] = Field(
        default=(),
        description="signals shown beside the variable, for models of several: neural variables, or behavior.COLUMN "
        "interpolated to the frames",
    )
    duration: float = Field(default=1.0, gt=0, description="window length, s")
    stride: float | None = Field(
        default=None, gt=0, description="distance between window starts, s (default: the duration)"
    )
    align: Literal["stream", "events"] = Field(
        default="stream", description="cut along the whole recording, or one window per stimulus event"
    )
    kind: str | None = Field(
        default=None,
        description="only events of this kind, by the column `stimulus`, where a session has several (default: all)",
    )
    offset: float = Field(default=0.0, description="start of the window relative to the event, s (align: events)")
    horizon: float | None = Field(
        default=None,
        gt=0,
        description="last part of every window, s, that models never see and forecast from the frames before it",
    )
    baseline: float | None = Field(
        default=None,
        gt=0,
        description="seconds before the horizon whose mean F0 turns a window into (F - F0)/F0; where F0 is not above the "
        "noise between frames, the window has no data of that entry",
    )
    responses: ResponseConfig | None = Field(
        default=None, description="which cells respond in the horizon, for models that classify"
    )
    stimuli: tuple[str, ...] = Field(
        default=(), description="stimulus columns that models are told, of the event in which the horizon begins"
    )
    irregular: bool = Field(
        default=False,
        description="every frame keeps its own time, and a window has as many as every event has within the duration, "
        "none beyond the next event (align: events)",
    )
    split: Literal["blocked", "stimulus_blocks", "trial", "condition", "column", "random"] = Field(
        default="blocked",
        description="what never crosses train, valid and test; column: a stimulus column names each trial's part; "
        "stimulus_blocks: the last block of the stimulus is the test, the end of the one before it validates",
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
        if self.horizon is not None and self.horizon >= self.duration:
            raise ValueError(f"horizon ({self.horizon:g} s) must be shorter than the window ({self.duration:g} s)")
        if self.baseline is not None and (self.horizon is None or self.baseline > self.duration - self.horizon):
            raise ValueError("baseline needs a horizon, and must fit into the window before it")
        if self.responses is not None and self.horizon is None:
            raise ValueError("responses need a horizon in which they come")
        if self.baseline is not None and self.target is not None:
            raise ValueError("baseline and target exclude each other")
        if self.variable in self.others or len(set(self.others)) < len(self.others):
            raise ValueError("others must differ from the variable and from each other")
        if self.others and self.baseline is not None:
            raise ValueError("others and baseline exclude each other")
        if abs(sum(self.fractions) - 1) > 1e-6 or min(self.fractions) < 0:
            raise ValueError("fractions must be non-negative and sum to 1")
        if (self.split in ("condition", "column")) != (self.condition is not None):
            raise ValueError("split: condition or column, and the name of a condition column, go together")
        if self.irregular and self.align != "events":
            raise ValueError("irregular frames need windows that begin at events, align: events")
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
    code
        How stimuli are told to models; None where nothing is told.
    rule
        What labels cells as responding; None where nothing does.
    readable
        Frames of each recording that may be read, bool, shape (time,); None for all.
    """

    recordings: tuple[Recording, ...]
    config: WindowConfig
    session: np.ndarray
    first: np.ndarray
    trial: np.ndarray
    frames: int
    padded: int | None = None
    places: tuple[int, ...] | None = None
    code: StimulusCode | None = None
    rule: ResponseRule | None = None
    readable: tuple[np.ndarray, ...] | None = None

    @classmethod
    def cut(cls, recordings: Sequence[Recording], config: WindowConfig, ragged: bool = False) -> Self:
        """Cut windows that cross no gap in the frame times; where `ragged`, traces may differ in their cells.

        Raises
        ------
        DataError
            If shapes or rates differ between recordings, no window fits, or a recording lacks the stimulus asked for.
        """
        if config.kind is not None:
            recordings = [with_stimulus_alone(recording, config.kind) for recording in recordings]
        ragged = ragged and all(signal(recording, config.variable).ndim == 2 for recording in recordings)
        _check_alike(recordings, config.variable, ragged)
        for name in config.others:
            _check_alike(recordings, name, ragged=False)
        rate = recordings[0].rate_hz
        frames = max(1, round(config.duration * rate))
        if config.irregular:
            frames = max(1, min(_least(recording, config) for recording in recordings))
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
        padded = max(signal(recording, config.variable).shape[1] for recording in recordings) if ragged else None
        code = StimulusCode.fit(recordings, config.stimuli) if config.stimuli else None
        return cls(tuple(recordings), config, index, begin, event, frames, padded, code=code)

    def __len__(self) -> int:
        return int(self.first.size)

    @property
    def space(self) -> tuple[int, ...]:
        """Shape of one frame: (roi,) or (y, x)."""
        return signal(self.recordings[0], self.config.variable).shape[1:] if self.padded is None else (self.padded,)

    @property
    def cells(self) -> tuple[int, ...]:
        """Number of cells of each recording; () for movies."""
        shapes = [signal(recording, self.config.variable).shape[1:] for recording in self.recordings]
        return tuple(shape[0] for shape in shapes) if len(self.space) == 1 else ()

    @property
    def names(self) -> tuple[tuple[str, ...], ...]:
        """Names of the cells of each recording, from column `cell` of its ROIs; () unless all recordings have them.

        A column of truth values, as suite2p's, says which ROIs are cells and names none.
        """
        tables = [recording.table("rois") for recording in self.recordings] if len(self.space) == 1 else []
        if not tables or any(table is None or "cell" not in table or table["cell"].dtype == bool for table in tables):
            return ()
        return tuple(tuple(str(name) for name in table["cell"].values) for table in tables if table is not None)

    @property
    def centres(self) -> tuple[tuple[float, float], ...]:
        """Row and column of every cell, scaled together to [0, 1]; () for several recordings, or unless ROIs have them."""
        table = self.recordings[0].table("rois")
        if len(self.recordings) > 1 or len(self.space) > 1 or table is None or not {"y", "x"} <= set(table.data_vars):
            return ()
        places = np.stack([table["y"].values, table["x"].values], axis=1).astype(np.float64)
        low, span = places.min(axis=0), max(float(np.ptp(places, axis=0).max()), 1e-12)
        return tuple((float(y), float(x)) for y, x in (places - low) / span)

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

    @property
    def horizon(self) -> int:
        """Last frames of a window, to be forecast; 0 for none."""
        wanted = self.config.horizon
        return 0 if wanted is None else min(max(1, round(wanted * self.rate_hz)), self.frames - 1)

    @cached_property
    def _sources(self) -> list[np.ndarray] | ChunkStore:
        arrays = [signal(recording, self.config.variable) for recording in self.recordings]
        if sum(array.nbytes for array in arrays) > IN_MEMORY_BYTES:
            return ChunkStore(arrays, IN_MEMORY_BYTES // 8, self.readable)
        if self.readable is not None:
            return [read_frames(array, 0, len(may), may) for array, may in zip(arrays, self.readable, strict=True)]
        return [array.values for array in arrays]

    @property
    def streamed(self) -> bool:
        """Whether a signal is too large for memory, and so read from disk again and again."""
        return any(isinstance(windows._sources, ChunkStore) for windows in (self.targets, *self.signals))

    @property
    def at_once(self) -> int:
        """Windows whose signals fit into a quarter of the memory that data may take."""
        signals = [*self.signals, self.targets] if self.config.target is not None else self.signals
        values = self.frames * sum(int(np.prod(windows.space)) for windows in signals)
        return max(1, IN_MEMORY_BYTES // 4 // (BYTES_PER_VALUE * values))

    def _read(self, session: int, first: int) -> np.ndarray:
        if isinstance(self._sources, ChunkStore):
            return self._sources.read(session, first, self.frames)
        return self._sources[session][first : first + self.frames]

    def take(self, indices: np.ndarray) -> Self:
        """Return the windows at `indices`."""
        taken = replace(self, session=self.session[indices], first=self.first[indices], trial=self.trial[indices])
        taken.__dict__["_sources"] = self._sources  # one copy in memory serves every part
        if self.config.target is not None:
            taken.__dict__["targets"] = self.targets.take(indices)
        if self.config.others:
            taken.__dict__["others"] = tuple(other.take(indices) for other in self.others)
        return taken

    def clock(self, indices: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Time of every frame as in `times`, shape (window, time); each window's own where frames are irregular."""
        session, first = self.session[indices], self.first[indices]
        if not self.config.irregular:
            return np.broadcast_to(self.times, (first.size, self.frames))
        own = [self.recordings[s].time[f : f + self.frames] for s, f in zip(session, first, strict=True)]
        onset = [np.sort(self.recordings[s].stimulus["start"].values) for s in range(len(self.recordings))]
        begin = [onset[s][k] for s, k in zip(session, self.trial[indices], strict=True)]
        return np.reshape(own, (first.size, self.frames)) - np.reshape(begin, (first.size, 1))

    @cached_property
    def targets(self) -> Self:
        """The same windows of the variable that a model should give."""
        return self if self.config.target is None else self.of_variable(self.config.target)

    def of_variable(self, name: str) -> Self:
        """Return the same windows of another variable, as it is."""
        alone = {"variable": name, "others": (), "target": None, "baseline": None}
        return replace(self, config=self.config.model_copy(update=alone))

    @cached_property
    def others(self) -> tuple[Self, ...]:
        """The same windows of the signals shown beside the variable."""
        return tuple(self.of_variable(name) for name in self.config.others)

    @property
    def signals(self) -> tuple[Self, ...]:
        """The windows of every signal, the variable first."""
        return self, *self.others

    def with_rule(self) -> Self:
        """Return these windows with the rule of responses that they ask for, fitted on them."""
        wanted = self.config.responses
        return self if wanted is None else replace(self, rule=ResponseRule.fit(wanted, self))

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
        for row in np.lexsort((first, session)):  # as they lie on disk
            found = self._read(int(session[row]), int(first[row]))
            out[(row, slice(None), *map(slice, found.shape[1:]))] = found
        mask = np.isfinite(out) & self.brain
        if self.config.baseline is not None:
            lasting = max(2, round(self.config.baseline * self.rate_hz))
            out, mask = over_baseline(out, mask, self.frames - self.horizon, lasting)
        out[~mask] = 0.0
        return out, mask

    def stimulus(self, indices: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Return what models are told of the event in which the horizon begins; in windows without one, the whole begins.

        Returns
        -------
        numbers
            float32, shape (window, size of the code); 0 before the first event.
        condition
            Index into the code's conditions, -1 for one that is not known, shape (window,).
        """
        if self.code is None:
            raise ValueError("nothing is told of stimuli")
        session, event = self.session[indices], self._event(indices)
        numbers = np.zeros((session.size, self.code.size), dtype=np.float32)
        condition = np.full(session.size, -1)
        for index in np.unique(session):
            mine = (session == index) & (event >= 0)
            known, number = self.code.encode(self.recordings[index])
            numbers[mine], condition[mine] = known[event[mine]], number[event[mine]]
        return numbers, condition

    def _event(self, indices: np.ndarray | slice) -> np.ndarray:
        if self.config.align == "events":
            return self.trial[indices]
        session, event = self.session[indices], np.full(self.session[indices].size, -1)
        when = self.start[indices] + (self.frames - self.horizon if self.horizon else 0) / self.rate_hz
        for index in np.unique(session):
            onsets = np.sort(self.recordings[index].stimulus["start"].values)
            mine = session == index
            event[mine] = np.searchsorted(onsets, when[mine] + 1e-9, side="right") - 1
        return event

    def column(self, name: str, indices: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return a stimulus column per window, by its trial, shape (window,).

        Raises
        ------
        DataError
            If a recording has no such column, or a window lies in no trial.
        """
        session, trial = self.session[indices], self.trial[indices]
        if (trial < 0).any():
            raise DataError(
                f"'{name}' is not known for every window.",
                f"Found {(trial < 0).sum()} of {trial.size} windows in no trial.",
                "Take windows with trial >= 0, or align them to events: --set windows.align=events",
            )
        columns = [stimulus_column(recording, name) for recording in self.recordings]
        return np.array([columns[s][k] for s, k in zip(session, trial, strict=True)])

    def split(self, without: str | None = None) -> dict[str, Self]:
        """Split into train, valid and test as configured; windows on a border belong to none.

        Parameters
        ----------
        without
            A part to leave out; frames that no other part needs are then never read.

        Raises
        ------
        DataError
            If a part would be empty, or two parts would share frames (never checked for `random`).
        """
        part = SPLITS[self.config.split](self)
        if self.config.split != "random":
            self._check_apart(part)
        left_out = -1 if without is None else PARTS.index(without)
        whole = self if without is None else self._reading_only(np.flatnonzero((part >= 0) & (part != left_out)))
        parts = {name: whole.take(np.flatnonzero(part == k)) for k, name in enumerate(PARTS)}
        self._check_filled(parts)
        return {name: windows for name, windows in parts.items() if name != without}

    def _reading_only(self, indices: np.ndarray) -> Self:
        """Return these windows, of which only the frames of those at `indices` can be read."""
        readable = tuple(np.zeros(recording.time.size, dtype=bool) for recording in self.recordings)
        for session, first in zip(self.session[indices], self.first[indices], strict=True):
            readable[session][first : first + self.frames] = True
        return replace(self, readable=readable)

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


def over_baseline(values: np.ndarray, mask: np.ndarray, source: int, lasting: int) -> tuple[np.ndarray, np.ndarray]:
    """Take windows over their own baseline.

    Parameters
    ----------
    values, mask
        Fluorescence and where it is valid, shape (window, time, *space).
    source
        Frames before the horizon.
    lasting
        How many of the last of these make F0, their mean.

    Returns
    -------
    tuple
        (F - F0)/F0, and where it is valid: nowhere in a window of an entry whose F0 is not above the noise, which is
        1.48 / √2 times the median step between source frames.
    """
    seen = np.where(mask, values, np.nan)[:, :source]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=RuntimeWarning)  # an entry without data in a window
        level = np.nanmean(seen[:, -lasting:], axis=1, keepdims=True)
        noise = NOISE_OF_STEPS * np.nanmedian(np.abs(np.diff(seen, axis=1)), axis=1, keepdims=True)
    there = level > noise  # False for NaN
    return np.where(there, (values - level) / np.where(there, level, 1.0), 0.0), mask & there


def _check_alike(recordings: Sequence[Recording], variable: str, ragged: bool) -> None:
    first = recordings[0]
    space = signal(first, variable).shape[1:]
    names = [recording.session for recording in recordings]
    if ragged and len(set(names)) < len(names):
        raise DataError("Two recordings have one session name.", f"Found {', '.join(names)}.", "Rename one of them.")
    for other in recordings[1:]:
        shape = signal(other, variable).shape[1:]
        unlike = shape != space and not ragged
        if unlike or abs(other.rate_hz / first.rate_hz - 1) > 0.01:
            raise DataError(
                "The recordings do not share one shape and rate.",
                f"{first.session}: {space} at {first.rate_hz:g} Hz; {other.session}: {shape} at {other.rate_hz:g} Hz.",
                "Train them one by one, or bin and resample them alike.",
            )


def _least(recording: Recording, config: WindowConfig) -> int:
    """Return the fewest frames within the duration from any event; irregular frames have no rate."""
    begin = np.sort(recording.stimulus["start"].values) + config.offset
    first, last = np.searchsorted(recording.time, [begin - 1e-9, begin + config.duration - 1e-9])
    return int((last - first).min(initial=recording.time.size))


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
    if config.irregular:
        whole = time[last] < np.append(onsets, np.inf)[trial + 1]
    else:
        broken = np.concatenate([[0], np.cumsum(np.diff(time) > GAP_FACTOR / rate)])
        whole = broken[first] == broken[last]
    first, trial, last = first[whole], trial[whole], last[whole]
    if config.align == "events":
        near = np.abs(time[first] - onsets[trial] - config.offset) <= 1 / rate
        return first[near], trial[near]
    next_onset = np.append(onsets, np.inf)[trial + 1]
    return first, np.where(time[last] < next_onset, trial, -1)
