"""What a forecast starts from: the level of its window, and a linear path from past to future."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from neurodyn.backends.batch import Batch
from neurodyn.backends.layout import Layout
from neurodyn.backends.settings.base import StartConfig
from neurodyn.nn.linear_path import Example, LinearPath

Reader = Callable[[Batch], tuple[Tensor, Tensor, Tensor]]


class LinearStart(nn.Module):
    """What is taken off a window before a model sees it: off the source its level, off the horizon what is known already.

    The model is shown z − l, l the mean or the last value of the source, and forecasts what is left of the horizon:
    ẑ = p + G m(z − l), with p the linear path, or l where there is none, and m the model. With a path the map G over the
    steps ahead is learned from 0, so that training starts from the path alone; else it is the identity.

    Parameters
    ----------
    config
        Which of both there are.
    layout
        Of the data.
    entries
        Entries of a frame that are data.
    sessions
        Each with entries of its own.
    steps
        That the model gives; None for the horizon.
    """

    def __init__(
        self, config: StartConfig, layout: Layout, entries: int, sessions: int = 1, steps: int | None = None
    ) -> None:
        super().__init__()
        self.level, self.layout = config.level, layout
        self.path: LinearPath | None = None
        self.gain: nn.Parameter | None = None
        if config.linear != "none":
            self.path = linear_path(layout, entries, config.linear == "cell", sessions)
            steps = steps or layout.horizon
            self.gain = nn.Parameter(torch.zeros(steps, steps))

    def __bool__(self) -> bool:
        """Whether anything is taken off."""
        return self.path is not None or self.level != "none"

    def offset(self, source: Float[Tensor, "batch source entry"], batch: Batch) -> Float[Tensor, "batch time entry"]:
        """Return what is taken off every frame of the window."""
        level = torch.zeros_like(source[:, :1])
        if self.level != "none":
            level = source.mean(1, keepdim=True) if self.level == "mean" else source[:, -1:]
        ahead = level.expand(-1, self.layout.horizon, -1)
        if self.path is not None:
            ahead = self.path(source, told(batch, self.layout), batch.session)
        return torch.cat([level.expand_as(source), ahead], dim=1)

    def added(self, own: Float[Tensor, "batch step entry"]) -> Float[Tensor, "batch step entry"]:
        """Return what the model's own forecast adds."""
        return own if self.gain is None else self.gain @ own

    def fit(self, batches: Iterable[Batch], read: Reader) -> None:
        """Fit the path to training windows, which are gone through several times."""
        if self.path is not None:
            self.path.fit(Examples(batches, read, self.layout))

    @torch.no_grad()
    def shrink(self, pairs: Iterable[tuple[Tensor, Tensor, Tensor]]) -> float:
        """Take as much of the model's own forecast, at most all of it, as has the least squared error; return how much.

        Parameters
        ----------
        pairs
            What the model's own forecast adds, what was left to forecast, and where that is valid.
        """
        if self.gain is None:
            return 1.0
        along = power = 0.0
        for own, left, there in pairs:
            along += float((own * left)[there].sum())
            power += float(own[there].square().sum())
        kept = min(1.0, max(0.0, along / power)) if power else 0.0
        self.gain.mul_(kept)
        return kept


@dataclass(frozen=True)
class Examples:
    """Training windows as a linear path takes them.

    Parameters
    ----------
    batches
        May be gone through several times.
    read
        From a batch to its source, its horizon, both z-scored, and where the latter is valid; (batch, time, entry).
    layout
        Of the data.
    """

    batches: Iterable[Batch]
    read: Reader
    layout: Layout

    def __iter__(self) -> Iterator[Example]:
        for batch in self.batches:
            source, wanted, there = self.read(batch)
            yield Example(source, told(batch, self.layout), wanted, there, batch.session)


def linear_path(layout: Layout, entries: int, own: bool, sessions: int = 1) -> LinearPath:
    """Return a path that is not fitted yet."""
    others = layout.code.size + len(layout.code.conditions) if layout.code else 0
    return LinearPath(layout.frames - layout.horizon, layout.horizon, entries, others, own, sessions)


def told(batch: Batch, layout: Layout) -> Float[Tensor, "batch told"]:
    """Return what is told of the stimulus: its code, and one indicator per condition, all 0 where it is not known."""
    if layout.code is None:
        return batch.t.new_zeros(len(batch.t), 0)
    conditions = torch.arange(len(layout.code.conditions), device=batch.t.device)
    if batch.stimulus is None or batch.condition is None:
        return batch.t.new_zeros(len(batch.t), layout.code.size + len(conditions))
    return torch.cat([batch.stimulus, (batch.condition[:, None] == conditions).to(batch.stimulus.dtype)], dim=1)
