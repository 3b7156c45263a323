"""Every ΔF/F against a slow transcription of its formula, suite2p's own baselines, and a known drifting F0."""

import importlib

import numpy as np
import pytest
from scipy.fft import dct, idct
from scipy.signal import freqz

from neurodyn.preprocess.baselines import (
    lowest_mean,
    maximin,
    noise_level,
    odd,
    rolling_mean,
    rolling_median,
    rolling_mode,
    rolling_percentile,
    smoothed_minimum,
    whole_percentile,
)
from neurodyn.preprocess.dff import Dff, DffParams
from neurodyn.preprocess.lowpass import (
    butterworth_baseline,
    butterworth_reach,
    fir_baseline,
    fir_half_gain,
    fir_weights,
)

RATE, FRAMES, TRACES = 10.0, 500, 50


@pytest.fixture(scope="module")
def suite2p_dcnv():
    importlib.import_module("neurodyn.preprocess.suite2p").import_suite2p()
    return importlib.import_module("suite2p.extraction.dcnv")


@pytest.fixture(scope="module")
def traces():
    """50 traces in whole counts with drift, transients and noise, shape (trace, time)."""
    rng = np.random.default_rng(0)
    t = np.arange(FRAMES)
    drift = 300 + 40 * np.sin(2 * np.pi * t / rng.uniform(200, 900, (TRACES, 1)) + rng.uniform(0, 6, (TRACES, 1)))
    kernel = np.exp(-np.arange(60) / 8)
    events = np.array([np.convolve(rng.random(FRAMES) < 0.02, kernel)[:FRAMES] for _ in range(TRACES)])
    return np.rint(drift * (1 + 0.6 * events) + rng.normal(0, 8, (TRACES, FRAMES)))


def beyond(trace, t, edge):
    """The value at frame t of a trace that goes on beyond its ends."""
    n = len(trace)
    if 0 <= t < n:
        return trace[t]
    if edge == "zero":
        return 0.0
    if edge == "nearest":
        return trace[0] if t < 0 else trace[-1]
    return beyond(trace, -1 - t if t < 0 else 2 * n - 1 - t, edge)


def around(trace, half, edge="reflect"):
    """The window of each frame, shape (time, 2 half + 1)."""
    whole = np.array([beyond(trace, t, edge) for t in range(-half, len(trace) + half)])
    return np.stack([whole[t : t + 2 * half + 1] for t in range(len(trace))])


def gaussian(sigma):
    k = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
    weights = np.exp(-(k**2) / (2 * sigma**2))
    return weights / weights.sum()


def smooth(trace, sigma):
    weights = gaussian(sigma)
    return around(trace, len(weights) // 2) @ weights


def percentile(trace):
    return np.sort(around(trace, 50), axis=1)[:, int(101 * 0.08)]


def by_maximin(trace):
    low = around(smooth(trace, 7.0), 50).min(axis=1)
    return around(low, 50).max(axis=1)


def cut_mean(trace, half):
    return np.array([trace[max(0, t - half) : t + half + 1].mean() for t in range(len(trace))])


def by_mode(trace):
    windows = (trace[max(0, t - 50) : t + 51].astype(int) for t in range(len(trace)))
    return cut_mean(np.array([float(np.bincount(window).argmax()) for window in windows]), 25)


def by_fir(trace):
    taps, cutoff = 101, 0.05 / RATE
    k = np.arange(taps) - 50
    weights = 2 * cutoff * np.sinc(2 * cutoff * k) * (0.54 + 0.46 * np.cos(2 * np.pi * k / 100))
    return around(trace, 50) @ (weights / weights.sum())


def by_butterworth(trace):
    """The zero-phase gain of a mirrored trace, in the cosine basis that mirroring makes diagonal."""
    angle = np.pi * np.arange(len(trace)) / len(trace)
    gain = 1 / (1 + (np.tan(angle / 2) / np.tan(np.pi * 0.1 / RATE)) ** 4)
    return idct(dct(trace) * gain)


LITERAL = {
    "percentile": ({"window": 10.1}, percentile),
    "maximin": ({"window": 10.1, "sigma": 0.7}, by_maximin),
    "rolling-mean": ({"window": 10.1}, lambda trace: cut_mean(trace, 50)),
    "allen-mode": ({"window": 10.1, "smooth": 5.1}, by_mode),
    "fir": ({"taps": "paper", "cutoff": 0.05}, by_fir),
    "butterworth": ({"cutoff": 0.1}, by_butterworth),
    "constant": ({}, lambda trace: np.interp(0.08 * (FRAMES - 1), np.arange(FRAMES), np.sort(trace))),
    "minimum": ({"sigma": 0.7}, lambda trace: smooth(trace, 7.0).min()),
    "lowest": ({}, lambda trace: np.sort(trace)[: FRAMES // 10].mean()),
    "mean": ({"interval": (5, 12)}, lambda trace: trace[50:120].mean()),
}


def run(workspace, **params):
    step = Dff(DffParams(**params))
    step.apply(workspace)
    return workspace["dff"][...]


@pytest.mark.parametrize("method", LITERAL)
def test_it_agrees_with_its_formula(method, traces, make_workspace):
    params, formula = LITERAL[method]
    f0 = np.stack([np.broadcast_to(formula(trace), trace.shape) for trace in traces])
    result = run(make_workspace(fluorescence=traces.T.astype("f4")), method=method, **params)
    np.testing.assert_allclose(result.T, (traces - f0) / f0, rtol=2e-6, atol=2e-6)


def allen_noise(x):
    x = x - np.median(around(x, 15, "zero"), axis=1)
    x = x[x < 1.5 * abs(x.min())]
    for last in (False, True):
        sd = 1.4826022185056018 * np.median(abs(x - np.median(x)))
        x = x if last else x[abs(x) < 2.5 * sd]
    return 1.4826022185056018 * np.median(abs(x - np.median(x)))


def allen_median(trace, edge):
    long = np.median(around(trace, 60, edge), axis=1)
    change = (trace - long) / np.maximum(long, allen_noise(trace))
    return change - np.minimum(np.median(around(change, 15, edge), axis=1), 2.5 * allen_noise(change))


@pytest.mark.parametrize("edge", ["reflect", "zero"])
def test_allens_median_agrees_with_its_formula(edge, traces, make_workspace):
    source = traces.copy()
    source[:5] -= 290  # so that the noise guard divides
    expected = np.stack([allen_median(trace, edge) for trace in source])
    at_30 = {"rate_hz": 30.0, "fluorescence": source.T.astype("f4")}
    result = run(make_workspace(**at_30), method="allen-median", window=4.05, short_window=1.05, edge=edge)
    np.testing.assert_allclose(result.T, expected, rtol=1e-5, atol=1e-5)
    assert np.isfinite(result).all()


def test_a_trials_baseline_is_the_mean_before_its_onset(traces, make_workspace):
    workspace = make_workspace(fluorescence=traces.T.astype("f4"))
    onsets = np.array([3.0, 14.0, 31.05])
    workspace.root.require_group("stimulus").create_array("start", data=onsets[[1, 0, 2]])
    result = run(workspace, method="trial", before=2)
    f0 = np.empty_like(traces)
    for (first, last), (begin, end) in {(10, 30): (0, 120), (120, 140): (120, 291), (291, 311): (291, 500)}.items():
        f0[:, begin:end] = traces[:, first:last].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(result.T, (traces - f0) / f0, rtol=2e-6, atol=2e-6)


def test_maximin_is_suite2ps(traces, suite2p_dcnv):
    f = traces.astype("f4")
    theirs = f - suite2p_dcnv.preprocess(f.copy(), "maximin", 10.0, 7.0, RATE, device="cpu")
    ours = maximin(traces, odd(10.0 * RATE), 7.0, "nearest", truncate=3)
    np.testing.assert_allclose(ours, theirs, rtol=2e-6)


def test_the_whole_traces_percentile_is_suite2ps(traces, suite2p_dcnv):
    theirs = traces - suite2p_dcnv.preprocess(traces.copy(), "prctile", 60.0, 10.0, RATE, prctile_baseline=8)
    np.testing.assert_allclose(whole_percentile(traces, 8), theirs.mean(axis=1), rtol=1e-12)


def test_the_smallest_minimum_of_all_rois_is_suite2ps_constant(traces, suite2p_dcnv):
    """suite2p subtracts one number from all ROIs; each trace has its own here."""
    theirs = traces - suite2p_dcnv.preprocess(traces.copy(), "constant", 60.0, 10.0, RATE)
    ours = smoothed_minimum(traces, 10.0)
    assert np.ptp(theirs) < 1e-9
    assert ours.min() == pytest.approx(theirs[0, 0], rel=1e-12)
    assert np.ptp(ours) > 10


@pytest.fixture(scope="module")
def drifting():
    """Traces at 30 Hz about a known drifting F0: exponential transients at 0.1 per second, noise of 5 %."""
    rng = np.random.default_rng(1)
    rate, frames, cells = 30.0, 10_000, 24
    t = np.arange(frames) / rate
    period, phase = rng.uniform(200, 500, (cells, 1)), rng.uniform(0, 6.3, (cells, 1))
    f0 = 300 * np.exp(-t / 2000) * (1 + 0.1 * np.sin(2 * np.pi * t / period + phase))
    kernel = 0.5 * np.exp(-np.arange(90) / (0.6 * rate))
    calcium = np.array([np.convolve(rng.poisson(0.1 / rate, frames), kernel)[:frames] for _ in range(cells)])
    return f0 * (1 + calcium) + rng.normal(0, 9, (cells, frames)), f0


def bias_and_rmse(baseline, f0):
    error = 100 * (baseline / f0 - 1)
    return error.mean(), np.sqrt((error**2).mean())


@pytest.mark.parametrize(
    ("name", "baseline", "bias", "rmse"),
    [
        ("percentile", lambda x: rolling_percentile(x, 1801, 8), (-7, -3), 7.5),
        ("maximin", lambda x: maximin(x, 1801, 30.0), (-0.7, 0.7), 2.1),
        ("whole percentile", lambda x: whole_percentile(x)[:, None], (-20, -5), 20),
        ("median", lambda x: rolling_median(x, 5401), (0.5, 8.7), 9.9),
        ("fir", lambda x: fir_baseline(x, fir_weights(1001, 0.001, 30.0)), (2, 9), 9.6),
        ("butterworth", lambda x: butterworth_baseline(x, 0.01, 30.0), (2, 9), 9.4),
    ],
)
def test_bias_and_error_about_a_known_drifting_baseline(name, baseline, bias, rmse, drifting):
    traces, f0 = drifting
    found = bias_and_rmse(baseline(traces), f0)
    assert bias[0] < found[0] < bias[1], f"{name}: bias {found[0]:.2f} %"
    assert found[1] < rmse, f"{name}: rmse {found[1]:.2f} %"


def test_maximin_is_the_least_biased(drifting):
    traces, f0 = drifting
    best = bias_and_rmse(maximin(traces, 1801, 30.0), f0)[1]
    others = (rolling_percentile(traces, 1801, 8), rolling_mean(traces, 901), butterworth_baseline(traces, 0.01, 30.0))
    assert all(best < bias_and_rmse(other, f0)[1] for other in others)


def test_zero_padding_lets_the_median_sink_at_the_ends(drifting):
    traces, f0 = drifting
    honest, literal = (rolling_median(traces, 5401, edge) / f0 - 1 for edge in ("reflect", "zero"))
    assert literal[:, :500].mean() < honest[:, :500].mean() - 0.03
    assert np.allclose(honest[:, 2700:-2700], literal[:, 2700:-2700])


@pytest.mark.parametrize(("taps", "half_gain"), [(101, 0.0905), (1001, 0.0091)])
def test_few_taps_cannot_cut_low(taps, half_gain):
    weights = fir_weights(taps, 0.001, 10.0)
    found = fir_half_gain(weights, 10.0)
    assert found == pytest.approx(half_gain, rel=0.01)
    assert abs(freqz(weights, worN=[found], fs=10.0)[1][0]) == pytest.approx(0.5, abs=1e-6)
    assert weights.sum() == pytest.approx(1)


def test_what_lies_beyond_the_butterworths_reach_does_not_matter():
    trace = 300 + np.random.default_rng(2).normal(0, 20, (1, 6000)).cumsum(axis=1)
    reach = butterworth_reach(0.05, RATE)
    whole = butterworth_baseline(trace, 0.05, RATE)[:, 3000:3100]
    part = butterworth_baseline(trace[:, 3000 - reach : 3100 + reach], 0.05, RATE)[:, reach:-reach]
    assert np.abs(part / whole - 1).max() < 1e-6
    assert reach < 1500


def test_noise_is_measured_under_activity(drifting):
    traces, _ = drifting
    assert noise_level(traces, 31).ravel() == pytest.approx(np.full(len(traces), 9.0), rel=0.1)


def test_a_mode_between_equals_is_the_smallest():
    assert rolling_mode(np.array([[4.0, 2.0, 9.0]]), 3).tolist() == [[2.0, 2.0, 2.0]]
    assert rolling_mode(np.array([[0.41, 0.42, 0.9]]), 5, width=0.1) == pytest.approx(np.full((1, 3), 0.4))


def test_the_lowest_frames_leave_out_nan():
    trace = np.array([[5.0, np.nan, 1.0, 3.0, 2.0, 9.0, 7.0, 8.0, 6.0, 4.0, 10.0], [np.nan] * 11])
    found = lowest_mean(trace, 20)
    assert found[0] == 1.5
    assert np.isnan(found[1])
