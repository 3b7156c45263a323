"""Spike inference: exact without noise, close with noise, and honest about what it cannot know."""

import logging
import math
import warnings

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter

from neurodyn.calcium.indicators import onset_constant
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording
from neurodyn.preprocess.chain import chain_from_steps
from neurodyn.preprocess.deconvolution import Deconvolution, DeconvolutionParams

RATE, TAU = 30.0, 0.7


def run(workspace, **params):
    Deconvolution(DeconvolutionParams(**{"tau": TAU} | params)).apply(workspace)
    return workspace["spikes"][...]


def simulate(rois=8, frames=4000, noise=0.15, seed=0):
    """AR(1) calcium of Poisson spikes: ΔF/F and spike counts, shape (time, roi)."""
    rng = np.random.default_rng(seed)
    spikes = rng.poisson(0.02, (frames, rois)).astype(float)
    spikes[0] = 0
    calcium = lfilter([1.0], [1.0, -math.exp(-1 / (TAU * RATE))], spikes, axis=0)
    return (calcium + noise * rng.normal(size=calcium.shape)).astype("f4"), spikes


def correlations(found, spikes, frames=3):
    """Correlation per ROI after summing to 100 ms."""
    length = len(found) // frames * frames
    a, b = (x[:length].reshape(-1, frames, x.shape[1]).sum(1) for x in (found, spikes))
    return np.array([np.corrcoef(a[:, roi], b[:, roi])[0, 1] for roi in range(a.shape[1])])


def test_without_noise_the_spikes_come_back_exactly(make_workspace):
    dff, spikes = simulate(noise=0.0, frames=600)
    workspace = make_workspace(RATE, dff=dff.astype("f8"))
    np.testing.assert_allclose(run(workspace), spikes, atol=1e-5)
    assert workspace["spikes"].attrs["tau"] == TAU
    assert workspace["spikes"].attrs["units"] == "events, arbitrary, per frame"


@pytest.mark.parametrize("penalty", ["nnls", "l1", "l0"])
def test_with_noise_they_correlate_with_the_planted_ones(make_workspace, penalty):
    dff, spikes = simulate(rois=4)
    found = run(make_workspace(RATE, dff=dff), penalty=penalty)
    assert correlations(found, spikes).min() > 0.8
    assert (found >= 0).all()


def test_sparser_penalties_give_fewer_events(make_workspace):
    dff, _ = simulate(rois=3)
    events = [(run(make_workspace(RATE, dff=dff), penalty=p) > 0).sum() for p in ("nnls", "l1", "l0")]
    assert events[0] > 1.05 * events[1]
    assert events[0] > 1.05 * events[2]


def test_a_baseline_percentile_takes_an_offset_away(make_workspace):
    dff, spikes = simulate(rois=4)
    plain = run(make_workspace(RATE, dff=dff))
    raised = run(make_workspace(RATE, dff=dff + 3), baseline=30)
    assert correlations(raised, spikes).min() > 0.8
    assert raised.sum() < 1.3 * plain.sum()


def test_short_traces_warn_about_nothing(make_workspace):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(make_workspace(RATE, dff=simulate(frames=40)[0]))


def test_the_estimated_decay_is_near_the_planted_one_and_repeats(make_workspace):
    dff, spikes = simulate(rois=6, frames=6000)
    first, second = (make_workspace(RATE, dff=dff) for _ in range(2))
    found = [run(w, tau="estimate") for w in (first, second)]
    assert first["spikes"].attrs["tau"] == pytest.approx(TAU, rel=0.2)
    assert np.array_equal(*found)
    assert correlations(found[0], spikes).min() > 0.8


def test_traces_without_calcium_give_no_estimate(make_workspace):
    times = np.arange(2000)[:, None]
    dff = np.sin(times * np.pi + 0.3) + 0.01 * np.random.default_rng(5).normal(size=(2000, 4))
    with pytest.raises(DataError, match="cannot be estimated") as error:
        run(make_workspace(RATE, dff=dff), tau="estimate")
    assert "deconvolution.tau=" in error.value.fix


@pytest.mark.parametrize(("name", "tau"), [("GCaMP6f", 0.7), ("gcamp6s", 1.25), ("GCaMP6m (simulated)", 1.0)])
def test_the_indicators_decay_is_looked_up(make_workspace, name, tau):
    workspace = make_workspace(RATE, indicator=name, dff=simulate(frames=100)[0])
    run(workspace, tau="indicator")
    assert workspace["spikes"].attrs["tau"] == tau


def test_an_unknown_indicator_is_refused_with_both_ways_out(make_workspace):
    with pytest.raises(ConfigError, match="unknown") as error:
        run(make_workspace(RATE, indicator="unknown", dff=simulate(frames=100)[0]), tau="indicator")
    assert "tau=0.7" in error.value.fix
    assert "tau=estimate" in error.value.fix


def test_constant_rois_have_no_spikes_and_are_counted(make_workspace, caplog):
    dff, _ = simulate(rois=3, frames=500)
    dff[:, 1] = 0.25
    with caplog.at_level(logging.WARNING):
        found = run(make_workspace(RATE, dff=dff))
    assert (found[:, 1] == 0).all()
    assert found[:, [0, 2]].any(axis=0).all()
    assert "1 of 3 ROIs are constant" in caplog.text


def test_tiles_of_rois_change_nothing(make_workspace):
    dff, _ = simulate(rois=300, frames=100)
    found = run(make_workspace(RATE, dff=dff))
    part = run(make_workspace(RATE, dff=dff[:, 250:270]))
    assert np.array_equal(found[:, 250:270], part)


@pytest.mark.parametrize("penalty", ["nnls", "l1"])
def test_nan_frames_are_refused_or_inferred_around(make_workspace, penalty):
    dff, spikes = simulate(rois=3, frames=3000)
    dff[1000:1010, 1] = np.nan
    with pytest.raises(DataError, match="1 of 3 ROIs"):
        run(make_workspace(RATE, dff=dff), penalty=penalty)
    found = run(make_workspace(RATE, dff=dff), penalty=penalty, nan="nan")
    assert np.array_equal(np.isnan(found), np.isnan(dff))
    assert correlations(np.nan_to_num(found), spikes).min() > 0.8


def test_stretches_between_gaps_are_inferred_alone(make_workspace):
    dff, _ = simulate(rois=3, frames=800)
    time = np.arange(800) / RATE + np.where(np.arange(800) < 500, 0, 3.0)
    whole = run(make_workspace(RATE, time=time, dff=dff))
    for part in (slice(0, 500), slice(500, 800)):
        np.testing.assert_array_equal(whole[part], run(make_workspace(RATE, dff=dff[part])))


def test_a_rolling_baseline_takes_drift_away(make_workspace):
    dff, spikes = simulate(rois=4)
    drift = np.linspace(0, 3, len(dff))[:, None] + 1
    found = run(make_workspace(RATE, dff=(dff + drift).astype("f4")), baseline="maximin", window=20.0)
    assert correlations(found, spikes).min() > 0.8


def slow_rise(rois=4, frames=12_000, noise=0.03, seed=2, peak=0.179, half_decay=0.55):
    """A response that takes its time to rise, as GCaMP6s does; spikes at random."""
    tau = half_decay / math.log(2)
    onset = onset_constant(peak, tau)
    rng = np.random.default_rng(seed)
    spikes = rng.poisson(0.01, (frames, rois)).astype(float)
    t = np.arange(0, 8, 1 / RATE)
    kernel = (1 - np.exp(-t / onset)) * np.exp(-t / tau)
    calcium = np.apply_along_axis(lambda s: np.convolve(s, kernel / kernel.max())[:frames], 0, spikes)
    return (calcium + noise * rng.normal(size=calcium.shape)).astype("f4"), spikes


def centre_of_lag(found, spikes):
    """Mean lag of events behind spikes, s, from their cross-correlation."""
    lags = np.arange(-15, 16)
    centred = spikes - spikes.mean(axis=0)
    cross = np.array([(np.roll(found, -lag, axis=0) * centred).sum() for lag in lags]).clip(0)
    return (cross @ lags) / cross.sum() / RATE


@pytest.mark.parametrize(("order", "tolerance"), [(1, 0.02), (2, 0.02)])
def test_a_slow_rise_no_longer_delays_events(make_workspace, order, tolerance):
    dff, spikes = slow_rise()
    late, timed = (
        run(make_workspace(RATE, indicator="GCaMP6s", dff=dff), tau=0.55 / math.log(2), **extra)
        for extra in ({}, {"rise": "indicator", "order": order})
    )
    assert centre_of_lag(late, spikes) > 0.04
    assert abs(centre_of_lag(timed, spikes)) < tolerance
    assert correlations(timed, spikes, frames=1).mean() > correlations(late, spikes, frames=1).mean() + 0.1


def test_order_two_needs_a_rise():
    with pytest.raises(ValueError, match="order 2 needs a rise"):
        DeconvolutionParams(order=2)


def test_a_rise_longer_than_the_decay_is_refused(make_workspace):
    with pytest.raises(DataError, match="longer to rise"):
        run(make_workspace(RATE, dff=simulate(frames=100)[0]), rise=1.0)


@pytest.mark.parametrize(("planted", "kept"), [(0.05, 0.142 / math.log(2)), (0.4, 0.4), (3.0, 0.7)])
def test_the_estimate_is_kept_within_the_indicators_range(make_workspace, planted, kept):
    rng = np.random.default_rng(6)
    spikes = rng.poisson(0.05, (12_000, 2))
    calcium = lfilter([1.0], [1.0, -math.exp(-1 / (planted * RATE))], spikes, axis=0)
    workspace = make_workspace(RATE, dff=(calcium + 0.05 * rng.normal(size=calcium.shape)).astype("f4"))
    run(workspace, tau="range")
    assert workspace["spikes"].attrs["tau"] == pytest.approx(kept, rel=0.1)


@pytest.mark.parametrize("tau", ["estimate", "range"])
def test_only_the_training_frames_shape_the_estimate(make_workspace, tau):
    dff, _ = simulate(rois=4, frames=4000)
    other = dff.copy()
    other[3000:] = np.random.default_rng(7).normal(size=other[3000:].shape)
    first, second = (make_workspace(RATE, dff=values) for values in (dff, other))
    found = [run(w, tau=tau, fit_until=0.75) for w in (first, second)]
    assert first["spikes"].attrs["tau"] == second["spikes"].attrs["tau"]
    np.testing.assert_array_equal(found[0][:2000], found[1][:2000])


def test_smoothing_is_a_gaussian_over_the_events(make_workspace):
    dff, _ = simulate(rois=2, frames=1000)
    plain, soft = (run(make_workspace(RATE, dff=dff), smooth=s) for s in (0.0, 0.1))
    np.testing.assert_allclose(soft, gaussian_filter1d(plain, 3.0, axis=0, mode="reflect"), atol=1e-6)


def test_in_units_of_its_quantum_a_cells_events_count_spikes(make_workspace, caplog):
    rng = np.random.default_rng(8)
    spikes = rng.poisson(0.005, (30_000, 4)).astype(float)
    gain = np.array([0.1, 0.2, 0.4, 0.3])
    spikes[:, 3] = 0
    calcium = lfilter([1.0], [1.0, -math.exp(-1 / (TAU * RATE))], spikes, axis=0) * gain
    workspace = make_workspace(RATE, dff=(calcium + 0.01 * rng.normal(size=calcium.shape)).astype("f4"))
    with caplog.at_level(logging.WARNING):
        found = run(workspace, quantum="roi")
    kept = workspace.root["qc/deconvolution_quantum"][...]
    np.testing.assert_allclose(kept[:3], gain[:3], rtol=0.15)
    assert kept[3] == pytest.approx(np.median(kept[:3]))
    assert "not to be told in 1 of 4 ROIs; they take the median of the others" in caplog.text
    for roi in range(3):
        counted = found[:, roi][found[:, roi] > 0.5].sum()
        assert counted == pytest.approx(spikes[:, roi].sum(), rel=0.2)
    assert workspace["spikes"].attrs["units"] == "spikes, estimated, per frame"


def test_a_given_quantum_divides(make_workspace):
    dff, _ = simulate(rois=2, frames=500)
    plain, divided = (run(make_workspace(RATE, dff=dff), **extra) for extra in ({}, {"quantum": 0.5}))
    np.testing.assert_allclose(divided, 2 * plain, rtol=1e-6)


def test_without_isolated_events_there_is_no_quantum(make_workspace):
    dff = np.random.default_rng(9).normal(0, 0.1, (600, 2)).astype("f4")
    with pytest.raises(DataError, match="cannot be estimated"):
        run(make_workspace(RATE, dff=dff), quantum="roi")


def test_the_noise_level_is_kept_for_every_roi(make_workspace):
    rng = np.random.default_rng(10)
    sd = np.array([0.05, 0.1, 0.2])
    workspace = make_workspace(RATE, dff=(sd * rng.normal(size=(20_000, 3))).astype("f4"))
    run(workspace)
    expected = 100 * sd * math.sqrt(2) * 0.6745 / math.sqrt(RATE)
    np.testing.assert_allclose(workspace.root["qc/deconvolution_noise_level"][...], expected, rtol=0.03)
    np.testing.assert_allclose(workspace["spikes"].attrs["noise_level"], expected, rtol=0.03)


def test_worker_processes_change_nothing(make_workspace):
    dff, _ = simulate(rois=5, frames=500)
    one, two = (run(make_workspace(RATE, dff=dff), jobs=jobs, order=2, rise=0.05) for jobs in (1, 2))
    assert np.array_equal(one, two)


@pytest.mark.parametrize(("indicator", "rise"), [("GCaMP6s", "indicator"), ("unknown", 0.0)])
def test_the_rise_is_looked_up_where_it_is_on_record(tmp_path, indicator, rise):
    rng = np.random.default_rng(0)
    made = {"dff": rng.gamma(0.3, 0.1, (600, 2)).astype("f4")}
    chain = chain_from_steps([{"step": "deconvolution", "tau": 0.7, "rise": "auto"}], "test")
    recording = Recording.from_arrays(made, rate_hz=30, indicator=indicator)
    found = Recording.open(chain.run(recording, tmp_path / "out.zarr"))
    assert found.history[-1]["params"]["rise"] == rise
    assert (found["spikes"].attrs["delay"] > 0) == (rise != 0)
