"""Linear maps of single sessions, and components that sessions with different cells share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from neurodyn.nn.recurrent import product


class SessionLinear(nn.Module):
    """A linear map per session: y = x W + b with W, b of the window's session.

    Weights are normal with variance 1 / inputs, offsets 0 at first.

    Parameters
    ----------
    sessions, inputs, outputs
        Number of maps, and their widths.
    """

    def __init__(self, sessions: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(sessions, inputs, outputs) * inputs**-0.5)
        self.bias = nn.Parameter(torch.zeros(sessions, outputs))

    def forward(
        self, x: Float[Tensor, "time batch inputs"], session: Int[Tensor, " batch"]
    ) -> Float[Tensor, "time batch outputs"]:
        """Map every window by its session's weights; with one session, whatever its number."""
        if len(self.weight) == 1:
            return product(x, self.weight[0]) + self.bias[0]
        return torch.bmm(x.transpose(0, 1), self.weight[session]).transpose(0, 1) + self.bias[session]


def shared_components(sessions: Sequence[np.ndarray], width: int) -> list[np.ndarray]:
    """Find linear combinations of every session's cells that follow one another, without any cell in common.

    Principal component regression: the leading principal components of each session, of variance 1, are rotated so that
    their averages over windows come closest to those that all sessions have in common. Where windows are aligned
    to events, the averages hold what sessions share; otherwise the components are those of each session alone.
    Pandarinath et al., Nat Methods 15, 805 (2018) regress onto averages of conditions; here only a rotation is
    fitted, which cannot magnify noise.

    Parameters
    ----------
    sessions
        Standardised training windows of each session, 0 where not valid, shape (window, time, cell).
    width
        Number of combinations; those beyond a session's cells are 0.

    Returns
    -------
    list of np.ndarray
        Weights of each session, shape (cell, width).
    """
    whitened = [_whitened(windows, width) for windows in sessions]
    courses = [windows.mean(axis=0) @ weights for windows, weights in zip(sessions, whitened, strict=True)]
    joined = np.concatenate(courses, axis=1)
    left, scale, _ = np.linalg.svd(joined - joined.mean(axis=0), full_matrices=False)
    common = (left * scale)[:, :width]
    common = np.pad(common, ((0, 0), (0, width - common.shape[1])))
    return [weights @ _rotation(course, common) for weights, course in zip(whitened, courses, strict=True)]


def _whitened(windows: np.ndarray, width: int) -> np.ndarray:
    """Return weights of principal components of variance 1, shape (cell, width)."""
    flat = windows.reshape(-1, windows.shape[2]).astype(np.float64)
    variance, vectors = np.linalg.eigh(np.cov(flat, rowvar=False).reshape(flat.shape[1], -1))
    kept = min(width, flat.shape[1])
    variance, vectors = variance[::-1][:kept], vectors[:, ::-1][:, :kept]
    weights = vectors / np.sqrt(np.where(variance > 0, variance, np.inf))
    return np.pad(weights, ((0, 0), (0, width - kept)))


def _rotation(course: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Return the rotation R that brings a course, centred, closest to the common one: Schönemann 1966, Procrustes."""
    left, _, right = np.linalg.svd((course - course.mean(axis=0)).T @ common)
    return left @ right
