"""How much of its surround a ROI's trace contains: the cross-validated fit of the Allen Brain Observatory."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solveh_banded

FOLDS = 4
SMOOTHNESS = 0.05
STEP = 0.1
TOP = 2.0
REFINEMENTS = 3
EXTENSIONS = 20


def contamination_ratio(fluorescence: np.ndarray, neuropil: np.ndarray, smoothness: float = SMOOTHNESS) -> np.ndarray:
    """Return r of the model F = F_C + r F_N that leaves the smoothest cell signal F_C.

    In each of 4 contiguous folds F_C minimises |F_C - (F - r F_N)|² + λ |ΔF_C|², so that the residual is
    -λ L F_C with L the second-difference matrix: a linear function of r. Its root mean square over the mean of F (both
    scaled so that F_N runs from 0 to 1), averaged over folds, is minimised on a grid of r from 0 to 2 in steps of 0.1,
    then twice more about the minimum with a tenth of the step; the grid moves up, from the value before its last, while
    its last value is the best.
    Because of the linearity two banded solutions per fold serve every r.

    Source: de Vries et al., Nat Neurosci 23, 138 (2020), Methods.

    Parameters
    ----------
    fluorescence, neuropil
        Shape (trace, time), one unit, finite.
    smoothness
        λ.

    Returns
    -------
    np.ndarray
        r, not negative; NaN where the neuropil does not vary, shape (trace,).
    """
    error = np.stack([_fold(*part, smoothness) for part in _folds(fluorescence, neuropil)])  # (fold, 4, trace)
    return np.array([_minimise(error[:, :, trace]) for trace in range(len(fluorescence))])


def _folds(fluorescence: np.ndarray, neuropil: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    length = fluorescence.shape[1] // FOLDS
    cuts = [slice(fold * length, (fold + 1) * length) for fold in range(FOLDS)]
    return [(fluorescence[:, cut], neuropil[:, cut]) for cut in cuts]


def _fold(fluorescence: np.ndarray, neuropil: np.ndarray, smoothness: float) -> np.ndarray:
    """Return the parts of the squared error a - 2 r b + r² c, and the mean of F it is divided by, shape (4, trace)."""
    lowest, span = neuropil.min(axis=1, keepdims=True), np.ptp(neuropil, axis=1)
    cell, around = (_roughness(values - lowest, smoothness) for values in (fluorescence, neuropil))
    mean = np.abs((fluorescence - lowest).mean(axis=1))
    flat = span <= np.finfo(np.float32).eps * np.abs(neuropil).max(axis=1)
    parts = [np.mean(x * y, axis=1) for x, y in ((cell, cell), (cell, around), (around, around))]
    return np.where(flat, np.nan, np.stack([*parts, mean]))


def _roughness(traces: np.ndarray, smoothness: float) -> np.ndarray:
    """Return (I + λL)⁻¹ x - x for each trace x, shape (trace, time)."""
    length = traces.shape[1]
    bands = np.full((2, length), 1 + 2 * smoothness)
    bands[1, [0, -1]] = 1 + smoothness
    bands[0] = -smoothness
    return solveh_banded(bands, traces.T, overwrite_ab=True).T - traces


def _minimise(error: np.ndarray) -> float:
    """Return r at the least mean over folds of sqrt(a - 2 r b + r² c) / mean, from parts of shape (fold, 4)."""
    if not np.isfinite(error).all() or (error[:, 3] == 0).any():
        return np.nan
    low, high, step = 0.0, TOP, STEP
    best, least, refined, extended = 0.0, np.inf, 0, 0
    while refined < REFINEMENTS and extended < EXTENSIONS:
        grid = low + step * np.arange(max(1, int(np.ceil((high - low) / step - 1e-9))))
        a, b, c, mean = error.T[:, :, None]
        errors = (np.sqrt(np.maximum(a - 2 * grid * b + grid**2 * c, 0)) / mean).mean(axis=0)
        at = int(np.argmin(errors))
        if errors[at] < least:
            best, least = float(grid[at]), float(errors[at])
        if at == grid.size - 1:
            low, high, extended = grid[max(at - 1, 0)], grid[at] + max(grid[at] - grid[0], step), extended + 1
        else:
            low, high = grid[max(at - 1, 0)], grid[min(at + 1, grid.size - 1)]
            step, refined = step / 10, refined + 1
    return max(best, 0.0)
