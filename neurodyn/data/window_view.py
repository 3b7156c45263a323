"""Windows as places in recordings: their frames, times and trials, read when asked for."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.data.behavior import signal
from neurodyn.data.clock import stretch_starts
from neurodyn.data.recording import Recording
from neurodyn.data.stimulus_code import StimulusCode, stimulus_column
from neurodyn.data.streaming import ChunkStore, read_frames
from neurodyn.data.window_config import WindowConfig

IN_MEMORY_BYTES = 2 * 2**30
BYTES_PER_VALUE = 6  # a float32, and whether it is visible and valid
NOISE_OF_STEPS = 1.4826 / np.sqrt(2)


@dataclass(frozen=True)
class WindowView:
    """Equally long windows over one or more recordings, read when asked for.

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
    readable
        Frames of each recording that may be read, bool, shape (time,); None for all.
    taken
        Frames of each recording that windows of other parts hold, bool, shape (time,); None where nothing was split.
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
    readable: tuple[np.ndarray, ...] | None = None
    taken: tuple[np.ndarray, ...] | None = None

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

    @property
    def ahead(self) -> int:
        """Frames after a window that `future` gives; 0 for none."""
        return 0 if self.config.ahead is None else max(1, round(self.config.ahead * self.rate_hz))

    @property
    def held(self) -> tuple[np.ndarray, ...]:
        """Frames of each recording that some window holds, bool, shape (time,)."""
        return self.held_by(slice(None))

    def held_by(self, indices: np.ndarray | slice) -> tuple[np.ndarray, ...]:
        """Return the frames of each recording that windows at `indices` hold, bool, shape (time,); no signal is read."""
        found = tuple(np.zeros(recording.time.size, dtype=bool) for recording in self.recordings)
        for session, first in zip(self.session[indices], self.first[indices], strict=True):
            found[session][first : first + self.frames] = True
        return found

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

    def _read(self, session: int, first: int, frames: int) -> np.ndarray:
        if isinstance(self._sources, ChunkStore):
            return self._sources.read(session, first, frames)
        return self._sources[session][first : first + frames]

    def take(self, indices: np.ndarray) -> Self:
        """Return the windows at `indices`."""
        taken = replace(self, session=self.session[indices], first=self.first[indices], trial=self.trial[indices])
        taken.__dict__["_sources"] = self._sources  # one copy in memory serves every part
        if self.config.target is not None:
            taken.__dict__["targets"] = self.targets.take(indices)
        if self.config.others:
            taken.__dict__["others"] = tuple(other.take(indices) for other in self.others)
        return taken

    def apart(self, most: int | None = None) -> Self:
        """Return those of one session's windows that share no frame; `most`: at even distances, to hold no more frames."""
        kept, end = [], -1
        for index in np.argsort(self.first, kind="stable"):
            if self.first[index] >= end:
                kept.append(index)
                end = self.first[index] + self.frames
        step = 1 if most is None else max(1, -(-len(kept) * self.frames // most))
        return self.take(np.array(kept[::step]))

    def cell_values(self) -> np.ndarray:
        """Read the windows of one session's cells, float64, NaN where there is no datum, shape (window, time, cell)."""
        values, known = self.values(slice(None))
        return np.where(known, values, np.nan)[..., : self.cells[int(self.session[0])]].astype(np.float64)

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

    def values(self, indices: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Read windows.

        Returns
        -------
        values
            float32, shape (window, time, *space); 0 where there is no valid datum.
        mask
            bool, same shape: finite data inside the brain.
        """
        first = self.first[indices]
        out, mask = self._gathered(self.session[indices], first, np.full(first.size, self.frames), self.frames)
        if self.config.baseline is not None:
            lasting = max(2, round(self.config.baseline * self.rate_hz))
            out, mask = over_baseline(out, mask, self.frames - self.horizon, lasting)
        out[~mask] = 0.0
        return out, mask

    def future(self, indices: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Read the frames that follow windows, up to a gap, the recording's end, or a frame of another part's windows.

        Returns
        -------
        values
            float32, shape (window, ahead, *space); 0 where there is no valid datum.
        mask
            bool, same shape.
        """
        session, after = self.session[indices], self.first[indices] + self.frames
        open_until = [self._closed[s][np.searchsorted(self._closed[s], f)] for s, f in zip(session, after, strict=True)]
        count = np.minimum(self.ahead, np.array(open_until, dtype=int) - after)
        out, mask = self._gathered(session, after, count, self.ahead)
        out[~mask] = 0.0
        return out, mask

    def _gathered(
        self, session: np.ndarray, first: np.ndarray, count: np.ndarray, frames: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read `count` frames from `first` on, NaN after them, shape (row, frames, *space); and what of it is data."""
        out = np.full((first.size, frames, *self.space), np.nan, dtype=np.float32)
        for row in np.lexsort((first, session)):  # as they lie on disk
            if count[row]:
                found = self._read(int(session[row]), int(first[row]), int(count[row]))
                out[(row, slice(count[row]), *map(slice, found.shape[1:]))] = found
        return out, np.isfinite(out) & self.brain

    @cached_property
    def _closed(self) -> list[np.ndarray]:
        """Frames of each recording that no window may look ahead to or past: other parts', after gaps, the end; ascending."""
        closed = []
        for index, recording in enumerate(self.recordings):
            shut = np.append(stretch_starts(recording.time, self.rate_hz), recording.time.size)
            closed.append(shut if self.taken is None else np.union1d(shut, np.flatnonzero(self.taken[index])))
        return closed

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
