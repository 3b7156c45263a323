"""Each entry's future from its own past, at several time scales, by ridge regression."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from neurodyn.nn.ridge import FOLDS, NormalEquations, folds

MOST_PRODUCTS = 2**25  # doubles held at a time; more entries than that takes go through the windows again


class Example(NamedTuple):
    """Training windows, z-scored: what came before, what is told, what followed, where, and in which session."""

    source: Float[Tensor, "window source entry"]
    told: Float[Tensor, "window told"]
    wanted: Float[Tensor, "window horizon entry"]
    there: Bool[Tensor, "window horizon entry"]
    session: Int[Tensor, " window"]


class LinearPath(nn.Module):
    """ŷ = Aᵀ u + Bₑᵀ (u, s), u = (means of the last 1, 2, 4, … frames of the entry's source), s what is told, both with a 1.

    A, one for all entries, is the ridge regression of the training windows, Bₑ that of what A leaves of entry e, so that a
    large penalty makes all entries alike. Each penalty is the one by which four stretches of the training windows are best
    forecast from the others. Windows enter where the entry's horizon is valid throughout; an entry that never is has B = 0.

    Parameters
    ----------
    source, horizon, entries
        Sizes of a window.
    told
        Numbers that tell the stimulus.
    own
        Whether entries have a B of their own.
    sessions
        Each with entries of its own.
    """

    shared: Tensor
    own: Tensor
    scales: Tensor

    def __init__(self, source: int, horizon: int, entries: int, told: int, own: bool, sessions: int = 1) -> None:
        super().__init__()
        scales = _averages(source)
        self.register_buffer("scales", scales, persistent=False)
        self.register_buffer("shared", torch.zeros(len(scales) + 1, horizon))
        rows = sessions if own else 0
        self.register_buffer("own", torch.zeros(rows, entries, len(scales) + told + 1, horizon))

    def forward(
        self,
        source: Float[Tensor, "window source entry"],
        told: Float[Tensor, "window told"],
        session: Int[Tensor, " window"],
    ) -> Float[Tensor, "window horizon entry"]:
        """Forecast in the units of the source."""
        u = self._past(source)
        ahead = functional.pad(u, (0, 1), value=1.0) @ self.shared  # (window, entry, horizon)
        for number, own in enumerate(self.own):
            rows = slice(None) if len(self.own) == 1 else session == number
            asked = _with_told(u[rows], told[rows]).transpose(0, 1)
            ahead[rows] = ahead[rows] + (asked @ own).transpose(0, 1)
        return ahead.transpose(1, 2)

    def fit(self, examples: Iterable[Example]) -> None:
        """Solve for the weights.

        Parameters
        ----------
        examples
            The training windows, each once; gone through several times.

        Raises
        ------
        DataError
            If a session has too few windows to choose a penalty by.
        """
        stretches = _stretches(examples, max(1, len(self.own)))
        self.shared.zero_()
        self.own.zero_()
        equations = NormalEquations(1, *self.shared.shape)
        for example, fold in _numbered(examples, stretches):
            u = functional.pad(self._past(example.source), (0, 1), value=1.0)
            every = fold.repeat_interleave(u.shape[1])
            wanted = example.wanted.transpose(1, 2).flatten(0, 1)
            equations.add(u.flatten(0, 1)[:, None], wanted[..., None], example.there.all(1).flatten()[:, None], every)
        self.shared.copy_(equations.solved(equations.chosen())[0])
        if len(self.own):
            self._fit_own(examples, stretches)

    def _fit_own(self, examples: Iterable[Example], stretches: list[Tensor]) -> None:
        _, entries, regressors, horizon = self.own.shape
        many = max(1, MOST_PRODUCTS // (FOLDS * regressors * (regressors + horizon)))
        for session in range(len(self.own)):
            for span in (slice(first, first + many) for first in range(0, entries, many)):
                equations = NormalEquations(len(range(entries)[span]), regressors, horizon)
                for example, fold in _numbered(examples, stretches):
                    rows = slice(None) if len(self.own) == 1 else example.session == session
                    u = self._past(example.source[rows][..., span])
                    left = example.wanted[rows][..., span] - (functional.pad(u, (0, 1), value=1.0) @ self.shared).mT
                    there = example.there[rows][..., span].all(1)
                    equations.add(_with_told(u, example.told[rows]), left, there, fold[rows])
                self.own[session, span] = equations.solved(equations.chosen()).to(self.own)

    def _past(self, source: Float[Tensor, "window source entry"]) -> Float[Tensor, "window entry scale"]:
        return source.mT @ self.scales.T


def _averages(source: int) -> Float[Tensor, "scale source"]:
    """Return the weights of the means over the last 1, 2, 4, … frames, the last over all."""
    lengths = [2**power for power in range(source.bit_length()) if 2**power < source] + [source]
    return torch.stack([(torch.arange(source) >= source - length) / length for length in lengths])


def _with_told(
    u: Float[Tensor, "window entry scale"], told: Float[Tensor, "window told"]
) -> Float[Tensor, "window entry regressor"]:
    return torch.cat([u, told[:, None].expand(-1, u.shape[1], -1), torch.ones_like(u[..., :1])], dim=-1)


def _stretches(examples: Iterable[Example], sessions: int) -> list[Tensor]:
    """Return the stretch of every window of every session, in order."""
    counts = torch.zeros(sessions, dtype=torch.int64)
    for example in examples:
        counts += torch.bincount(example.session.clamp(max=sessions - 1), minlength=sessions)
    return [folds(int(count)) for count in counts]


def _numbered(examples: Iterable[Example], stretches: list[Tensor]) -> Iterator[tuple[Example, Tensor]]:
    """Go through windows with the stretch that each belongs to."""
    first = [0] * len(stretches)
    for example in examples:
        fold = torch.zeros_like(example.session)
        for number, stretch in enumerate(stretches):
            rows = (example.session.clamp(max=len(stretches) - 1) == number).nonzero()[:, 0]
            fold[rows] = stretch[first[number] : first[number] + len(rows)]
            first[number] += len(rows)
        yield example, fold
