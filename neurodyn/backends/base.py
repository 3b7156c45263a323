"""The contract of a model back-end: a Batch goes in, a Prediction comes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.core.config import Params
from neurodyn.core.errors import ConfigError
from neurodyn.core.search import Choice, Range, Space
from neurodyn.data.responses import ResponseRule
from neurodyn.data.stimulus_code import StimulusCode

CAPABILITIES = frozenset(
    {
        "attention",
        "channels",
        "classify",
        "continuous_time",
        "forecast",
        "inputs",
        "latents",
        "reconstruct",
        "sessions",
        "spikes",
        "uncertainty",
    }
)

TRAINING_SEARCH: dict[str, Space] = {
    "training.lr": Range(1e-4, 2e-2, log=True),
    "training.weight_decay": Choice((0.0, 1e-4, 1e-3, 1e-2, 1e-1)),
}


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


class Backend(nn.Module, ABC):
    """A model. No Lightning, no I/O and no device code inside.

    Parameters
    ----------
    config
        An instance of the class's `Config`.
    layout
        Shapes and rate of the data.

    Attributes
    ----------
    SEARCH
        What tuning searches where nothing else is said: `model.KEY` and `training.KEY`. Only what leaves the validation
        loss comparable: no weights of its parts, nothing that decides what is hidden or in which unit errors are.
    """

    Config: ClassVar[type[Params]]
    SEARCH: ClassVar[Mapping[str, Space]] = TRAINING_SEARCH
    capabilities: ClassVar[frozenset[str]]
    citation: ClassVar[str] = ""

    def __init__(self, config: Params, layout: Layout) -> None:
        super().__init__()
        self.config, self.layout = config, layout

    @abstractmethod
    def forward(self, batch: Batch, *, attention: bool = False) -> Prediction:
        """Predict every frame of the window from its visible entries.

        Parameters
        ----------
        attention
            Also return the attention summary; only back-ends with that capability give one.
        """

    @abstractmethod
    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return named parts whose sum is the training loss, already weighted.

        Parameters
        ----------
        generator
            Source of every random draw (masks, noise, samples); on the CPU.
        """

    def prepare(self, frames: Iterable[np.ndarray]) -> None:  # noqa: B027 - optional hook
        """Fit what needs no gradient on the training windows alone.

        Parameters
        ----------
        frames
            Chunks of training windows, float32, shape (window, time, *space); NaN where not valid. Each window once;
            they may be gone through again.
        """

    @property
    def tells_sessions(self) -> bool:
        """Whether a prediction depends on the session, so that every recording must be one of the layout's."""
        return "sessions" in self.capabilities and len(self.layout.sessions) > 1

    def prepare_sessions(self, frames: Iterable[tuple[int, np.ndarray]]) -> None:
        """Fit what needs no gradient; called in place of `prepare` where the capability `sessions` is declared.

        Parameters
        ----------
        frames
            Index of a session, and a chunk of its training windows, float32, shape (window, time, cells of this
            session); NaN where not valid. Each window once, session after session.
        """
        self.prepare(chunk for _, chunk in frames)

    def prepare_batches(self, batches: Iterable[Batch]) -> None:  # noqa: B027 - optional hook
        """Fit what needs no gradient, but more than frames; called after `prepare`.

        Parameters
        ----------
        batches
            The training windows, each once.
        """

    def calibrate(self, batches: Iterable[Batch], generator: torch.Generator) -> None:  # noqa: B027 - optional hook
        """Fit, once the weights are final, how sure the model may be; what is fitted is part of the state.

        Parameters
        ----------
        batches
            The validation windows, each once; the training windows where there are none.
        generator
            Source of every random draw; on the CPU.
        """

    @property
    def warm_steps(self) -> int:
        """Optimiser steps until every part of the loss has its full weight; no weights are chosen before."""
        return 0

    def warm(self, step: int | None) -> None:  # noqa: B027 - optional hook
        """Set the weights that grow during training; they are no part of the state.

        Parameters
        ----------
        step
            Optimiser steps done, told before every step; None, told before validation, means that every part has its
            full weight, as in a new model.
        """

    def health(self, valid: dict[str, float], step: int) -> str | None:
        """Say whether training has failed for good, so that it must start anew with another seed.

        Parameters
        ----------
        valid
            Mean of every part of the fully weighted loss over the validation windows, asked after each epoch.
        step
            Optimiser steps done.

        Returns
        -------
        str or None
            Why the model has collapsed, in one phrase; None while it has not.
        """
        return None

    def at(self, batch: Batch, times: Tensor) -> Tensor:
        """Predict frames at any times; only back-ends with the capability `continuous_time` can.

        Parameters
        ----------
        times
            Seconds on the clock of `batch.t`, shape (batch, query).

        Returns
        -------
        Tensor
            In the units of Batch.x, shape (batch, query, *space).
        """
        raise NotImplementedError

    def attention_maps(
        self, batch: Batch, *, layers: bool = False, heads: bool = False, rows: Literal["last", "all"] = "last"
    ) -> Tensor:
        """Return who looks at whom; only back-ends with the capability `attention` can.

        Parameters
        ----------
        layers, heads
            Keep them apart instead of averaging over them.
        rows
            Queries: the tokens of the last frame, or all.

        Returns
        -------
        Tensor
            Shape (batch, layer, head, query, token), 1 for an axis averaged over; tokens run over time, then over
            places that hold data.
        """
        raise NotImplementedError

    def streamed(self, threads: int) -> Callable[[Batch], Tensor]:
        """Return what forecasts the horizon of one window after another, shape (1, horizon, *space), by the weights of now.

        Back-ends may prepare what does not depend on the window; the forecast is that of `forward` but for rounding.

        Parameters
        ----------
        threads
            How many may compute.
        """
        return lambda batch: self(batch).mean[:, -self.layout.horizon :]

    @property
    def attention_grid(self) -> tuple[int, int] | None:
        """Rows and columns that an attention map's keys fill, row by row; None without attention."""
        return None

    def stages(self) -> tuple[str, ...]:
        """Name the training stages in order; () for a model that `prepare` fits entirely."""
        return ("main",)

    def begin(self, stage: str, batches: Iterable[Batch]) -> None:  # noqa: B027 - optional hook
        """Get ready for a stage: what is trained, and what `loss` returns; told before each, again when training resumes.

        Parameters
        ----------
        batches
            The training windows, each once.
        """

    def take_over(self, other: Backend) -> tuple[str, ...]:
        """Start from the weights of another trained model; called after `prepare`.

        Returns
        -------
        tuple
            Stages that need not be trained any more.

        Raises
        ------
        ConfigError
            If the other model does not fit.
        """
        given = self.weights_from(other) if type(other) is type(self) else {}
        if {name: value.shape for name, value in given.items()} != {
            n: own.shape for n, own in self.state_dict().items()
        }:
            raise ConfigError(
                f"{type(self).__name__} cannot start from this run.",
                f"It holds a {type(other).__name__}, or one of another shape.",
                "Give a run of the same model, its configuration and the shape of its data.",
            )
        self.load_state_dict(given)
        return ()

    def weights_from(self, other: Backend) -> dict[str, Tensor]:
        """Return the weights of another model as far as they mean the same here."""
        return other.state_dict()
