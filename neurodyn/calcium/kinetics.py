"""Decay, noise and size of one spike of every cell, from training traces alone."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from neurodyn.calcium.cell import Cell, cell_noise
from neurodyn.calcium.decay import decay_time, shared_decay
from neurodyn.calcium.quantum import LEAST_NOISE, Told, tell
from neurodyn.calcium.traces import bridged
from neurodyn.core.processor import processors

LOGGER = logging.getLogger(__name__)
NOISES = 4.0


@dataclass(frozen=True)
class CellKinetics:
    """An autoregressive model of every cell's calcium, all of shape (cell,).

    Parameters
    ----------
    tau
        Decay time constant, s.
    gain
        Jump of the trace at one spike, in its unit.
    noise
        Standard deviation of white noise, in the traces' unit.
    """

    tau: np.ndarray
    gain: np.ndarray
    noise: np.ndarray


def fit_kinetics(
    windows: np.ndarray, rate_hz: float, tau: float | None = None, gain: float | None = None
) -> CellKinetics:
    """Estimate the calcium kinetics of cells from all their training windows together.

    Parameters
    ----------
    windows
        ΔF/F, shape (window, time, cell); NaN where there is none.
    rate_hz
        Frames per second.
    tau
        Decay time constant, s, where it is known; otherwise `shared_tau`.
    gain
        Jump at one spike where it is known; otherwise as `tell` finds it. Cells that cannot tell it get the median of those
        that can; where none can, four times the cell's noise, as Prince et al., CaLFADS (2020), take it. A warning
        says so.

    Raises
    ------
    DataError
        If no cell shows a decay.
    """
    filled = np.stack([_bridged(windows[:, :, cell]) for cell in range(windows.shape[2])], axis=-1)
    if tau is None:
        tau = shared_tau(filled, rate_hz)
    starts = np.arange(len(filled) + 1) * filled.shape[1]
    cells = [Cell.of(filled[:, :, cell].ravel(), starts, rate_hz, tau) for cell in range(filled.shape[2])]
    scale = [LEAST_NOISE * float(np.std(cell.trace)) for cell in cells]
    least = np.maximum(scale, float(np.finfo(np.float32).tiny))
    noise = np.maximum([cell_noise(cell) for cell in cells], least)
    if gain is not None:
        return CellKinetics(np.full(len(cells), tau), np.full(len(cells), gain), noise)
    with ThreadPoolExecutor(processors()) as pool:
        told = list(pool.map(tell, cells))
    return CellKinetics(np.full(len(cells), tau), _gains(told, noise), _noises(told, noise))


def _gains(told: list[Told], noise: np.ndarray) -> np.ndarray:
    """Return the size of one spike of every cell, from other cells or the noise where it cannot be told."""
    gains = np.array([np.nan if one.certain is None else one.certain.quantum for one in told])
    lost = np.isnan(gains)
    if lost.any():
        instead = f"{NOISES:g} times their noise" if lost.all() else "the median of the others"
        LOGGER.warning(
            "The size of one spike is not to be told in %d of %d cells; they take %s.", lost.sum(), lost.size, instead
        )
    return np.where(lost, NOISES * noise if lost.all() else np.median(gains[~lost]), gains)


def _noises(told: list[Told], noise: np.ndarray) -> np.ndarray:
    """Return the noise of every cell, from the fit that told the size of its spikes where there is one."""
    return np.array(
        [other if one.certain is None else one.certain.noise for one, other in zip(told, noise, strict=True)]
    )


def shared_tau(windows: np.ndarray, rate_hz: float, indicator: str = "", setting: str = "model.tau") -> float:
    """Return the decay time constant, s: the median of `decay_time` over cells, which hold one indicator.

    Parameters
    ----------
    windows
        ΔF/F without NaN, shape (window, time, cell).
    indicator, setting
        For messages: see `shared_decay`.

    Raises
    ------
    DataError
        If no cell shows a decay.
    """
    starts = np.arange(len(windows) + 1) * windows.shape[1]
    traces = np.asarray(windows, dtype=np.float64).reshape(-1, windows.shape[2]).T
    found = np.array([decay_time(np.ascontiguousarray(trace), starts, rate_hz) for trace in traces])
    return shared_decay(found, indicator, setting.split(".")[0], setting)


def _bridged(windows: np.ndarray) -> np.ndarray:
    """Fill NaN linearly within each window, shape (window, time); a window without data becomes the cell's mean."""
    missing = ~np.isfinite(windows)
    if not missing.any():
        return windows.astype(np.float64)
    out = np.where(missing, 0.0 if missing.all() else windows[~missing].mean(), windows).astype(np.float64)
    for row in np.flatnonzero(missing.any(axis=1) & ~missing.all(axis=1)):
        out[row] = bridged(windows[row])
    return out
