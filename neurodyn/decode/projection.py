"""Linear projections of frames, fitted to training frames without labels: principal components, and common factors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.decode.foretelling import free_frames
from neurodyn.decode.settings import DecodeConfig
from neurodyn.decode.source import Source
from neurodyn.metrics.components import thin_svd

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
        return Projection(mean, factor_axes(values - mean, config.components), source.entries)
    _, _, right = thin_svd(values - mean, config.components)
    return Projection(mean, right.T, source.entries)


def _training_frames(source: Source) -> np.ndarray:
    """Return at most `PROJECTION_FRAMES` training frames, evenly spaced."""
    frames = np.flatnonzero(free_frames(source))
    _enough_frames(frames.size)
    return frames[np.unique(np.linspace(0, frames.size - 1, min(PROJECTION_FRAMES, frames.size)).astype(int))]


def factor_axes(centred: np.ndarray, components: int) -> np.ndarray:
    r"""Return what gives the posterior mean of common factors, by factor analysis.

    With loadings :math:`\Lambda` and private variances :math:`\Psi`, found by maximum likelihood, the factors of a row x are
    :math:`x A`, :math:`A = \Psi^{-1} \Lambda (1 + \Lambda^\top \Psi^{-1} \Lambda)^{-1}`. What one column does by itself, however
    large, is noise; principal components would follow it.

    Parameters
    ----------
    centred
        Shape (row, column), of mean 0.
    components
        Factors to find, fewer than there are columns.

    Returns
    -------
    numpy.ndarray
        A, shape (column, factor).
    """
    from sklearn.decomposition import FactorAnalysis  # brings scipy, which a dry run has no use for

    count = min(components, centred.shape[1] - 1)
    # The model does not care about scales, but the iterations do: of a column that is loud they take hundreds more.
    scale = centred.std(axis=0)
    scale[scale == 0] = 1.0
    found = FactorAnalysis(count, tol=1e-4, random_state=0).fit(centred / scale)
    weighted = found.components_ / found.noise_variance_
    return (weighted.T @ np.linalg.inv(np.eye(count) + weighted @ found.components_.T)) / scale[:, None]


def _enough_frames(count: int) -> None:
    if count < 2:
        raise DataError("There are no training frames for pca.", f"Found {count}.", "Use other split fractions.")
