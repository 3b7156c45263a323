"""`Windows`: short stretches of recordings, read when asked for, split without leakage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.data.behavior import signal
from neurodyn.data.clock import stretch_starts
from neurodyn.data.recording import Recording
from neurodyn.data.responses import ResponseRule
from neurodyn.data.splits import PARTS, SPLITS
from neurodyn.data.stimulus_code import StimulusCode, with_stimulus_alone
from neurodyn.data.window_config import WindowConfig
from neurodyn.data.window_view import WindowView


@dataclass(frozen=True)
class Windows(WindowView):
    """A lazy set of windows over one or more recordings, cut and split.

    Parameters
    ----------
    rule
        What labels cells as responding; None where nothing does.
    """

    rule: ResponseRule | None = None

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

    def with_rule(self) -> Self:
        """Return these windows with the rule of responses that they ask for, fitted on them."""
        wanted = self.config.responses
        return self if wanted is None else replace(self, rule=ResponseRule.fit(wanted, self))

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
        parts = {name: windows._knowing(parts) for name, windows in parts.items()}
        return {name: windows for name, windows in parts.items() if name != without}

    def _reading_only(self, indices: np.ndarray) -> Self:
        """Return these windows, of which only the frames of those at `indices` can be read."""
        return replace(self, readable=self.held_by(indices))

    def _knowing(self, parts: dict[str, Self]) -> Self:
        """Return these windows, which know the frames of other parts; only who looks ahead, or is to be cut anew, asks."""
        if self.config.ahead is None and self.config.train_stride is None:
            return self
        others = [windows.held for windows in parts.values() if windows is not self]
        taken = tuple(np.logical_or.reduce(frames) for frames in zip(*others, strict=True))
        return self._with(taken=taken)

    def to_train(self) -> Self:
        """Return the windows to be trained on: these, or those `train_stride` apart that hold the same frames."""
        if self.config.train_stride is None:
            return self
        config = self.config.model_copy(update={"stride": self.config.train_stride})
        session, first, trial = [], [], []
        for index, (recording, held) in enumerate(zip(self.recordings, self.held, strict=True)):
            mine = held if self.taken is None else held & ~self.taken[index]
            starts, trials = _starts(recording, config, self.frames)
            count = np.concatenate([[0], np.cumsum(mine)])
            inside = count[starts + self.frames] - count[starts] == self.frames
            session.append(np.full(int(inside.sum()), index))
            first.append(starts[inside])
            trial.append(trials[inside])
        return self._with(session=np.concatenate(session), first=np.concatenate(first), trial=np.concatenate(trial))

    def _with(self, **changed: np.ndarray | tuple[np.ndarray, ...]) -> Self:
        """Return these windows with other places, without reading their signals again."""
        made = replace(self, **changed)
        made.__dict__["_sources"] = self._sources
        if self.config.others:
            made.__dict__["others"] = tuple(other._with(**changed) for other in self.others)
        return made

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
        starts = stretch_starts(time, rate)
        whole = np.searchsorted(starts, first, side="right") == np.searchsorted(starts, last, side="right")
    first, trial, last = first[whole], trial[whole], last[whole]
    if config.align == "events":
        near = np.abs(time[first] - onsets[trial] - config.offset) <= 1 / rate
        return first[near], trial[near]
    next_onset = np.append(onsets, np.inf)[trial + 1]
    return first, np.where(time[last] < next_onset, trial, -1)
