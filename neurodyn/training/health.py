"""The health of a trained latent model: co-smoothing beside that of factor analysis of the same width."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neurodyn.backends.base import Backend
from neurodyn.data.windows import Windows
from neurodyn.metrics.cosmoothing import groups_of, r2_of_cells, r2_sums
from neurodyn.metrics.factor_analysis import FactorAnalysis, most_factors
from neurodyn.metrics.intervals import bootstrap_interval
from neurodyn.runs.health import Health
from neurodyn.training.cosmoothing import factors_of, hidden_cells

GROUPS = 8
MOST_WINDOWS = 48  # of validation
MOST_FRAMES = 20_000  # of training windows, for factor analysis
FEWEST_CELLS, MOST_CELLS = 3, 1000


def measurable(backend: Backend, windows: Windows) -> bool:
    """Whether the model says that it tells hidden cells from the others, and the windows are those of cells it can be asked of.

    Cells are columns of traces, 3 to 1000 of them: factor analysis of more would take longer than a few seconds.
    """
    alone = backend.tells_cells and not windows.horizon and windows.config.target is None and len(windows.space) == 1
    return alone and min(windows.cells) >= FEWEST_CELLS and max(windows.cells) <= MOST_CELLS


def measured(backend: Backend, parts: dict[str, Windows], seed: int) -> Health | None:
    """Return how well a trained model and factor analysis of its width tell hidden cells of validation windows.

    Cells are hidden throughout a window, in at most 8 groups that take turns, in at most 48 windows of a session that share
    no frame; factor analysis is fitted to at most 20,000 training frames of a session. It takes a few seconds on one core.
    The weights stay as they are.

    Parameters
    ----------
    backend
        On the CPU, in evaluation mode.
    seed
        Of the groups and of the interval's resamples.

    Returns
    -------
    Health or None
        None where the model or its windows have no cells to be told, or nothing was left for validation.
    """
    if not measurable(backend, parts["valid"]) or not len(parts["valid"]):
        return None
    asked = [_of_session(backend, parts, session, seed) for session in np.unique(parts["valid"].session)]
    own, other = np.concatenate([one.r2 for one in asked], axis=1)

    def difference(index: np.ndarray) -> float:
        return _mean(own[index]) - _mean(other[index])

    every = np.arange(own.size)
    if not np.isfinite(difference(every)):  # no cell changes in these windows
        return None
    return Health(
        _mean(own),
        _mean(other),
        max(one.factors for one in asked),
        difference(every),
        *bootstrap_interval(difference, own.size, seed=seed),
        cells=own.size,
        windows=sum(one.windows for one in asked),
        groups=max(one.groups for one in asked),
    )


class _Asked(NamedTuple):
    """One session: R² of every cell, of the model and of factor analysis, shape (2, cell), and how it was found."""

    r2: np.ndarray
    factors: int
    windows: int
    groups: int


def _of_session(backend: Backend, parts: dict[str, Windows], session: int, seed: int) -> _Asked:
    train, valid = (_session(parts[name], session) for name in ("train", "valid"))
    valid = valid.apart(MOST_WINDOWS * valid.frames)
    target = valid.cell_values()
    cells = target.shape[-1]
    factors = min(factors_of(backend, valid) or cells, most_factors(cells))
    groups = groups_of(cells, GROUPS, seed)
    linear = FactorAnalysis.fit(train.apart(MOST_FRAMES).cell_values().reshape(-1, cells), factors)
    told = np.empty_like(target)
    for group in groups:
        told[..., group] = linear.hidden(target, group)
    r2 = [r2_of_cells(r2_sums(target, said).sum(0)) for said in (hidden_cells(backend, valid, groups), told)]
    return _Asked(np.stack(r2), factors, len(valid), len(groups))


def _session(windows: Windows, session: int) -> Windows:
    return windows.take(np.flatnonzero(windows.session == session))


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
