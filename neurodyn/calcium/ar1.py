"""Autoregressive calcium of single traces: noise, decay, and spikes by OASIS with a penalty or a finite rise.

Apart from the step so that its worker processes start fast: only numpy, scipy and oasis are imported here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from oasis.functions import deconvolve, tau_to_ar2
from oasis.oasis_methods import oasisAR2
from scipy.signal import welch

Penalty = Literal["nnls", "l1", "l0"]

LAG_SECONDS = 0.3
LEAST_LAGS = 4
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


def noise_sd(trace: np.ndarray) -> float:
    """Return the standard deviation of white noise in a trace, in the trace's unit.

    The square root of the mean power spectral density above a quarter of the sampling rate (Welch's method), where
    calcium has no power; NaN frames are dropped. Pnevmatikakis et al., Neuron 89, 285 (2016).

    Parameters
    ----------
    trace
        ΔF/F, shape (time,).
    """
    trace = trace[np.isfinite(trace)]
    if trace.size < 8:
        return 0.0
    frequency, power = welch(trace, nperseg=min(256, trace.size))
    return math.sqrt(float(power[(frequency > 0.25) & (frequency < 0.5)].mean()) / 2)


def decay_factor(stretches: list[np.ndarray], rate_hz: float) -> float:
    """Return the AR(1) coefficient g of the calcium in a noisy trace.

    White noise adds to the autocovariance γ at lag 0 only, so γ(k + 1) = g γ(k) is solved by least squares over the
    lags 1 frame to 0.3 s, γ summed over the stretches. The result may lie outside (0, 1) when the trace holds no
    calcium or drifts; the caller decides.

    Parameters
    ----------
    stretches
        Uninterrupted parts of one ΔF/F trace, each of shape (time,); NaN frames are dropped.
    """
    parts = [part[np.isfinite(part)] for part in stretches]
    lags = max(LEAST_LAGS, round(LAG_SECONDS * rate_hz))
    parts = [part for part in parts if part.size > lags + 1]
    if not parts:
        return math.nan
    mean = np.concatenate(parts).mean()
    parts = [part - mean for part in parts]
    gamma = np.array([sum(part[k:] @ part[: part.size - k] for part in parts) for k in range(1, lags + 1)])
    power = gamma[:-1] @ gamma[:-1]
    return float(gamma[1:] @ gamma[:-1] / power) if power > 0 else math.nan


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
        found = deconvolve(
            trace, tau_d=model.tau, tau_r=model.rise, framerate=model.rate_hz, sn=noise_sd(trace), penalty=kind
        )
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
