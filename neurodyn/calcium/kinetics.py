"""Decay, noise and size of one spike of every cell, from training traces alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from oasis.functions import ar1_to_tau, deconvolve

from neurodyn.calcium.ar1 import decay_factor, varies
from neurodyn.core.errors import DataError

MOST_FRAMES = 20_000
ROUNDS = 5
SHORTEST_DECAY = 0.5
SLOW = 0.15
HIGH = 0.375
LEAST_NOISE = 0.1
ITERATIONS = 30


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
        ΔF/F with baseline 0, shape (window, time, cell); NaN where there is none.
    rate_hz
        Frames per second.
    tau
        Decay time constant, s, where it is known; otherwise `shared_tau`.
    gain
        Jump at one spike where it is known; otherwise as `noise_and_gain` finds it, the cells' median where a cell's mean
        is not above 0.

    Raises
    ------
    DataError
        If no cell shows a decay, or no cell has a mean above 0.
    """
    filled = np.stack([_bridged(windows[:, :, cell]) for cell in range(windows.shape[2])], axis=-1)
    if tau is None:
        tau = shared_tau(filled, rate_hz)
    decay = math.exp(-1 / (tau * rate_hz))
    noise, gains = np.array([noise_and_gain(filled[:, :, cell], decay) for cell in range(filled.shape[2])]).T
    if gain is None and not np.isfinite(gains).any():
        raise DataError(
            "No cell's fluorescence lies above its baseline.",
            f"Found means of 0 or less in all {gains.size} cells; expected ΔF/F, whose baseline is 0.",
            "Use ΔF/F: --set windows.variable=dff, or give a spike's size: --set model.gain=0.2",
        )
    gains = np.where(np.isfinite(gains), gains, np.nanmedian(gains)) if gain is None else np.full(gains.shape, gain)
    return CellKinetics(np.full(gains.shape, tau), gains, noise)


def shared_tau(windows: np.ndarray, rate_hz: float) -> float:
    """Return the decay time constant, s: the median over cells, which hold one indicator, of what OASIS finds.

    OASIS starts from the decay of the autocovariance within windows, and optimises g with an L1 penalty (Friedrich, Zhou
    & Paninski, PLoS Comput Biol 13, e1005423, 2017). Firing rates that change as slowly as the calcium
    draw the estimate out, by a quarter to a half: an indicator's known decay is better.

    Parameters
    ----------
    windows
        ΔF/F without NaN, shape (window, time, cell).

    Raises
    ------
    DataError
        If no cell shows a decay.
    """
    found = []
    for cell in range(windows.shape[2]):
        values = windows[:, :, cell].astype(np.float64)
        start = decay_factor(list(values), rate_hz)
        trace = np.pad(values, ((0, 0), (1, 0)))[: max(1, MOST_FRAMES // values.shape[1])].ravel()
        if not 0 < start < 1 or not varies(trace):
            continue
        first = ar1_to_tau(start, rate_hz)
        fit = deconvolve(
            trace, b=0, penalty=1, optimize_g=ROUNDS, max_iter=ROUNDS, tau_d=first, framerate=rate_hz
        )  # fmt: skip
        g = float(np.ravel(fit.g)[0])
        if 0 < g < 1:
            found.append(-1 / (math.log(g) * rate_hz))
    if not found:
        raise DataError(
            "No cell shows a decay of calcium.",
            f"Found none in {windows.shape[2]} cells of {len(windows)} training windows.",
            "Give it, in seconds: --set model.tau=0.7",
        )
    return max(float(np.median(found)), SHORTEST_DECAY / rate_hz)


def noise_and_gain(windows: np.ndarray, decay: float) -> tuple[float, float]:
    """Return the noise's standard deviation and the jump at one spike of one cell.

    White noise of variance n and AR(1) calcium driven by independent spikes of variance v have the spectrum
    S(f) = n + v / |1 - g exp(-2πif)|²; n and v are fitted to the periodogram, where firing rates are too slow to matter,
    by Whittle's likelihood (J R Stat Soc B 15, 125, 1953). Poisson spikes of size q have v = q × their mean, which is
    (1 - g) × the trace's. n is at least a tenth of the periodogram's top quarter, which is never below it.

    Parameters
    ----------
    windows
        ΔF/F with baseline 0 and without NaN, shape (window, time).
    decay
        g, the AR(1) coefficient.

    Returns
    -------
    tuple
        Noise and gain in the traces' unit; NaN for the gain where the trace's mean is not above 0.
    """
    frequency, power = _periodogram(windows)
    fast, top = frequency >= SLOW, power[frequency >= HIGH].mean()
    shape = 1 / np.abs(1 - decay * np.exp(-2j * np.pi * frequency[fast])) ** 2
    parts = np.array([power[fast].min() / 2, power[fast].mean() / shape.mean() / 2])
    floor = max(1e-6 * top, np.finfo(np.float64).tiny)
    for _ in range(ITERATIONS):
        expected = parts[0] + parts[1] * shape
        design = np.stack([np.ones_like(shape), shape], axis=1) / expected[:, None]
        parts = np.maximum(np.linalg.lstsq(design, power[fast] / expected, rcond=None)[0], floor)
    drive = (1 - decay) * float(windows.mean())
    noise = math.sqrt(max(parts[0], LEAST_NOISE * top, np.finfo(np.float32).tiny))
    return noise, parts[1] / drive if drive > 0 else math.nan


def _periodogram(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies in cycles per frame and the mean power of the windows, tapered by a Hann window."""
    frames = windows.shape[1]
    taper = np.hanning(frames + 2)[1:-1]
    tapered = (windows - windows.mean()) * (taper / np.sqrt((taper**2).sum()))
    return np.fft.rfftfreq(frames), (np.abs(np.fft.rfft(tapered, axis=1)) ** 2).mean(axis=0)


def _bridged(windows: np.ndarray) -> np.ndarray:
    """Fill NaN linearly within each window, shape (window, time); a window without data becomes the cell's mean."""
    missing = ~np.isfinite(windows)
    if not missing.any():
        return windows.astype(np.float64)
    out = np.where(missing, 0.0 if missing.all() else windows[~missing].mean(), windows).astype(np.float64)
    frames = np.arange(windows.shape[1])
    for row in np.flatnonzero(missing.any(axis=1) & ~missing.all(axis=1)):
        good = ~missing[row]
        out[row] = np.interp(frames, frames[good], windows[row, good])
    return out
