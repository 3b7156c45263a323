"""Baselines that follow the trace: which one, and how far it looks to both sides."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.preprocess.baselines import (
    TRUNCATE,
    Edge,
    decimated_percentile,
    maximin,
    noise_level,
    odd,
    rolling_mean,
    rolling_median,
    rolling_mode,
)
from neurodyn.preprocess.dff_params import WINDOWS, DffParams
from neurodyn.preprocess.lowpass import (
    butterworth_baseline,
    butterworth_reach,
    fir_baseline,
    fir_half_gain,
    fir_weights,
)

NOISE_WINDOW = 31 / 30
NOISE_SHARE = 2.5
SHORTEST = 3  # frames


@dataclass(frozen=True)
class Windowed:
    """A baseline in frames.

    Parameters
    ----------
    baseline
        Traces without NaN, shape (trace, time) -> F0 of the same shape.
    halo
        Frames on both sides that a value depends on.
    needed
        Frames that a stretch of recording must have.
    about
        What the output's attributes say of it.
    multiple
        Reading begins at a multiple of this many frames.
    noise_frames, short_frames
        Windows of the noise level and of the second median, for Allen's rule; 0 for every other.
    edge
        How the second median continues beyond the ends.
    """

    baseline: Callable[[np.ndarray], np.ndarray]
    halo: int
    needed: int
    about: Mapping[str, float] = field(default_factory=dict)
    multiple: int = 1
    noise_frames: int = 0
    short_frames: int = 0
    edge: Edge = "reflect"

    def divisor(self, traces: np.ndarray, f0: np.ndarray) -> np.ndarray:
        """Return what divides: F0, or for Allen's rule max(F0, noise level), shape (trace, time)."""
        return np.maximum(f0, noise_level(traces, self.noise_frames)) if self.noise_frames else f0

    def finish(self, change: np.ndarray) -> np.ndarray:
        """Return ΔF/F from (F - F0) / D, without NaN, shape (trace, time).

        For Allen's rule, min(short median, 2.5 noise levels) is subtracted; nothing happens for every other.
        """
        if not self.short_frames:
            return change
        ceiling = NOISE_SHARE * noise_level(change, self.noise_frames)
        return change - np.minimum(rolling_median(change, self.short_frames, self.edge), ceiling)


def windowed(params: DffParams, rate_hz: float, available: int) -> Windowed:
    """Return the baseline that the settings ask for.

    Parameters
    ----------
    available
        Frames in the shortest stretch of the recording.

    Raises
    ------
    DataError
        If its window does not fit a stretch.
    ConfigError
        If its cut-off is not below half the frame rate.
    """
    make = {"fir": _fir, "butterworth": _butterworth}.get(params.method, _rolling)
    made = make(params, rate_hz, available)
    if made.needed > available:
        raise _too_short(params, rate_hz, made, available)
    return made


def longest_window(params: DffParams, rate_hz: float, available: int) -> float | None:
    """Return the longest window that fits a stretch, s, where the one asked for does not; None where it does.

    Parameters
    ----------
    available
        Frames in the shortest stretch of the recording.
    """
    frames = available - (available + 1) % 2
    if params.method not in WINDOWS or frames < SHORTEST or odd(params.window_s * rate_hz) <= available:
        return None
    return frames / rate_hz


def _rolling(params: DffParams, rate_hz: float, available: int) -> Windowed:
    frames, edge = odd(params.window_s * rate_hz), params.edge
    about = {"window_frames": frames}
    if params.window_s * rate_hz < 2:
        raise _too_short(params, rate_hz, Windowed(np.copy, 0, 2), available)
    if params.method == "percentile":
        every = params.decimate
        halo = frames // 2 if every == 1 else (odd(frames / every) // 2 + 2) * every
        return Windowed(
            lambda x: decimated_percentile(x, frames, params.share, every, edge), halo, frames, about, every
        )
    if params.method == "maximin":
        sigma = params.sigma * rate_hz
        halo = 2 * (frames // 2) + math.ceil(TRUNCATE * sigma) + 1
        return Windowed(lambda x: maximin(x, frames, sigma, edge), halo, frames, about)
    if params.method == "rolling-mean":
        return Windowed(lambda x: rolling_mean(x, frames), frames // 2, frames, about)
    if params.method == "allen-mode":
        smooth = odd(params.smooth * rate_hz)
        halo = frames // 2 + smooth // 2
        return Windowed(lambda x: rolling_mean(rolling_mode(x, frames, params.bin), smooth), halo, frames, about)
    return _allen_median(params, rate_hz, frames, available)


def _allen_median(params: DffParams, rate_hz: float, frames: int, available: int) -> Windowed:
    """Noise levels need each trace at once, so that the halo is the whole recording."""
    short, noise = odd(params.short_window * rate_hz), max(3, odd(NOISE_WINDOW * rate_hz))
    return Windowed(
        lambda x: rolling_median(x, frames, params.edge),
        halo=available,
        needed=frames,
        about={"window_frames": frames, "short_window_frames": short},
        noise_frames=noise,
        short_frames=short,
        edge=params.edge,
    )


def _fir(params: DffParams, rate_hz: float, available: int) -> Windowed:
    _below_nyquist(params, rate_hz)
    weights = fir_weights(params.tap_count, params.cutoff_hz, rate_hz)
    about = {"taps": weights.size, "half_gain_hz": fir_half_gain(weights, rate_hz)}
    return Windowed(lambda x: fir_baseline(x, weights, params.edge), weights.size // 2, weights.size + 1, about)


def _butterworth(params: DffParams, rate_hz: float, available: int) -> Windowed:
    _below_nyquist(params, rate_hz)
    reach = butterworth_reach(params.cutoff_hz, rate_hz)
    about = {"half_gain_hz": params.cutoff_hz}
    return Windowed(lambda x: butterworth_baseline(x, params.cutoff_hz, rate_hz, params.edge), reach, 2, about)


def _below_nyquist(params: DffParams, rate_hz: float) -> None:
    if params.cutoff_hz >= rate_hz / 2:
        raise ConfigError(
            f"dff: a cut-off of {params.cutoff_hz:g} Hz does not suit this recording.",
            f"At {rate_hz:g} frames per second it must lie below {rate_hz / 2:g} Hz.",
            "Check the rate (--fs), or lower it: --set dff.cutoff=0.01",
        )


def _too_short(params: DffParams, rate_hz: float, made: Windowed, available: int) -> DataError:
    stretch = "It has" if params.gaps == "across" else "Its shortest stretch without missing frames has"
    if params.method == "fir":
        fewer = max(3, odd(available / 2) - 2)
        return DataError(
            f"dff: {params.tap_count} taps do not suit this recording.",
            f"{stretch} {available} frames; the filter needs more frames than taps.",
            f"Shorten it (--set dff.taps={fewer}), or choose --set dff.method=butterworth",
        )
    least = 2 / rate_hz
    why = (
        f"the window is shorter than two frames, {least:.3g} s"
        if params.window_s < least
        else f"the window takes {made.needed}"
    )
    across = "" if params.gaps == "across" else ", or let windows run across gaps: --set dff.gaps=across"
    return DataError(
        f"dff: a window of {params.window_s:g} s does not suit this recording.",
        f"{stretch} {available} frames at {rate_hz:g} Hz, {available / rate_hz:.4g} s; {why}.",
        f"Check the rate (--fs), or set it between: --set dff.window={max(available / rate_hz / 4, 1.5 * least):.3g}{across}",
    )
