"""AR(1) calcium of single traces: noise level, decay, and spikes by OASIS.

Apart from the step so that its worker processes start fast: only numpy, scipy and oasis are imported here.
"""

from __future__ import annotations

import math

import numpy as np
from oasis.functions import deconvolve
from oasis.oasis_methods import oasisAR1
from scipy.signal import welch

LAGS = 10
ROUNDING = 1e-12


def noise_level(trace: np.ndarray) -> float:
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


def decay_factor(trace: np.ndarray, lags: int = LAGS) -> float:
    """Return the AR(1) coefficient g of the calcium in a noisy trace.

    White noise adds to the autocovariance γ at lag 0 only, so γ(k + 1) = g γ(k) is solved by least squares over the
    lags 1 to `lags`. The result may lie outside (0, 1) when the trace holds no calcium; the caller decides.

    Parameters
    ----------
    trace
        ΔF/F, shape (time,).
    """
    trace = trace[np.isfinite(trace)]
    trace = trace - trace.mean()
    gamma = np.array([trace[k:] @ trace[: trace.size - k] for k in range(1, lags + 1)])
    return float(gamma[1:] @ gamma[:-1] / (gamma[:-1] @ gamma[:-1]))


def infer_spikes(trace: np.ndarray, tau: float, rate_hz: float, penalty: str, sd: float) -> np.ndarray:
    """Infer the spikes of one trace.

    Minimise |y - c|² with s(t) = c(t) - g c(t-1) >= 0 and g = exp(-1 / (tau rate)): alone ("nnls"), or with the
    smallest |s|₁ ("l1") or |s|₀ ("l0") that reaches the noise level. Friedrich, Zhou & Paninski, PLoS Comput Biol 13,
    e1005423 (2017).

    Parameters
    ----------
    trace
        ΔF/F, float64, shape (time,); its baseline is 0 for "nnls".
    tau
        Decay time constant, s.
    sd
        Noise level, in the trace's unit.

    Returns
    -------
    np.ndarray
        Events per frame in arbitrary units, shape (time,); the first frame is 0 because nothing precedes it.
    """
    if penalty == "nnls":
        return oasisAR1(trace, math.exp(-1.0 / (tau * rate_hz)))[1]
    found = deconvolve(trace, tau_d=tau, framerate=rate_hz, sn=sd, penalty={"l1": 1, "l0": 0}[penalty])
    return np.where(found.s < ROUNDING * np.nanmax(found.c), 0.0, found.s)


def infer_many(traces: np.ndarray, levels: np.ndarray, tau: float, rate_hz: float, penalty: str) -> np.ndarray:
    """Infer the spikes of several traces with one decay time; zeros where there is nothing to infer.

    Parameters
    ----------
    traces
        ΔF/F, float64, shape (trace, time); NaN frames stay NaN.
    levels
        Noise level of each trace, shape (trace,); 0 marks a constant or empty trace.

    Returns
    -------
    np.ndarray
        Events per frame in arbitrary units, shape (trace, time).
    """
    spikes = np.where(np.isfinite(traces), 0.0, np.nan)
    for trace, level, row in zip(traces, levels, spikes, strict=True):
        if level > 0:
            row[:] = infer_spikes(np.ascontiguousarray(trace), tau, rate_hz, penalty, float(level))
    return spikes
