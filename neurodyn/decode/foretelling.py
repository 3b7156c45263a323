"""The linear predictive reference: what of a second tells the next half second, fitted to training frames without labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.data.clock import stretch_starts
from neurodyn.decode.source import Source
from neurodyn.metrics.reduced_rank import ReducedRank, fit_reduced_rank

AHEAD = 0.5  # s
FEWEST = 100
MOST = 20_000


def free_frames(source: Source) -> np.ndarray:
    """Say which frames training windows hold, and no decoded window does, shape (time,)."""
    session = int(source.windows.session[0])
    decoded = source.windows.held[session]
    return np.zeros_like(decoded) if source.train is None else source.train.held[session] & ~decoded


def foretelling_stretches(source: Source) -> np.ndarray:
    """Return where stretches of training frames begin that hold a window and the half second after it, shape (stretch,).

    None where there are fewer than 100, which tell little; at most 20,000, evenly spaced.
    """
    length, time = source.windows.frames + _ahead(source), source.recording.time
    first = np.arange(max(0, time.size - length + 1))
    held = np.concatenate([[0], np.cumsum(free_frames(source))])
    starts = stretch_starts(time, source.windows.rate_hz)
    stretch = np.searchsorted(starts, np.arange(time.size), side="right")
    first = first[(held[first + length] - held[first] == length) & (stretch[first + length - 1] == stretch[first])]
    if first.size < FEWEST:
        return first[:0]
    return first[np.unique(np.linspace(0, first.size - 1, min(MOST, first.size)).astype(int))]


def fit_foretelling(source: Source, project: Callable[[np.ndarray], np.ndarray], at_once: int) -> ReducedRank:
    """Regress the next half second on a window's frames, both as component scores.

    Parameters
    ----------
    project
        Makes scores of frames, (window, time, *space) to (window, time, component).
    at_once
        Bytes of frames to read at a time.

    Raises
    ------
    DataError
        If there are fewer than 100 stretches of training frames.
    """
    frames, first = source.windows.frames, foretelling_stretches(source)
    stop = int(first[-1]) + frames + _ahead(source) if first.size else 0
    array = source.recording[source.windows.config.variable].variable
    step = max(1, at_once // max(1, 4 * int(np.prod(source.windows.space))))
    parts = [array[k : min(k + step, stop)].values.astype(np.float32)[None] for k in range(0, stop, step)]
    scores = np.concatenate([project(part)[0] for part in parts]) if parts else np.empty((0, 1))
    lacking = np.concatenate([[0], np.cumsum(~np.isfinite(scores).all(axis=1))])
    first = first[lacking[first + frames + _ahead(source)] == lacking[first]]
    if first.size < FEWEST:
        raise DataError(
            "There are too few training frames for reduced_rank.",
            f"Found {first.size} stretches of {frames} + {_ahead(source)} frames without gaps; expected {FEWEST}.",
            "Use other split fractions, or shorter windows.",
        )
    past = first[:, None] + np.arange(frames)
    return fit_reduced_rank(scores[past], scores[first[:, None] + frames + np.arange(_ahead(source))])


def _ahead(source: Source) -> int:
    return max(1, round(AHEAD * source.windows.rate_hz))
