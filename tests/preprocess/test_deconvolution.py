"""Spike inference: exact without noise, close with noise, and honest about what it cannot know."""

import logging
import math
import warnings

import numpy as np
import pytest
from scipy.io import loadmat
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.preprocess.ar1 import decay_factor, noise_sd
from neurodyn.preprocess.deconvolution import Deconvolution, DeconvolutionParams
from neurodyn.preprocess.baselines import maximin

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
    assert events[0] > 1.5 * events[1]
    assert events[0] > 1.5 * events[2]


def test_a_baseline_percentile_takes_an_offset_away(make_workspace):
    dff, spikes = simulate(rois=4)
    plain = run(make_workspace(RATE, dff=dff))
    raised = run(make_workspace(RATE, dff=dff + 3), baseline=30)
    assert correlations(raised, spikes).min() > 0.8
    assert raised.sum() < 1.3 * plain.sum()


def test_noise_and_decay_are_measured_from_the_trace():
    rng = np.random.default_rng(3)
    white = 0.3 * rng.normal(size=20_000)
    assert noise_sd(white) == pytest.approx(0.3, rel=0.05)
    dff, _ = simulate(rois=1, frames=40_000, noise=0.5, seed=4)
    assert decay_factor([dff[:, 0].astype("f8")], RATE) == pytest.approx(math.exp(-1 / (TAU * RATE)), abs=0.01)


def test_short_traces_warn_about_nothing(make_workspace):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(make_workspace(RATE, dff=simulate(frames=40)[0]))


def test_the_estimated_decay_is_near_the_planted_one_and_repeats(make_workspace):
    dff, spikes = simulate(rois=12, frames=6000)
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


def test_several_processes_find_the_same(make_workspace):
    dff, _ = simulate(rois=5, frames=500)
    one, two = (run(make_workspace(RATE, dff=dff), jobs=jobs) for jobs in (1, 2))
    assert np.array_equal(one, two)


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


def _cells(folder):
    """Yield (frame times, ΔF/F, spike times), all in s, for every stretch of every cell."""
    for path in sorted(folder.glob("*.mat")):
        for item in loadmat(path, squeeze_me=False)["CAttached"].ravel():
            while item.dtype == object and item.size == 1:
                item = item.ravel()[0]
            for row in np.atleast_1d(item.ravel()):
                time, dff = (np.asarray(row[name], float).ravel() for name in ("fluo_time", "fluo_mean"))
                spikes = np.asarray(row["events_AP"], float).ravel() / 1e4
                good = np.isfinite(time) & np.isfinite(dff)
                yield path.name, time[good], dff[good], spikes[np.isfinite(spikes)]


def test_recorded_spikes_of_gcamp6f_neurons(make_workspace, shared_data):
    scores = {}
    for name, time, dff, spikes in _cells(shared_data / "ground_truth" / "DS09-GCaMP6f-m-V1"):
        rate = 1 / np.median(np.diff(time))
        flat = (dff - maximin(dff[None], int(15 * rate) * 2 + 1, rate)[0])[:, None]
        found = run(make_workspace(rate, dff=flat), tau="indicator")[:, 0]
        edges = np.arange(time[0], time[-1], 1 / 7.5)
        rates = [np.histogram(time, edges, weights=found)[0], np.histogram(spikes, edges)[0].astype(float)]
        scores.setdefault(name, []).append([gaussian_filter1d(r, 0.2 * 7.5) for r in rates])
    assert len(scores) == 2
    for stretches in scores.values():
        found, true = np.concatenate(stretches, axis=1)
        assert np.corrcoef(found, true)[0, 1] > 0.75
