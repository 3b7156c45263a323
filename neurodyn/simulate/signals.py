"""Signals that several simulators are made of: calcium kernels, coloured noise, smooth maps."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.signal import lfilter


def step_response(t: np.ndarray, rise: float, decay: float) -> np.ndarray:
    """Return the calcium response to activity that is 0 before t = 0 and 1 afterwards.

    The kernel is (exp(-t/decay) - exp(-t/rise)) / (decay - rise), of unit area; its integral is
    1 - (decay exp(-t/decay) - rise exp(-t/rise)) / (decay - rise).

    Parameters
    ----------
    t
        Time since the step in seconds, any shape.
    rise, decay
        Time constants in seconds, rise < decay.
    """
    t = np.maximum(t, 0.0)
    return 1 - (decay * np.exp(-t / decay) - rise * np.exp(-t / rise)) / (decay - rise)


def box_response(t: np.ndarray, duration: float, rise: float, decay: float) -> np.ndarray:
    """Return the calcium response to `duration` seconds of constant activity from t = 0 on, peak 1, shape of `t`."""
    fine = np.linspace(0, duration + 5 * decay, 20001)
    peak = (step_response(fine, rise, decay) - step_response(fine - duration, rise, decay)).max()
    return (step_response(t, rise, decay) - step_response(t - duration, rise, decay)) / peak


def calcium(activity: np.ndarray, rate_hz: float, rise: float, decay: float) -> np.ndarray:
    """Filter activity with the autoregressive calcium kernel, peak 1 per unit of activity.

    AR(2) c_t = (d + r) c_{t-1} - d r c_{t-2} + s_t with d = exp(-1/(rate decay)), r = exp(-1/(rate rise));
    AR(1) where rise is 0 (Vogelstein et al. 2010; Friedrich et al. 2017).

    Parameters
    ----------
    activity
        Spikes per frame, shape (time, ...).
    rise, decay
        Time constants in seconds.
    """
    d = np.exp(-1 / (rate_hz * decay))
    r = np.exp(-1 / (rate_hz * rise)) if rise > 0 else 0.0
    poles = [1.0, -(d + r), d * r]
    impulse = np.zeros(1 + int(np.ceil(5 * decay * rate_hz)))
    impulse[0] = 1.0
    return np.asarray(lfilter([1.0], poles, activity, axis=0)) / np.max(lfilter([1.0], poles, impulse))


def pink(frames: int, count: int, rng: np.random.Generator, exponent: float = 1.0) -> np.ndarray:
    """Draw analytic noise with power 1/f^exponent: unit variance in real and imaginary part, shape (time, count)."""
    frequency = np.fft.fftfreq(frames)
    positive = frequency > 0
    spectrum = np.zeros((frames, count), dtype=complex)
    draws = rng.standard_normal((int(positive.sum()), count, 2))
    spectrum[positive] = (draws[..., 0] + 1j * draws[..., 1]) * frequency[positive, None] ** (-exponent / 2)
    signal = np.fft.ifft(spectrum, axis=0)
    return signal / np.sqrt(np.mean(np.abs(signal) ** 2, axis=0) / 2)


def smooth_field(shape: tuple[int, int], length: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a smooth random map, mean 0 and standard deviation 1, shape (y, x).

    Parameters
    ----------
    length
        Smoothing standard deviation as a share of the longer side.
    """
    field = gaussian_filter(rng.standard_normal(shape), length * max(shape), mode="wrap")
    return (field - field.mean()) / field.std()


def unit_grid(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixel centres' y and x as shares of the frame's height and width, each shape (y, x)."""
    y, x = ((np.arange(n) + 0.5) / n for n in shape)
    return np.broadcast_to(y[:, None], shape), np.broadcast_to(x, shape)


def blob(shape: tuple[int, int], centre: tuple[float, float], width: float) -> np.ndarray:
    """Return a Gaussian bump with value 1 at `centre` (shares of height and width), shape (y, x)."""
    y, x = unit_grid(shape)
    return np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * width**2))
