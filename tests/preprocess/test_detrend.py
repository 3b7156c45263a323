"""Detrending takes away what was planted and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from neurodyn.core.errors import DataError
from neurodyn.preprocess.detrend import Detrend, DetrendParams

TIME = np.arange(600) / 10


def run(workspace, **params):
    Detrend(DetrendParams(**params)).apply(workspace)
    return workspace["detrended"]


def signals(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (TIME.size, 5)) + 100


def test_it_equals_numpys_polynomial_fit(make_workspace):
    traces = signals() + np.outer(TIME**2, [0.01, 0.02, 0, -0.01, 0.005])
    made = np.asarray(run(make_workspace(fluorescence=traces), order=2))
    fit = np.polynomial.polynomial.polyfit(TIME, traces, 2)
    expected = traces - np.polynomial.polynomial.polyval(TIME, fit).T + traces.mean(axis=0)
    np.testing.assert_allclose(made, expected, atol=1e-3)


def test_the_trend_is_one_in_time_where_frames_are_missing(make_workspace):
    time = np.r_[np.arange(300) / 10, 90 + np.arange(300) / 10]
    clean = np.random.default_rng(1).normal(0, 0.1, (time.size, 2)) + 100
    traces = clean + np.outer(time, [0.5, -0.2])
    made = np.asarray(run(make_workspace(fluorescence=traces, time=time), order=1))
    fit = np.polynomial.polynomial.polyfit(time, traces, 1)
    expected = traces - np.polynomial.polynomial.polyval(time, fit).T + traces.mean(axis=0)
    np.testing.assert_allclose(made, expected, atol=1e-4)
    assert np.abs(np.corrcoef(made[:, 0], time)[0, 1]) < 1e-3


def test_a_planted_bleaching_is_found_and_removed(make_workspace):
    clean = signals()
    traces = clean + np.outer(np.exp(-TIME / 12.0), [50, 40, 30, 20, 10])
    made = run(make_workspace(fluorescence=traces), method="exponential")
    assert made.attrs["tau_s"] == pytest.approx(12, rel=0.05)
    rest = np.asarray(made) - np.asarray(made).mean(axis=0)
    np.testing.assert_allclose(rest.std(axis=0), clean.std(axis=0), rtol=0.03)
    np.testing.assert_allclose(np.asarray(made).mean(axis=0), traces.mean(axis=0), rtol=1e-5)


def test_pixels_outside_the_brain_become_0(make_workspace):
    brain = np.ones((4, 5), dtype=bool)
    brain[0] = False
    movie = 100 + np.random.default_rng(0).normal(size=(600, 4, 5))
    made = np.asarray(run(make_workspace(fluorescence=movie, brain=brain)))
    assert (made[:, 0] == 0).all()
    assert (made[:, 1:].mean(axis=0) > 99).all()


def test_too_few_frames_are_refused(make_workspace):
    with pytest.raises(DataError, match="cannot show a trend"):
        run(make_workspace(fluorescence=np.ones((6, 2))), order=5)
