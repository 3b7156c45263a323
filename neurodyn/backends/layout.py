"""The layout of the data that a back-end is built for; known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from neurodyn.core.errors import ConfigError
from neurodyn.data.responses import ResponseRule
from neurodyn.data.stimulus_code import StimulusCode
from neurodyn.data.windows import Windows

Times = TypeVar("Times", bound=Any)  # an array or a tensor


@dataclass(frozen=True)
class Channel:
    """Another signal of the same frames, beside the one that a model is named for.

    Parameters
    ----------
    name
        Of the variable, or `behavior.COLUMN`.
    space
        Shape of a frame: (roi,), (y, x) or (1,).
    brain
        Entries of a frame that are data, bool, shape (*space).
    """

    name: str
    space: tuple[int, ...]
    brain: np.ndarray


@dataclass(frozen=True)
class Layout:
    """What a back-end is built for.

    Parameters
    ----------
    frames
        Frames per window.
    space
        Shape of a frame: (roi,) or (y, x).
    rate_hz
        Frames per second.
    brain
        Entries of a frame that are data, bool, shape (*space).
    cells
        Number of cells of each session, in the order of `Batch.session`; () for movies. Only back-ends with the
        capability `sessions` are given sessions that differ: their frames are padded to the largest, and `valid` is
        False beyond a session's cells.
    sessions
        Name of each session.
    horizon
        Last frames of a window, never visible, that are forecast; 0 for none.
    code
        How stimuli are told; None where nothing is.
    rule
        What labels cells as responding; None where nothing does.
    names
        Name of every cell of each session, the same in all sessions of one cell; () where cells have none.
    centres
        Row and column of every cell of a single session, scaled to [0, 1]; () where that is not known.
    variable
        Name of the signal.
    others
        Signals beside it, in the order of `Batch.others`; only back-ends with the capability `channels` are given any.
    ahead
        Frames after a window that losses are told; 0 for none.
    """

    frames: int
    space: tuple[int, ...]
    rate_hz: float
    brain: np.ndarray
    cells: tuple[int, ...] = ()
    sessions: tuple[str, ...] = ()
    horizon: int = 0
    code: StimulusCode | None = None
    rule: ResponseRule | None = None
    names: tuple[tuple[str, ...], ...] = ()
    centres: tuple[tuple[float, float], ...] = ()
    variable: str = ""
    others: tuple[Channel, ...] = ()
    ahead: int = 0

    def require_frames(self, least: int, model: str) -> None:
        """Refuse windows that are too short.

        Raises
        ------
        ConfigError
            If a window has fewer than `least` frames.
        """
        if self.frames < least:
            raise ConfigError(
                f"{model} needs windows of at least {least} frames.",
                f"Found {self.frames} at {self.rate_hz:g} Hz.",
                "Lengthen them: --set windows.duration=SECONDS",
            )

    def require_horizon(self, model: str) -> None:
        """Refuse windows without a horizon.

        Raises
        ------
        ConfigError
            If there is nothing to forecast.
        """
        if not self.horizon:
            raise ConfigError(
                f"{model} needs to know how far to look ahead.",
                "Found windows without a horizon.",
                "Name it: --set windows.horizon=SECONDS",
            )

    def require_ahead(self, model: str) -> None:
        """Refuse windows that do not tell losses what follows them.

        Raises
        ------
        ConfigError
            If nothing is told.
        """
        if not self.ahead:
            raise ConfigError(
                f"{model} learns from what follows a window.",
                "Found windows without frames ahead.",
                "Say how far: --set windows.ahead=0.5",
            )

    def require_rule(self, model: str) -> None:
        """Refuse windows that do not say which cells respond.

        Raises
        ------
        ConfigError
            If no rule does.
        """
        if self.rule is None:
            raise ConfigError(
                f"{model} needs to know which cells respond.",
                "Found windows without a rule of responses.",
                "Choose one: --set windows.responses.rule=tsai_wen",
            )

    def unit_time(self, t: Times, times: Times) -> Times:
        """Return times, s, on [0, 1] from the first frame to the end of a regular window.

        Parameters
        ----------
        t
            Of the frames, shape (batch, time).
        times
            Shape (batch, query).
        """
        return (times - t[:, :1]) * (self.rate_hz / max(1, self.frames - 1))

    @classmethod
    def of(cls, windows: Windows) -> Layout:
        """Describe windows."""
        return cls(
            windows.frames,
            windows.space,
            windows.rate_hz,
            windows.brain,
            windows.cells,
            tuple(recording.session for recording in windows.recordings),
            windows.horizon,
            windows.code,
            windows.rule,
            windows.names,
            windows.centres,
            windows.config.variable,
            tuple(Channel(other.config.variable, other.space, other.brain) for other in windows.others),
            windows.ahead,
        )
