"""Counts of spikes: exact without noise, close with noise, and estimated from training trials alone."""

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.preprocess.chain import chain_from_steps, load_chain
from neurodyn.simulate.lorenz import Lorenz, LorenzParams

RATE, TAU = 10.0, 0.3
STEP = {"step": "counts", "tau": TAU, "initial": "zero"}


def trials(tmp_path, noise: float = 0.2, **params) -> Recording:
    sizes = {"conditions": 6, "repeats": 8, "train_repeats": 5, "held_out": 2, "cells": 10, "noise": noise}
    return Lorenz(LorenzParams(**sizes | params)).make()


def run(recording: Recording, tmp_path, **params) -> Recording:
    return Recording.open(chain_from_steps([STEP | params], "test").run(recording, tmp_path / "out.zarr"))


def r2(a, b) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1] ** 2)


def test_without_noise_counts_and_calcium_are_the_planted_ones(tmp_path):
    recording = trials(tmp_path, noise=0.0)
    made = run(recording, tmp_path, quantum=1.0)
    np.testing.assert_array_equal(made["events"].values, recording["counts"].values)
    np.testing.assert_allclose(made["calcium"].values, recording["dff"].values, atol=1e-5)
    assert made["events"].attrs["tau"] == TAU


def test_with_noise_they_are_close(tmp_path):
    recording = trials(tmp_path, conditions=10, cells=3)
    made = run(recording, tmp_path)
    found, planted = made["events"].values, recording["counts"].values
    assert r2(found, planted) > 0.9
    assert (found == np.round(found)).all() and found.min() == 0
    np.testing.assert_allclose(found.sum(axis=0), planted.sum(axis=0), rtol=0.1)
    quantum = made.tree["qc"]["events_quantum"].values
    assert np.abs(quantum - 1).max() < 0.1
    truth = recording.tree["truth"]["calcium"].values
    assert np.abs(made["calcium"].values - truth).std() < np.abs(recording["dff"].values - truth).std()
    assert set(made.tree["rois"]["events_not_told"].values.tolist()) == {""}


def test_a_cell_that_cannot_be_counted_has_a_reason_and_no_counts(tmp_path, caplog):
    recording = trials(tmp_path, cells=4)
    values = recording["dff"].values
    values[:, 1] = np.random.default_rng(2).normal(0, 0.2, len(values))
    values[:, 2] = 0.3
    made = run(recording, tmp_path)
    reasons = made.tree["rois"]["events_not_told"].values
    assert [bool(reason) for reason in reasons] == [False, True, True, False]
    assert reasons[2] == "constant"
    for name in ("events", "calcium"):
        assert np.isnan(made[name].values).all(axis=0).tolist() == [False, True, True, False]
    assert "not to be told in 2 of 4 ROIs, which become NaN" in caplog.text
    only = recording["dff"].values[:, 1:3]
    noise = Recording.from_arrays({"dff": only}, rate_hz=RATE, indicator="GCaMP6f")
    with pytest.raises(DataError, match="can be told in no ROI") as error:
        run(noise, tmp_path / "none")
    assert "counts.quantum=" in error.value.fix


def test_the_published_recipe_counts_events_of_four_times_the_noise(tmp_path):
    made = run(trials(tmp_path), tmp_path, quantum="noise", least=1.0)
    quantum = made.tree["qc"]["events_quantum"].values
    assert np.abs(np.median(quantum) / 0.8 - 1) < 0.15
    change = made["calcium"].values.reshape(-1, 100, 10)
    jumps = change[:, 1:] - math.exp(-1 / (TAU * RATE)) * change[:, :-1]
    for roi in range(10):
        size = jumps[..., roi].ravel()
        assert (size[np.abs(size) > 1e-4] > 0.999 * quantum[roi]).all()


def test_an_event_before_the_first_frame_is_not_counted(tmp_path):
    rng = np.random.default_rng(0)
    spikes = rng.poisson(0.1, (600, 3)).astype(float)
    spikes[0] = 3
    dff = lfilter([1.0], [1.0, -math.exp(-1 / (TAU * RATE))], spikes, axis=0).astype("f4")
    recording = Recording.from_arrays({"dff": dff}, rate_hz=RATE, indicator="GCaMP6f")
    free, zero = (run(recording, tmp_path / how, quantum=1.0, initial=how) for how in ("free", "zero"))
    assert not free["events"].values[0].any()
    np.testing.assert_array_equal(zero["events"].values, spikes)
    np.testing.assert_allclose(free["calcium"].values, dff, atol=1e-5)


def test_only_training_trials_decide_decay_and_quantum(tmp_path):
    def estimates(recording, **params):
        made = run(recording, tmp_path, tau="estimate", **params)
        return made["events"].attrs["tau"], made.tree["qc"]["events_quantum"].values

    recording = trials(tmp_path, cells=2)
    spoiled = trials(tmp_path, cells=2)
    part = np.array([str(name) for name in recording.stimulus["part"].values])
    frames = np.repeat(part != "train", 100)
    values = spoiled["dff"].values
    values[frames] = np.random.default_rng(1).gamma(1.0, 5.0, values[frames].shape)
    tau, quantum = estimates(recording)
    assert 0.5 * TAU < tau < 2 * TAU
    again = estimates(spoiled)
    assert again[0] == tau
    np.testing.assert_array_equal(again[1], quantum)


def test_too_few_frames_are_refused(tmp_path):
    short = Recording.from_arrays({"dff": np.ones((15, 2), "f4")}, rate_hz=RATE, indicator="GCaMP6f")
    with pytest.raises(DataError, match="too few frames"):
        run(short, tmp_path)


def test_the_packaged_chain_makes_counts_of_simulated_trials(tmp_path):
    recording = trials(tmp_path, cells=2)
    made = Recording.open(load_chain("counts", [f"counts.tau={TAU}"]).run(recording, tmp_path / "out.zarr"))
    assert r2(made["events"].values, recording["counts"].values) > 0.8
