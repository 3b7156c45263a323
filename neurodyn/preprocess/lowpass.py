"""Low-pass baselines: linear-phase FIR and zero-phase Butterworth, and where they really cut."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import root_scalar
from scipy.signal import butter, firwin, oaconvolve, sosfiltfilt

from neurodyn.preprocess.baselines import Edge

PAD_MODES = {"reflect": "symmetric", "nearest": "edge", "mirror": "reflect", "zero": "constant"}
ORDER = 2
FORGOTTEN = 1e-8


def fir_weights(taps: int, cutoff_hz: float, rate_hz: float) -> np.ndarray:
    """Return a Hamming-windowed low-pass with gain 1 at 0 Hz, shape (taps,)."""
    return np.asarray(firwin(taps, cutoff_hz, fs=rate_hz))


def fir_half_gain(weights: np.ndarray, rate_hz: float) -> float:
    """Return the frequency at which a symmetric low-pass has half its gain (-6 dB), Hz.

    Few taps cannot cut as low as they are asked to: 101 taps at 10 Hz reach 0.09 Hz, whatever the cut-off.

    Parameters
    ----------
    weights
        Symmetric filter of odd length, shape (taps,).
    """
    distance = np.arange(weights.size) - weights.size // 2

    def gain(frequency: float) -> float:
        return float(weights @ np.cos(2 * np.pi * frequency / rate_hz * distance)) - 0.5

    grid = np.linspace(0, rate_hz / 2, 8 * weights.size)
    below = next(index for index, frequency in enumerate(grid) if gain(frequency) < 0)
    return float(root_scalar(gain, bracket=(grid[below - 1], grid[below])).root)


def fir_baseline(traces: np.ndarray, weights: np.ndarray, edge: Edge = "reflect") -> np.ndarray:
    """Return each trace convolved with a symmetric filter, without delay.

    F0(t) = Σ_k h(k) F(t - k), k from -(taps - 1)/2 to (taps - 1)/2 (the baseline of Lohani et al., Nat Neurosci 25,
    1706, 2022).

    Parameters
    ----------
    traces
        Fluorescence, shape (trace, time).
    weights
        h, symmetric, of odd length, shape (taps,).
    """
    padded = padded_ends(traces, weights.size // 2, edge)
    return oaconvolve(padded, weights[None], mode="valid", axes=1)


def butterworth_reach(cutoff_hz: float, rate_hz: float) -> int:
    """Return after how many frames the slowest pole has decayed to 1e-8: what lies farther away does not matter."""
    _, poles, _ = butter(ORDER, cutoff_hz, fs=rate_hz, output="zpk")  # type: ignore[misc]
    return math.ceil(math.log(FORGOTTEN) / math.log(max(abs(pole) for pole in poles)))


def butterworth_baseline(traces: np.ndarray, cutoff_hz: float, rate_hz: float, edge: Edge = "reflect") -> np.ndarray:
    """Return each trace low-passed forwards and backwards by a Butterworth filter of order 2.

    The gain is 1 / (1 + (tan(π f / rate) / tan(π cutoff / rate))⁴): -6 dB at the cut-off, no delay.

    Parameters
    ----------
    traces
        Fluorescence, shape (trace, time).
    """
    reach = butterworth_reach(cutoff_hz, rate_hz)
    padded = padded_ends(traces, reach, edge)
    sections = butter(ORDER, cutoff_hz, fs=rate_hz, output="sos")
    filtered = sosfiltfilt(sections, padded, axis=1, padtype=None)  # type: ignore[arg-type]
    return filtered[:, reach : reach + traces.shape[1]]


def padded_ends(traces: np.ndarray, frames: int, edge: Edge) -> np.ndarray:
    """Return traces continued by `frames` on both sides, shape (trace, frames + time + frames)."""
    return np.pad(traces, ((0, 0), (frames, frames)), mode=PAD_MODES[edge])  # type: ignore[call-overload]
