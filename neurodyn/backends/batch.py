"""What a back-end takes and gives: a Batch, a Prediction."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


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

    def rows(self, rows: slice | Tensor) -> Signal:
        """Return some of the windows; of a slice, without a copy."""
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
    ahead
        The frames after the window, which only a loss may use; None where windows do not ask for them.
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
    ahead: Signal | None = None

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on another device."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {name: value.to(device) for name, value in held.items() if isinstance(value, Tensor)}
        others = None if self.others is None else tuple(signal.to(device) for signal in self.others)
        ahead = None if self.ahead is None else self.ahead.to(device)
        return replace(self, **moved, others=others, ahead=ahead)

    def rows(self, rows: slice | Tensor) -> Batch:
        """Return some of the windows; of a slice, without a copy."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        taken = {name: value[rows] for name, value in held.items() if isinstance(value, Tensor)}
        others = None if self.others is None else tuple(signal.rows(rows) for signal in self.others)
        ahead = None if self.ahead is None else self.ahead.rows(rows)
        return replace(self, **taken, others=others, ahead=ahead)

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
    summary
        What is kept of a whole window to predict what follows it, shape (batch, feature).
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
    summary: Tensor | None = None
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
