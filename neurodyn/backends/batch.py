"""What a back-end takes and gives: the layout of its data, a Batch, a Prediction."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from neurodyn.core.errors import ConfigError
from neurodyn.data.responses import ResponseRule
from neurodyn.data.stimulus_code import StimulusCode


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

    def unit_time(
        self, t: Float[Tensor, "batch time"], times: Float[Tensor, "batch query"]
    ) -> Float[Tensor, "batch query"]:
        """Return times, s, on [0, 1] from the first frame `t` to the end of a regular window."""
        return (times - t[:, :1]) * (self.rate_hz / max(1, self.frames - 1))


@dataclass(frozen=True)
class Signal:
    """Windows of another signal, as tensors.

    Parameters
    ----------
    x
        float, shape (batch, time, *space of its channel); only entries where `visible` holds may be used.
    visible, valid
        bool, like x, as in `Batch`.
    """

    x: Tensor
    visible: Tensor
    valid: Tensor

    def to(self, device: torch.device | str) -> Signal:
        """Return the signal on another device."""
        return Signal(self.x.to(device), self.visible.to(device), self.valid.to(device))

    def rows(self, rows: slice) -> Signal:
        """Return some of the windows, without a copy."""
        return Signal(self.x[rows], self.visible[rows], self.valid[rows])


@dataclass(frozen=True)
class Batch:
    """Windows as tensors.

    Parameters
    ----------
    x
        float, shape (batch, time, *space); only entries where `visible` holds may be used.
    t
        Frame times in seconds from the window's start, shape (batch, time).
    visible
        bool, like x: entries the model may see.
    valid
        bool, like x: entries that are data (finite, inside the brain); only they may enter a loss.
    session
        Index of the recording in the layout's sessions, shape (batch,).
    targets
        float, like x: what x would be if nothing were hidden; None means x itself.
    stimulus
        What is told of the stimulus, shape (batch, size of the layout's code); None where nothing is.
    condition
        Index of the stimulus in the code's conditions, -1 for one that is not known, shape (batch,).
    responses
        Whether each cell responds in the horizon, 1 or 0, NaN where that is not known, shape (batch, *space); None where
        no rule says it.
    others
        Signals beside x, in the order of the layout's; None where there are none.
    """

    x: Tensor
    t: Tensor
    visible: Tensor
    valid: Tensor
    session: Tensor
    targets: Tensor | None = None
    stimulus: Tensor | None = None
    condition: Tensor | None = None
    responses: Tensor | None = None
    others: tuple[Signal, ...] | None = None

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on another device."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {name: value.to(device) for name, value in held.items() if isinstance(value, Tensor)}
        others = None if self.others is None else tuple(signal.to(device) for signal in self.others)
        return replace(self, **moved, others=others)

    def rows(self, rows: slice) -> Batch:
        """Return some of the windows, without a copy."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        taken = {name: value[rows] for name, value in held.items() if isinstance(value, Tensor)}
        others = None if self.others is None else tuple(signal.rows(rows) for signal in self.others)
        return replace(self, **taken, others=others)

    @property
    def target(self) -> Tensor:
        """The values a model should give."""
        return self.x if self.targets is None else self.targets

    @property
    def signals(self) -> tuple[Signal, ...]:
        """Every signal, the one that a model is named for first."""
        return Signal(self.x, self.visible, self.valid), *(self.others or ())


@dataclass(frozen=True)
class Prediction:
    """What a back-end gives; what it is not capable of is None.

    Parameters
    ----------
    mean
        Like Batch.x, in its units.
    std
        Predictive standard deviation, like mean.
    latents
        float, shape (batch, time, feature).
    inputs
        Inferred inputs, shape (batch, time, input).
    rates
        Like mean; firing rates, Hz.
    spikes
        Like mean; expected spikes per frame.
    spikes_std
        Their posterior standard deviation.
    attention
        Attention of the last frame's queries, averaged over heads and layers, shape (batch, query, time, key).
    logits
        Log-odds that a cell responds in the horizon, shape (batch, *space).
    members
        An ensemble of equally likely answers, whose mean is `mean`, shape (batch, member, time, *space).
    others
        The same of the signals beside the first, in the layout's order.
    """

    mean: Tensor
    std: Tensor | None = None
    latents: Tensor | None = None
    inputs: Tensor | None = None
    rates: Tensor | None = None
    spikes: Tensor | None = None
    spikes_std: Tensor | None = None
    attention: Tensor | None = None
    logits: Tensor | None = None
    members: Tensor | None = None
    others: tuple[Prediction, ...] | None = None

    @property
    def signals(self) -> tuple[Prediction, ...]:
        """What is given of every signal, in the order of `Batch.signals`."""
        return self, *(self.others or ())
