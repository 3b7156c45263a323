"""Linear projections of frames, fitted to training frames without labels: principal components, and common factors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.decode.foretelling import free_frames
from neurodyn.decode.settings import DecodeConfig
from neurodyn.decode.source import Source
from neurodyn.metrics.components import thin_svd
from neurodyn.metrics.factor_analysis import FactorAnalysis, most_factors

PROJECTION_FRAMES = 2000


@dataclass(frozen=True)
class Projection:
    """A linear projection of frames, fitted to training frames.

    Parameters
    ----------
    mean
        Shape (entry,), the signal's unit; entries are the frame's, inside the brain.
    axes
        Shape (entry, component); orthonormal columns for principal components.
    brain
        Entries of a frame that are data, bool, shape (*space).
    """

    mean: np.ndarray
    axes: np.ndarray
    brain: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return the scores of windows, shape (window, time, component)."""
        return (values[:, :, self.brain] - self.mean) @ self.axes


def fit_projection(source: Source, config: DecodeConfig, base: str = "pca") -> Projection:
    """Fit principal components, or "factors", to frames of training windows that no decoded window contains, without labels.

    Raises
    ------
    ConfigError
        If nothing was held out, so that every frame is decoded.
    DataError
        If fewer than two such frames exist.
    """
    if source.train is None or not len(source.train):
        raise ConfigError(
            f"{base} needs training frames.",
            "Every window of the recording is decoded.",
            "Decode its test part only: --set on=test",
        )
    frames = _training_frames(source)
    array = source.recording[source.windows.config.variable].variable
    values = np.stack([np.asarray(array[int(frame)].values, dtype=np.float32) for frame in frames])
    values = values[:, source.entries]
    values = values[np.isfinite(values).all(axis=1)]
    _enough_frames(len(values))
    mean = values.mean(axis=0)
    if base == "factors":
        found = FactorAnalysis.fit(values, min(config.components, most_factors(values.shape[1])))
        return Projection(mean, found.weights, source.entries)
    _, _, right = thin_svd(values - mean, config.components)
    return Projection(mean, right.T, source.entries)


def _training_frames(source: Source) -> np.ndarray:
    """Return at most `PROJECTION_FRAMES` training frames, evenly spaced."""
    frames = np.flatnonzero(free_frames(source))
    _enough_frames(frames.size)
    return frames[np.unique(np.linspace(0, frames.size - 1, min(PROJECTION_FRAMES, frames.size)).astype(int))]


def _enough_frames(count: int) -> None:
    if count < 2:
        raise DataError("There are no training frames for pca.", f"Found {count}.", "Use other split fractions.")
