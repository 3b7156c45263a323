"""A batch computed in parts, by several processes or one after another, with the result of the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Part:
    """What is computed now of a batch.

    The loss of the whole is the sum of `share` times the loss of every part.

    Parameters
    ----------
    rows
        Places of its windows in the whole batch, on the CPU, shape (window,).
    whole
        Windows of the whole batch.
    total
        Adds a tensor up over all parts, which ask in the same order.
    """

    rows: Int[Tensor, " window"]
    whole: int
    total: Callable[[Tensor], Tensor]

    @property
    def share(self) -> float:
        """Share of the batch's windows."""
        return len(self.rows) / self.whole


_PART: ContextVar[Part | None] = ContextVar("part", default=None)


@contextmanager
def computing(part: Part | None) -> Iterator[None]:
    """Draw, count and average as a part of a batch; None for a whole one."""
    token = _PART.set(part)
    try:
        yield
    finally:
        _PART.reset(token)


def counts(rows: Int[Tensor, " window"], whole: int, compute: Callable[[], object]) -> list[Tensor]:
    """Return what a computation without gradient would have had added up over all parts, in order."""
    asked: list[Tensor] = []

    def keep(values: Tensor) -> Tensor:
        asked.append(values)
        return values

    with torch.no_grad(), computing(Part(rows, whole, keep)):
        compute()
    return asked


def knowing(rows: Int[Tensor, " window"], whole: int, totals: Sequence[Tensor]) -> Part:
    """Return a part that knows beforehand what adds up to what, in order."""
    left = iter(totals)
    return Part(rows, whole, lambda _: next(left))


def uniform(*shape: int, generator: torch.Generator, along: int = 0) -> Float[Tensor, "*shape"]:
    """Draw from [0, 1), on the CPU; in a part, what its windows would be given in the whole batch.

    Parameters
    ----------
    along
        Axis of the windows.
    """
    return _drawn(torch.rand, shape, generator, along)


def normal(*shape: int, generator: torch.Generator, along: int = 0) -> Float[Tensor, "*shape"]:
    """Draw from the standard normal distribution; otherwise as `uniform`."""
    return _drawn(torch.randn, shape, generator, along)


def integers(low: int, high: int, *shape: int, generator: torch.Generator) -> Int[Tensor, "*shape"]:
    """Draw from low, …, high − 1; otherwise as `uniform`."""

    def draw(size: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.randint(low, high, size, generator=generator)

    return _drawn(draw, shape, generator, 0)


def shuffled(windows: int, each: int, *, generator: torch.Generator) -> Int[Tensor, " entry"]:
    """Draw an order of the entries of all windows; in a part, places among its own entries, some more than once."""
    part = _PART.get()
    if part is None:
        return torch.randperm(windows * each, generator=generator)
    order = torch.randperm(part.whole * each, generator=generator).unflatten(0, (part.whole, each))
    return order[part.rows].flatten() % (windows * each)


def counted(where: Bool[Tensor, "*shape"]) -> Int[Tensor, ""]:
    """Count the chosen entries of the whole batch."""
    return summed(where.sum())


def summed(values: Tensor) -> Tensor:
    """Add up over all parts of the batch."""
    part = _PART.get()
    return values if part is None else part.total(values)


def windows_of(count: int) -> int:
    """Return the number of windows of the whole batch, of which `count` are in this part."""
    part = _PART.get()
    return count if part is None else part.whole


def mean_where(values: Float[Tensor, "*shape"], where: Bool[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Average over chosen entries; 0 where none is chosen. In a part, the sum is over the mean count of the parts."""
    part, total = _PART.get(), values.where(where, 0.0).sum()
    if part is None:
        return total / where.sum().clamp(min=1)
    return total / (counted(where).clamp(min=1) * part.share)


def _drawn(draw: Callable[..., Any], shape: tuple[int, ...], generator: torch.Generator, along: int) -> Tensor:
    part = _PART.get()
    if part is None:
        return draw(shape, generator=generator)
    if shape[along] != len(part.rows):
        raise ValueError(f"{shape[along]} windows in a part of {len(part.rows)}")
    whole = (*shape[:along], part.whole, *shape[along + 1 :])
    return draw(whole, generator=generator).index_select(along, part.rows)
