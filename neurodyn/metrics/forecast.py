"""How well forecasts follow what came after, neuron by neuron.

Targets and forecasts have shape (window, horizon, neuron), in units of the recorded variable; a forecast may also have one
entry along time that holds for the whole horizon. NaN in the target marks entries that are not valid; they never count.
A trace is one window of one neuron.
"""

from __future__ import annotations

import numpy as np

ROUNDING = float(np.finfo(np.float32).eps)
LUMINANCE, CONTRAST = 0.01, 0.03


def trace_correlation(target: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """Return the signed correlation over time of every trace, r = Σ (y − ȳ)(ŷ − ŷ̄) / √(Σ (y − ȳ)² Σ (ŷ − ŷ̄)²).

    Pearson 1895, Note on regression and inheritance. A trace that is constant in target or forecast, up to the round-off
    of its largest value in single precision, has no correlation: NaN, never 0.

    Parameters
    ----------
    target, forecast
        y and ŷ, shape (window, horizon, neuron).

    Returns
    -------
    np.ndarray
        Shape (window, neuron).
    """
    return _pearson(target, forecast, axis=1)


def correlation_by_step(target: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation across windows at every step ahead, shape (horizon, neuron); NaN where one is constant.

    Equation as in `trace_correlation`, with means over windows.

    Parameters
    ----------
    target, forecast
        Shape (window, horizon, neuron).
    """
    return _pearson(target, forecast, axis=0)


def over_windows(traces: np.ndarray) -> np.ndarray:
    """Return each neuron's mean over the traces that are not NaN, shape (neuron,); NaN where all are.

    Parameters
    ----------
    traces
        One number per trace, shape (window, neuron).
    """
    return _mean(np.nan_to_num(traces, nan=0.0), ~np.isnan(traces), axis=0)


def mse(target: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """Return each neuron's mean squared error Σ (y − ŷ)² / n over windows and time, squared units, shape (neuron,).

    Gauss 1809, Theoria motus.

    Parameters
    ----------
    target, forecast
        Shape (window, horizon, neuron).
    """
    y, z, valid = _pairs(target, forecast)
    return _mean((y - z) ** 2, valid, axis=(0, 1))


def mse_by_step(target: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """Return the mean squared error over windows at every step ahead, squared units, shape (horizon, neuron).

    Equation as in `mse`, with the mean over windows alone.

    Parameters
    ----------
    target, forecast
        Shape (window, horizon, neuron).
    """
    y, z, valid = _pairs(target, forecast)
    return _mean((y - z) ** 2, valid, axis=0)


def mae(target: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """Return each neuron's mean absolute error Σ |y − ŷ| / n over windows and time, shape (neuron,).

    Laplace 1774, Mémoire sur la probabilité des causes par les évènements.

    Parameters
    ----------
    target, forecast
        Shape (window, horizon, neuron).
    """
    y, z, valid = _pairs(target, forecast)
    return _mean(np.abs(y - z), valid, axis=(0, 1))


def smape(target: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """Return each neuron's symmetric absolute percentage error, the mean of 2 |y − ŷ| / (|y| + |ŷ|), shape (neuron,).

    From 0 to 2; an entry where target and forecast are both 0 counts as 0. Makridakis 1993, Int. J. Forecast. 9:527,
    as a share, not a percentage.

    Parameters
    ----------
    target, forecast
        Shape (window, horizon, neuron).
    """
    y, z, valid = _pairs(target, forecast)
    size = np.abs(y) + np.abs(z)
    return _mean(np.divide(2 * np.abs(y - z), size, out=np.zeros_like(size), where=size > 0), valid, axis=(0, 1))


def mase(target: np.ndarray, forecast: np.ndarray, naive: np.ndarray) -> np.ndarray:
    """Return each neuron's absolute error over that of a naive forecast, Σ |y − ŷ| / Σ |y − ỹ|, shape (neuron,).

    Hyndman & Koehler 2006, Int. J. Forecast. 22:679, scaled by the naive error in the same windows (their relative mean
    absolute error). NaN where the naive forecast is without error.

    Parameters
    ----------
    target, forecast, naive
        y, ŷ and ỹ, shape (window, horizon, neuron).
    """
    return _ratio(mae(target, forecast), mae(target, naive))


def last_value(source: np.ndarray) -> np.ndarray:
    """Return the naive forecast: the last valid value before the horizon, 0 where there is none.

    Hyndman & Athanasopoulos 2021, Forecasting: principles and practice.

    Parameters
    ----------
    source
        Frames before the horizon, NaN where not valid, shape (window, time, neuron).

    Returns
    -------
    np.ndarray
        Shape (window, 1, neuron).
    """
    valid = np.isfinite(source)
    last = source.shape[1] - 1 - valid[:, ::-1].argmax(axis=1)[:, None]
    held = np.take_along_axis(source, last, axis=1)
    return np.where(np.any(valid, axis=1, keepdims=True), held, 0.0)


def data_range(target: np.ndarray) -> np.ndarray:
    """Return the largest minus the smallest valid value of each neuron over all windows, shape (neuron,).

    Parameters
    ----------
    target
        Shape (window, horizon, neuron).
    """
    low, high = _extremes(np.asarray(target, dtype=np.float64), np.isfinite(target), axis=(0, 1))
    return np.where(high >= low, high - low, np.nan)


def trace_ssim(target: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """Return the structural similarity of every trace as a whole, shape (window, neuron).

    SSIM = (2 μ_y μ_ŷ + c₁)(2 σ_yŷ + c₂) / ((μ_y² + μ_ŷ² + c₁)(σ_y² + σ_ŷ² + c₂)), c₁ = (0.01 L)², c₂ = (0.03 L)², with
    moments over time divided by n, and L the range of the neuron's target over all windows. NaN where L is 0.
    Wang et al. 2004, IEEE Trans. Image Process. 13:600.

    Parameters
    ----------
    target, forecast
        Shape (window, horizon, neuron).
    """
    y, z, valid = _pairs(target, forecast)
    span = data_range(target)
    mean_y, mean_z = _mean(y, valid, axis=1), _mean(z, valid, axis=1)
    dy, dz = y - mean_y[:, None], z - mean_z[:, None]
    power = _mean(dy**2, valid, axis=1) + _mean(dz**2, valid, axis=1)
    shared = _mean(dy * dz, valid, axis=1)
    c1, c2 = (LUMINANCE * span) ** 2, (CONTRAST * span) ** 2
    above = (2 * mean_y * mean_z + c1) * (2 * shared + c2)
    below = (mean_y**2 + mean_z**2 + c1) * (power + c2)
    return np.where(span > 0, _ratio(above, below), np.nan)


def psnr(target: np.ndarray, forecast: np.ndarray) -> np.ndarray:
    """Return each neuron's peak signal-to-noise ratio, 10 log₁₀(L² / MSE), dB, shape (neuron,).

    L is the range of the neuron's target over all windows. Infinite where the forecast is without error, NaN where L is 0.
    Huynh-Thu & Ghanbari 2008, Electron. Lett. 44:800.

    Parameters
    ----------
    target, forecast
        Shape (window, horizon, neuron).
    """
    span, error = data_range(target), mse(target, forecast)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(span > 0, 10 * np.log10(span**2 / error), np.nan)


def skill(error: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the skill 1 − MSE / MSE_reference: 1 is perfect, 0 as good as the reference; NaN where that has no error.

    Murphy 1988, Mon. Weather Rev. 116:2417.

    Parameters
    ----------
    error, reference
        Mean squared errors of the forecast and of the reference, any one shape.
    """
    return 1 - _ratio(error, reference)


def noise_ceiling(target: np.ndarray, condition: np.ndarray) -> np.ndarray:
    """Return each neuron's expected correlation of a single trial with the true mean response, shape (neuron,).

    With independent noise, trials i and j correlate as r_ij = a_i a_j, where a_i is the correlation of trial i with the
    true mean. Hence a = √r̄, r̄ the mean over all pairs of trials of one condition: the reliability of a single trial,
    which split halves reach through the Spearman-Brown formula. a is averaged over trials, as is the correlation of
    forecasts; a negative r̄ counts as −√|r̄|, so that noise alone averages to 0. With few repeats, the root of a noisy r̄
    makes small ceilings smaller. Forecasts that know nothing but the stimulus stay below it; those that read a trial's
    own past need not.

    Spearman 1904, Am. J. Psychol. 15:72 (attenuation); CC_max of Hsu et al. 2004, Network 15:91, and of Schoppe et al.
    2016, Front. Comput. Neurosci. 10:10, for single trials.

    Parameters
    ----------
    target
        Repeated responses, shape (window, horizon, neuron). Traces that are constant or not valid throughout do not count.
    condition
        Of each window, shape (window,).

    Returns
    -------
    np.ndarray
        NaN for a neuron without two traces of one condition.
    """
    total, count = np.zeros(target.shape[2]), np.zeros(target.shape[2])
    for name in np.unique(condition):
        traces, used = _unit_traces(target[condition == name])
        pairs = used * (used - 1)
        power = np.sum(traces.sum(axis=0) ** 2, axis=0) - used
        r = np.divide(power, pairs, out=np.zeros_like(power), where=pairs > 0)
        total += np.where(pairs > 0, used * np.sign(r) * np.sqrt(np.abs(r)), 0.0)
        count += np.where(pairs > 0, used, 0.0)
    return _ratio(total, count)


def _unit_traces(target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre traces and scale them to length 1, 0 where they do not count; return them and each neuron's number of them."""
    y = np.asarray(target, dtype=np.float64)
    valid = np.isfinite(y)
    used = valid.all(axis=1) & ~_constant(y, valid, axis=1)
    y = np.where(used[:, None], y, 0.0)
    y = y - y.mean(axis=1, keepdims=True)
    length = np.sqrt(np.sum(y**2, axis=1, keepdims=True))
    return np.divide(y, length, out=np.zeros_like(y), where=used[:, None]), used.sum(axis=0).astype(np.float64)


def _pairs(target: np.ndarray, forecast: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return target and forecast, 0 where the target is not valid, and where it is."""
    valid = np.isfinite(target)
    y = np.where(valid, target, 0.0).astype(np.float64)
    return y, np.where(valid, forecast, 0.0).astype(np.float64), valid


def _mean(values: np.ndarray, where: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    return _ratio(np.sum(values, axis=axis, where=where), where.sum(axis=axis))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Divide; NaN where the divisor is 0 or NaN."""
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=np.abs(below) > 0)


def _pearson(target: np.ndarray, forecast: np.ndarray, axis: int) -> np.ndarray:
    y, z, valid = _pairs(target, forecast)
    flat = _constant(y, valid, axis) | _constant(z, valid, axis)
    dy, dz = (np.where(valid, values - np.expand_dims(_mean(values, valid, axis), axis), 0.0) for values in (y, z))
    power = np.sqrt(np.sum(dy**2, axis=axis) * np.sum(dz**2, axis=axis))
    return np.where(flat, np.nan, _ratio(np.sum(dy * dz, axis=axis), power))


def _constant(values: np.ndarray, valid: np.ndarray, axis: int) -> np.ndarray:
    """Say where values do not vary by more than single precision can tell, or where fewer than two are valid."""
    low, high = _extremes(values, valid, axis)
    return ~(high - low > ROUNDING * np.maximum(np.abs(low), np.abs(high)))


def _extremes(values: np.ndarray, valid: np.ndarray, axis: int | tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    low = np.min(values, axis=axis, where=valid, initial=np.inf)
    return low, np.max(values, axis=axis, where=valid, initial=-np.inf)
