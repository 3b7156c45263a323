"""Autoregressive calcium of single traces: noise, and spikes by OASIS with a penalty or a finite rise.

Apart from the step so that its worker processes start fast: only numpy, scipy and oasis are imported here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from oasis.functions import deconvolve, tau_to_ar2
from oasis.oasis_methods import oasisAR2
from scipy.stats import norm

Penalty = Literal["nnls", "l1", "l0"]

LOW = np.array([0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3])
SPIKING = np.arange(0, 0.6, 0.02)
LEAST_STEPS = 8
SPARSE = (1e-3, 10.0)
LEAST_FRAMES = 12
ROUNDING = 1e-12


@dataclass(frozen=True)
class Model:
    """How fluorescence follows spikes.

    c(t) = g₁ c(t-1) + g₂ c(t-2) + s(t), whose response to one spike is exp(-t/τ) for a rise of 0 (g₂ = 0), otherwise
    proportional to exp(-t/τ) - exp(-t/τ_r).

    Parameters
    ----------
    tau
        Decay time constant τ, s.
    rise
        Rise time constant τ_r, s; 0 is AR(1).
    rate_hz
        Frames per second.
    penalty
        "nnls": none; "l1", "l0": the smallest |s|₁ or |s|₀ that reaches the noise level, with a fitted baseline.
    """

    tau: float
    rise: float
    rate_hz: float
    penalty: Penalty


def noise_sd(trace: np.ndarray, decay: float) -> float:
    """Return the standard deviation of white noise in a trace, in the trace's unit.

    Spikes only raise the steps y(t) - g y(t-1), so that low quantiles of these are those of noise alone, if the share
    of frames with spikes is allowed for: of shares from 0 to 0.58 the one is taken under which the 2nd to 30th
    percentile lie as those of a normal distribution, small ones rather than large ones where few frames tell. Unlike
    the power at high frequencies that holds at 5 frames per second, too, where calcium has power at all frequencies,
    while fewer than about half of the frames hold spikes.

    Parameters
    ----------
    trace
        ΔF/F, shape (time,); steps to or from NaN frames are left out.
    decay
        g, the AR(1) coefficient.
    """
    steps = trace[1:] - decay * trace[:-1]
    steps = steps[np.isfinite(steps)]
    if steps.size < LEAST_STEPS:
        return 0.0
    found = np.percentile(steps, 100 * LOW)
    if found[-1] <= found[0]:
        return 0.0
    expected = norm.ppf(LOW / (1 - SPIKING[:, None]))
    expected = expected - expected.mean(axis=1, keepdims=True)
    middle = found - found.mean()
    sizes = (expected @ middle) / (expected**2).sum(axis=1)
    price = SPARSE[0] + SPARSE[1] / steps.size
    misfit = ((middle / sizes[:, None] - expected) ** 2).sum(axis=1) + price * SPIKING
    return float(sizes[np.argmin(misfit)]) / math.sqrt(1 + decay**2)


def infer_spikes(trace: np.ndarray, model: Model) -> np.ndarray:
    """Infer the spikes of one uninterrupted trace by OASIS. Friedrich, Zhou & Paninski, PLoS Comput Biol 13, e1005423 (2017).

    Parameters
    ----------
    trace
        ΔF/F, float64, shape (time,); its baseline is 0 without a penalty.

    Returns
    -------
    np.ndarray
        Events per frame in arbitrary units, shape (time,); the first frame is 0 because nothing precedes it.
    """
    if model.penalty == "nnls":
        spikes = oasisAR2(trace, *tau_to_ar2(model.tau, model.rise, model.rate_hz))[1]
        calcium = np.abs(trace).max()
    else:
        kind = {"l1": 1, "l0": 0}[model.penalty]
        noise = noise_sd(trace, math.exp(-1 / (model.tau * model.rate_hz)))
        found = deconvolve(trace, tau_d=model.tau, tau_r=model.rise, framerate=model.rate_hz, sn=noise, penalty=kind)
        spikes, calcium = found.s, np.nanmax(found.c)
    spikes = np.where(spikes < ROUNDING * calcium, 0.0, spikes)
    spikes[:1] = np.where(np.isnan(spikes[:1]), np.nan, 0.0)
    return spikes


def infer_many(traces: np.ndarray, starts: np.ndarray, model: Model) -> np.ndarray:
    """Infer the spikes of several traces, stretch by stretch; zeros where a stretch does not vary or is too short.

    Parameters
    ----------
    traces
        ΔF/F, shape (trace, time); NaN frames stay NaN.
    starts
        First frame of every uninterrupted stretch.

    Returns
    -------
    np.ndarray
        Events per frame in arbitrary units, float64, shape (trace, time).
    """
    spikes = np.where(np.isfinite(traces), 0.0, np.nan)
    for trace, row in zip(traces, spikes, strict=True):
        for part in np.split(np.arange(trace.size), starts[1:]):
            values = np.ascontiguousarray(trace[part], dtype=np.float64)
            if np.isfinite(values).sum() >= LEAST_FRAMES and varies(values):
                row[part] = infer_spikes(values, model)
    return spikes


def varies(trace: np.ndarray) -> bool:
    """Say whether the finite frames of a trace differ by more than rounding."""
    finite = trace[np.isfinite(trace)]
    return bool(finite.size and np.ptp(finite) > np.finfo(np.float32).eps * np.abs(finite).max())
