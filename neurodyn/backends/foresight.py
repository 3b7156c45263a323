"""A linear forecast of the frames after a window, and the few numbers that it passes through."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from neurodyn.backends.batch import Batch
from neurodyn.core.errors import DataError
from neurodyn.metrics.reduced_rank import fit_reduced_rank, sparse_sources
from neurodyn.nn.frame_components import FrameComponents
from neurodyn.nn.interpolation import interpolate

FEWEST = 20


class Foresight(nn.Module):
    """Reduced-rank regression, on principal components of frames, of what follows a window on the window.

        c = Wᵀ (s_past - p),  ŝ_future = f + U c,  with s the scores of frames

    Nothing of it is trained by gradients.

    Parameters
    ----------
    frames, ahead
        Frames of a window, and those that follow it.
    components, rank
        Number of the frames' components, and rank of the forecast; at most what there is.
    """

    past: Tensor
    weights: Tensor
    told: Tensor
    future: Tensor
    centre: Tensor
    unmixing: Tensor

    def __init__(self, frames: int, ahead: int, components: int, rank: int) -> None:
        super().__init__()
        self.frames, self.ahead = frames, ahead
        rank = min(rank, frames * components, ahead * components)
        self.register_buffer("past", torch.zeros(frames * components))
        self.register_buffer("weights", torch.zeros(frames * components, rank))
        self.register_buffer("told", torch.zeros(ahead * components, rank))
        self.register_buffer("future", torch.zeros(ahead * components))
        self.register_buffer("centre", torch.zeros(rank))
        self.register_buffer("unmixing", torch.eye(rank))

    @property
    def rank(self) -> int:
        """Numbers that the forecast passes through."""
        return self.weights.shape[1]

    def fit(self, components: FrameComponents, batches: Iterable[Batch]) -> None:
        """Regress what follows training windows on them, windows that are followed by enough whole frames.

        Raises
        ------
        DataError
            If fewer than 20 are.
        """
        past, future = [], []
        for batch in batches:
            if batch.ahead is None:
                continue
            whole = components.whole(batch.ahead.valid).all(-1)
            past.append(known_scores(components, batch, batch.visible & batch.valid)[whole].numpy())
            future.append(components.scores(batch.ahead.x)[whole].numpy())
        found = sum(map(len, past))
        if found < FEWEST:
            raise DataError(
                "Too few training windows are followed by whole frames to learn from.",
                f"Found {found}; expected {FEWEST} with {self.ahead} frames after them in the training part.",
                "Look less far ahead, or train on more windows: --set windows.train_stride=0.1",
            )
        self._keep(np.concatenate(past), np.concatenate(future))

    def _keep(self, past: np.ndarray, future: np.ndarray) -> None:
        found = fit_reduced_rank(past, future, ranks=(self.rank,))
        used = slice(len(self.past) - len(found.mean), None)  # the latest frames; those before the lag weigh nothing
        self.weights.zero_()[used, : found.weights.shape[1]] = torch.from_numpy(found.weights).to(self.weights)
        self.past.zero_()[used] = torch.from_numpy(found.mean).to(self.past)
        self.told.zero_()[:, : found.axes.shape[1]] = torch.from_numpy(found.axes).to(self.told)
        self.future.copy_(torch.from_numpy(found.future))
        code = self.code(torch.from_numpy(past)).numpy()
        centre, unmixing = sparse_sources(code)
        self.centre.copy_(torch.from_numpy(centre))
        self.unmixing.zero_()[:, : unmixing.shape[1]] = torch.from_numpy(unmixing).to(self.unmixing)

    def code(self, scores: Float[Tensor, "batch time component"]) -> Float[Tensor, "batch rank"]:
        """Return what of a window tells what follows it; distances are those between forecasts."""
        return (scores.flatten(1) - self.past) @ self.weights

    def codes(self, scores: Float[Tensor, "batch time component"]) -> Float[Tensor, "batch time rank"]:
        """Return the code of every frame from it and those before it; before its first frame a window stood still."""
        held = torch.cat([scores[:, :1].expand(-1, self.frames - 1, -1), scores], dim=1)
        past = held.unfold(1, self.frames, 1).transpose(2, 3).flatten(2)
        return (past - self.past) @ self.weights

    def forecast(self, code: Float[Tensor, "batch rank"]) -> Float[Tensor, "batch ahead component"]:
        """Return the scores of the frames after a window."""
        return (self.future + code @ self.told.T).unflatten(1, (self.ahead, -1))

    def sources(self, code: Float[Tensor, "batch rank"]) -> Float[Tensor, "batch rank"]:
        """Return the code as independent sources, the sparser the longer."""
        return (code - self.centre) @ self.unmixing


def known_scores(
    components: FrameComponents, batch: Batch, seen: Bool[Tensor, "batch time *space"]
) -> Float[Tensor, "batch time component"]:
    """Return the scores of every frame; of one that is not seen as a whole, interpolated in time."""
    scores = components.scores(batch.x)
    return interpolate(scores, batch.t, components.whole(seen)[..., None].expand_as(scores), batch.t)
