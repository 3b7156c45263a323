"""Truncated SVD against numpy's, and the regression in its space against that of pixels."""

import logging

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from neurodyn.core.errors import DataError
from neurodyn.data import store
from neurodyn.data.recording import Recording
from neurodyn.preprocess import svd
from neurodyn.preprocess.chain import chain_from_steps
from neurodyn.preprocess.hemodynamics import Hemodynamics, HemodynamicsParams
from neurodyn.preprocess.svd import Svd, SvdParams
from neurodyn.preprocess.svd_hemodynamics import SvdHemodynamics, SvdHemodynamicsParams


def movie(frames=1500, side=20, rank=12, noise=0.3, seed=0):
    """Smooth components with falling power, and white noise, shape (time, y, x)."""
    rng = np.random.default_rng(seed)
    maps = np.stack([gaussian_filter(rng.normal(size=(side, side)), 2) for _ in range(rank)])
    courses = gaussian_filter1d(rng.normal(size=(frames, rank)), 8, axis=0) * 0.8 ** np.arange(rank)
    values = np.tensordot(courses, maps, axes=1)
    return 3 + values / values.std() + noise * rng.normal(size=values.shape)


def run(workspace, **params):
    Svd(SvdParams(**params)).apply(workspace)
    return workspace["components"][...], workspace.root["components/components"][...]


def test_it_explains_what_numpys_decomposition_explains(make_workspace):
    dff = movie()
    workspace = make_workspace(dff=dff, chunk=256, tile=8)
    courses, maps = run(workspace, components=10)
    change = (dff - dff.mean(0)).reshape(len(dff), -1)
    exact = np.linalg.svd(change, compute_uv=False)
    best = (exact[:10] ** 2).sum() / (exact**2).sum()
    left = change - courses @ maps.reshape(10, -1)
    explained = 1 - (left**2).sum() / (change**2).sum()
    assert best - 0.005 < explained <= best + 1e-6
    assert workspace["components"].attrs["explained_variance"] == pytest.approx(explained, abs=1e-5)
    assert workspace.root["qc/svd_explained_variance"][...].sum() == pytest.approx(explained, abs=1e-5)
    np.testing.assert_allclose(maps.reshape(10, -1) @ maps.reshape(10, -1).T, np.eye(10), atol=1e-5)


def test_unbinned_it_is_numpys_decomposition_up_to_sign(make_workspace):
    dff = movie(frames=300, side=8)
    courses, maps = run(make_workspace(dff=dff, chunk=64, tile=4), components=5, bin=1)
    u, s, vt = np.linalg.svd((dff - dff.mean(0)).reshape(300, -1), full_matrices=False)
    sign = np.sign((maps.reshape(5, -1) * vt[:5]).sum(1))
    np.testing.assert_allclose(maps.reshape(5, -1) * sign[:, None], vt[:5], atol=1e-4)
    np.testing.assert_allclose(courses * sign, u[:, :5] * s[:5], atol=1e-3)
    assert (maps.reshape(5, -1)[np.arange(5), np.abs(maps.reshape(5, -1)).argmax(1)] > 0).all()


@pytest.mark.parametrize("frames", [1499, 1500, 1501])
def test_every_frame_is_projected_the_last_one_too(make_workspace, frames):
    dff = movie(frames=frames, side=10)
    courses, maps = run(make_workspace(dff=dff, chunk=128), components=6)
    expected = (dff - dff.mean(0)).reshape(frames, -1) @ maps.reshape(6, -1).T
    np.testing.assert_allclose(courses, expected, atol=1e-4)
    assert np.abs(courses[-1]).max() > 0.1


def test_bins_grow_with_the_recording_and_few_pixels_or_bins_give_the_same(make_workspace, monkeypatch):
    dff = movie(frames=1200, side=10)
    plain, _ = run(make_workspace(dff=dff), components=4)
    monkeypatch.setattr(svd, "MOST_BINS", 40)
    coarse, _ = run(make_workspace(dff=dff), components=4)
    ratio = (coarse**2).sum() / (plain**2).sum()
    assert 0.99 < ratio < 1.001
    assert not np.array_equal(plain, coarse)


def test_no_more_components_than_the_data_have(make_workspace, caplog):
    dff = movie(frames=200, side=6, rank=3, noise=0.0)
    with caplog.at_level(logging.INFO):
        courses, _ = run(make_workspace(dff=dff), components=50)
    assert courses.shape == (200, 3)
    assert "3 components" in caplog.text
    with pytest.raises(DataError, match="does not vary"):
        run(make_workspace(dff=np.ones((50, 4, 4))))


def test_the_components_stay_inside_the_brain_and_the_recording_opens(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "TILE", 5)
    brain = np.zeros((10, 10), dtype=bool)
    brain[1:4, 2:9] = True
    recording = Recording.from_arrays({"dff": movie(frames=300, side=10)}, rate_hz=10, brain=brain)
    steps = [{"step": "svd", "components": 4}, {"step": "zscore", "input": "components"}]
    made = Recording.open(chain_from_steps(steps, "test").run(recording, tmp_path / "a.zarr"))
    assert made["components"].dims == made["zscore"].dims == ("time", "component")
    maps = made.table("components")["components"]
    assert maps.dims == ("component", "y", "x")
    assert (maps.values[:, ~brain] == 0).all()


def channels(frames=700, side=6, seed=3):
    rng = np.random.default_rng(seed)
    blood = gaussian_filter1d(rng.normal(size=(frames, side, side)), 3, axis=0)
    beta = rng.uniform(0.3, 1.5, (side, side))
    signal = 900 * (1 + 0.02 * rng.normal(size=blood.shape) + 0.05 * beta * blood)
    return signal, 500 * (1 + 0.05 * blood + 0.002 * rng.normal(size=blood.shape))


@pytest.mark.parametrize(
    "band", [{}, {"highpass": 0.3}, {"highpass": 0.3, "lowpass": 3.0, "phase": "zero", "keep_slow": False}]
)
def test_with_all_components_the_regression_is_that_of_pixels(make_workspace, band):
    signal, reference = channels()
    workspace = make_workspace(fluorescence=signal, reference=reference, chunk=100, tile=4)
    SvdHemodynamics(SvdHemodynamicsParams(components=36, bin=1, **band)).apply(workspace)
    Hemodynamics(HemodynamicsParams(**band)).apply(workspace)
    maps = workspace.root["components/components"][...]
    found = np.tensordot(workspace["components"][...], maps, axes=1)
    pixels = workspace["corrected"][...] / signal.mean(0) - 1
    np.testing.assert_allclose(found, pixels, atol=2e-6)
    beta = [workspace.root[f"qc/{name}_beta"][...] for name in ("svd_hemodynamics", "hemodynamics")]
    np.testing.assert_allclose(beta[0], beta[1], atol=1e-4)
    assert sorted(workspace.root["neural"].array_keys()) == ["components", "corrected", "fluorescence", "reference"]


def test_with_few_components_it_still_removes_the_planted_blood(make_workspace):
    blood, calcium = (movie(frames=1500, side=12, rank=5, noise=0, seed=s) - 3 for s in (1, 2))
    signal, reference = 900 * (1 + 0.02 * calcium + 0.04 * blood), 500 * (1 + 0.04 * blood)
    workspace = make_workspace(fluorescence=signal, reference=reference)
    SvdHemodynamics(SvdHemodynamicsParams(components=10)).apply(workspace)
    found = np.tensordot(workspace["components"][...], workspace.root["components/components"][...], axes=1)
    before, after = (np.sqrt(((v - v.mean(0) - 0.02 * calcium) ** 2).mean()) for v in (signal / 900, found))
    assert after < 0.35 * before
    assert workspace["components"].attrs["beta_median"] == pytest.approx(1, abs=0.2)
    with pytest.raises(DataError, match="mean of 0 or less"):
        empty = make_workspace(fluorescence=signal, reference=reference - 600)
        SvdHemodynamics(SvdHemodynamicsParams()).apply(empty)
