"""Neuropil subtraction against its formula."""

import numpy as np
import pytest

from neurodyn.core.errors import DataError
from neurodyn.preprocess.contamination import contamination_ratio
from neurodyn.preprocess.neuropil import Neuropil, NeuropilParams
from neurodyn.simulate.two_photon import TwoPhoton, TwoPhotonParams


def run(workspace, **params):
    Neuropil(NeuropilParams(**params)).apply(workspace)
    return workspace[params.get("output", "corrected")][...]


@pytest.fixture
def channels():
    rng = np.random.default_rng(0)
    return {
        "fluorescence": rng.gamma(3, 80, (300, 7)).astype("f4"),
        "neuropil": rng.gamma(3, 60, (300, 7)).astype("f4"),
    }


def test_the_coefficient_times_the_surround_is_subtracted(make_workspace, channels):
    expected = channels["fluorescence"] - 0.7 * channels["neuropil"].astype("f8")
    np.testing.assert_allclose(run(make_workspace(**channels)), expected, rtol=1e-6, atol=1e-4)


def test_keep_mean_keeps_each_rois_mean_and_removes_the_same_change(make_workspace, channels):
    workspace = make_workspace(**channels)
    plain, kept = run(workspace), run(workspace, output="kept", keep_mean=True)
    np.testing.assert_allclose(kept.mean(axis=0), channels["fluorescence"].mean(axis=0), rtol=1e-5)
    shift = kept - plain
    np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=1e-3)


def test_a_planted_surround_vanishes(make_workspace, channels):
    cell = np.random.default_rng(1).gamma(2, 30, (300, 7))
    mixed = (cell + 0.6 * channels["neuropil"]).astype("f4")
    result = run(make_workspace(fluorescence=mixed, neuropil=channels["neuropil"]), coefficient=0.6)
    np.testing.assert_allclose(result, cell, atol=1e-3)


def test_unequal_shapes_are_refused(make_workspace, channels):
    with pytest.raises(DataError, match="differ in shape"):
        run(make_workspace(fluorescence=channels["fluorescence"], neuropil=channels["neuropil"][:, :3]))


def test_nan_in_the_surround_is_refused(make_workspace, channels):
    channels["neuropil"][7, 2] = np.nan
    with pytest.raises(DataError, match="'neuropil' is not finite in 1 of 7 ROIs"):
        run(make_workspace(**channels))


def planted(r, noise, cells=50, frames=6000, seed=2):
    """Cell events and surround events of different shapes, mixed with r; noise in the cell's trace."""
    rng = np.random.default_rng(seed)
    t = np.arange(100)
    slow, fast = np.exp(-0.05 * t) - np.exp(-0.25 * t), np.exp(-0.1 * t) - np.exp(-0.5 * t)
    cell = np.array([np.convolve(rng.random(frames) < 0.05, slow)[:frames] for _ in range(cells)])
    surround = np.array([np.convolve(rng.random(frames) < 0.1, fast)[:frames] for _ in range(cells)])
    mixed = cell + np.asarray(r).reshape(-1, 1) * surround + noise * rng.normal(size=cell.shape)
    return 100 + 50 * mixed, 50 * surround


def literal_error(r, fluorescence, neuropil, smoothness=0.05):
    """The cross-validation error by solving the whole linear system for one r."""
    length, errors = fluorescence.size // 4, []
    difference = np.diff(np.eye(length), axis=0)
    system = np.eye(length) + smoothness * difference.T @ difference
    for fold in range(4):
        part = slice(fold * length, (fold + 1) * length)
        lowest, highest = neuropil[part].min(), neuropil[part].max()
        f, n = ((x[part] - lowest) / (highest - lowest) for x in (fluorescence, neuropil))
        cell = np.linalg.solve(system, f - r * n)
        errors.append(abs(np.sqrt(np.mean((cell - (f - r * n)) ** 2)) / f.mean()))
    return np.mean(errors)


def test_the_fit_is_the_minimum_of_the_literal_error():
    fluorescence, neuropil = planted(np.array([0.3, 0.8, 1.4, 2.9, 1.87]), 0.3, cells=5, frames=600)
    fitted = contamination_ratio(fluorescence, neuropil)
    for r, f, n in zip(fitted, fluorescence, neuropil, strict=True):
        grid = np.arange(max(0, r - 0.3), r + 0.3, 0.002)
        best = grid[np.argmin([literal_error(x, f, n) for x in grid])]
        assert r == pytest.approx(best, abs=0.003)
    assert fitted[3] > 2.05  # the range was extended


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_planted_ratio_is_recovered(make_workspace, noise):
    r = np.random.default_rng(3).uniform(0, 2, 50)
    fluorescence, neuropil = planted(r, noise)
    workspace = make_workspace(fluorescence=fluorescence.T.astype("f4"), neuropil=neuropil.T.astype("f4"))
    result = run(workspace, method="allen")
    fitted = workspace.root["qc/neuropil_r"][...]
    assert np.abs(fitted - r).max() < 0.05
    np.testing.assert_allclose(result, (fluorescence - fitted[:, None] * neuropil).T, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("r", [0.3, 0.7, 1.1])
def test_a_planted_ratio_is_recovered_from_simulated_cells(make_workspace, r):
    recording = TwoPhoton(TwoPhotonParams(contamination=r, noise=0, cells=20, repeats=3)).make()
    workspace = make_workspace(**{name: recording[name].values for name in ("fluorescence", "neuropil")})
    run(workspace, method="allen")
    assert np.abs(workspace.root["qc/neuropil_r"][...] - r).max() < 0.05


def test_without_a_fit_r_is_zero_and_the_fluorescence_stays(make_workspace, caplog):
    fluorescence, neuropil = (x.T.astype("f4") for x in planted(np.full(5, 0.8), 0.02, cells=5, frames=2000))
    neuropil[:, 1] = 70
    fluorescence[5, 2] = np.nan
    fluorescence[:, 3] -= 400
    neuropil[:, 4] *= -1  # r < 0
    workspace = make_workspace(fluorescence=fluorescence, neuropil=neuropil)
    result = run(workspace, method="allen", nan="nan")
    r = workspace.root["qc/neuropil_r"][...]
    assert r[0] == pytest.approx(0.8, abs=0.05)
    assert r[1:].tolist() == [0, 0, 0, 0]
    np.testing.assert_array_equal(result[:, 1:], fluorescence[:, 1:])
    assert "cannot be fitted in 2 of 5 ROIs" in caplog.text
    assert "1 of 5 ROIs would have a negative mean" in caplog.text


def test_the_fixed_coefficient_is_kept_for_the_report(make_workspace, channels):
    workspace = make_workspace(**channels)
    run(workspace, coefficient=0.5)
    assert workspace.root["qc/neuropil_r"][...].tolist() == [0.5] * 7


def test_too_few_frames_for_a_fit_are_refused(make_workspace, channels):
    short = {name: values[:39] for name, values in channels.items()}
    with pytest.raises(DataError, match="too short") as error:
        run(make_workspace(**short), method="allen")
    assert "39 frames; 40 are needed" in error.value.found


def test_the_fit_reads_few_rois_at_a_time(make_workspace, monkeypatch):
    fluorescence, neuropil = (x.T.astype("f4") for x in planted(np.full(7, 0.5), 0.1, cells=7, frames=900))
    whole = run(make_workspace(fluorescence=fluorescence, neuropil=neuropil), method="allen")
    monkeypatch.setattr("neurodyn.preprocess.neuropil.BUDGET", 900 * 3)
    part = run(make_workspace(fluorescence=fluorescence, neuropil=neuropil), method="allen")
    np.testing.assert_allclose(part, whole, rtol=1e-6)
