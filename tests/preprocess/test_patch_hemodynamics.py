"""The patch estimator: exact on population covariances, invariant, finite, and better than the regression of pixels."""

import logging
import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from neurodyn.core.errors import DataError
from neurodyn.data import store
from neurodyn.data.recording import Recording
from neurodyn.preprocess.chain import chain_from_steps
from neurodyn.preprocess.optimal_linear import correlations, estimate, literal_estimate, stable_estimate
from neurodyn.preprocess.patch_hemodynamics import PatchHemodynamics, PatchHemodynamicsParams

NOISE = 0.5
SCALE = 0.01  # ΔF/F of one unit of the synthetic signals


def synthetic(frames=3000, side=24, blood=1.0, calcium=1.0, seed=0):
    """Calcium x and both channels, shape (time, y, x): 32 smooth maps each, the reference blurred and shifted by 1."""
    rng = np.random.default_rng(seed)

    def smooth():
        maps = np.stack([gaussian_filter(rng.normal(size=(side + 16,) * 2), 4) for _ in range(32)])
        courses = gaussian_filter1d(rng.normal(size=(frames, 32)), 2, axis=0)
        return np.tensordot(courses, maps, axes=1)

    x, z = smooth(), smooth()
    seen = np.roll(gaussian_filter(z, (0, 1, 1)), 1, axis=2)
    x, z, seen = (values[:, 8:-8, 8:-8] for values in (x, z, seen))
    x, z, seen = calcium * x / x.std(), blood * z / z.std(), blood * seen / seen.std()
    first, second = (values + NOISE * rng.normal(size=x.shape) for values in (x + z, seen))
    return x, first, second


def population(p=25, ranks=(5, 5), noise=(0.3, 0.2), seed=0):
    """Covariance of both channels, and of calcium and hemodynamics with them, for random maps and mixing."""
    rng = np.random.default_rng(seed)
    maps = [rng.normal(size=(p, rank)) for rank in ranks]
    calcium, blood = (m @ m.T for m in maps)
    mixing = np.eye(p) + 0.3 * rng.normal(size=(p, p)) / math.sqrt(p)
    joint = np.block([[calcium + blood, blood @ mixing.T], [mixing @ blood, mixing @ blood @ mixing.T]])
    joint += np.diag(np.repeat(noise, p))
    return joint, np.hstack([calcium, np.zeros((p, p))]), np.hstack([blood, blood @ mixing.T])


def counts(first, second):
    rng = np.random.default_rng(9)
    level = rng.uniform(800, 2000, (2, *first.shape[1:]))
    return level[0] * (1 + SCALE * first), level[1] * (1 + SCALE * second), level[0]


def corrected(make_workspace, first, second, chunk=512, tile=64, brain=None, **params):
    """Run the step on counts; return the corrected signal in the synthetic unit, shape (time, y, x)."""
    signal, reference, level = counts(first, second)
    workspace = make_workspace(fluorescence=signal, reference=reference, chunk=chunk, tile=tile, brain=brain)
    PatchHemodynamics(PatchHemodynamicsParams(**params)).apply(workspace)
    return (workspace["corrected"][...] / level - 1) / SCALE, workspace


def error(found, truth):
    found = found - found.mean(0)
    return float(np.sqrt(((found - (truth - truth.mean(0))) ** 2).mean() / truth.var(axis=0).mean()))


def pixelwise(first, second):
    a, b = first - first.mean(0), second - second.mean(0)
    return a - (a * b).sum(0) / (b * b).sum(0) * b


def test_on_population_covariances_it_is_the_linear_minimum_mean_square_error_estimator():
    joint, calcium, blood = population()
    centres = np.arange(25)
    exact = np.linalg.solve(joint, calcium.T).T
    np.testing.assert_allclose(stable_estimate(joint, centres, math.inf).weights, exact, atol=1e-6)
    np.testing.assert_allclose(literal_estimate(joint, centres).weights, exact, atol=1e-10)
    subtracted = np.eye(25, 50) - np.linalg.solve(joint, blood.T).T
    np.testing.assert_allclose(stable_estimate(joint, centres, math.inf, "subtract").weights, subtracted, atol=2e-6)
    found = stable_estimate(joint, centres, math.inf)
    assert found.noise == pytest.approx((0.3, 0.2))
    assert found.rank == 5
    assert not found.crowded


def test_from_samples_the_error_falls_to_the_exact_one():
    joint, calcium, _ = population()
    exact = np.linalg.solve(joint, calcium.T).T
    root, rng = np.linalg.cholesky(joint), np.random.default_rng(1)

    def excess(frames, estimator):
        y = root @ rng.normal(size=(50, frames))
        change = estimator(y @ y.T / frames) - exact
        return float(np.trace(change @ joint @ change.T) / np.trace(calcium[:, :25]))

    def stable(frames):
        return excess(frames, lambda sample: stable_estimate(sample, np.arange(25), frames).weights)

    def literal(frames):
        return excess(frames, lambda sample: literal_estimate(sample, np.arange(25)).weights)

    assert stable(500) > 3 * stable(5000) > 3 * stable(50_000)
    assert stable(50_000) < 1e-3
    assert stable(500) < 0.1 * literal(500)


def test_calcium_hemodynamics_and_noise_add_up_to_the_signal():
    joint, calcium, blood = population(seed=3)
    centres = np.arange(25)
    found = stable_estimate(joint, centres, math.inf)
    residual = stable_estimate(joint, centres, math.inf, "subtract").weights - found.weights
    noise = np.linalg.solve(joint, np.eye(25, 50).T).T * found.noise[0]
    np.testing.assert_allclose(residual, noise, atol=1e-5)


def test_one_pixel_without_noise_is_the_regression_of_that_pixel():
    rng = np.random.default_rng(2)
    second = rng.normal(size=4000)
    first = 0.7 * second + rng.normal(size=4000)
    joint = np.cov(first, second)
    for output in ("denoise", "subtract"):
        weights = stable_estimate(joint, np.array([0]), 4000, output, (0.0, 0.0)).weights
        np.testing.assert_allclose(weights, [[1, -joint[0, 1] / joint[1, 1]]], atol=1e-5)


def test_order_of_pixels_and_scale_of_the_reference_do_not_matter():
    x, first, second = synthetic(frames=1000, side=5)
    y = np.hstack([first.reshape(1000, -1), second.reshape(1000, -1)])
    order = np.random.default_rng(3).permutation(25)
    plain = stable_estimate(np.cov(y.T), np.array([12]), 1000).weights @ y.T
    mixed = y[:, np.concatenate([order, 25 + order])]
    moved = stable_estimate(np.cov(mixed.T), np.flatnonzero(order == 12), 1000).weights @ mixed.T
    np.testing.assert_allclose(moved, plain, atol=1e-9)
    scaled = y * np.repeat([1.0, 20.0], 25)
    larger = stable_estimate(np.cov(scaled.T), np.array([12]), 1000).weights @ scaled.T
    np.testing.assert_allclose(larger, plain, atol=1e-3)


@pytest.mark.parametrize(("blood", "calcium"), [(0.0, 1.0), (1.0, 0.0)])
def test_without_hemodynamics_or_without_calcium_it_stays_finite_and_mild(make_workspace, blood, calcium):
    x, first, second = synthetic(frames=1700, side=12, blood=blood, calcium=calcium)
    for product in ("denoise", "subtract"):
        found, _ = corrected(make_workspace, first, second, product=product)
        assert np.isfinite(found).all()
        assert (found - found.mean(0) - x).std() < (NOISE if product == "denoise" else 1.6 * NOISE)


def test_on_the_synthetic_movie_it_beats_pixels_and_the_literal_form(make_workspace):
    x, first, second = synthetic()
    stable, workspace = corrected(make_workspace, first, second, side=9)
    pixels = error(pixelwise(first, second), x)
    assert pixels == pytest.approx(0.68, abs=0.05)
    assert error(stable, x) <= 0.30
    assert error(stable, x) < 0.6 * pixels
    assert error(corrected(make_workspace, first, second, side=3)[0], x) <= 0.31
    assert error(corrected(make_workspace, first, second, form="literal")[0], x) > 1.2
    subtracted = corrected(make_workspace, first, second, product="subtract")[0]
    assert error(stable, x) < error(subtracted, x) < 0.62
    qc = {name: workspace.root[f"qc/patch_hemodynamics_correlation_{name}"][...] for name in ("before", "after")}
    direct = [np.corrcoef(v[:, 11, 13], second[:, 11, 13])[0, 1] for v in (first, stable)]
    assert [qc[name][11, 13] for name in ("before", "after")] == pytest.approx(direct, abs=1e-4)
    assert np.abs(qc["after"]).mean() < 0.25 * np.abs(qc["before"]).mean()


def test_how_the_movie_is_cut_and_what_its_unit_is_change_nothing(make_workspace):
    _, first, second = synthetic(frames=800, side=20)
    brain = np.hypot(*np.mgrid[-9.5:10, -9.5:10]) < 9.5
    whole, _ = corrected(make_workspace, first, second, side=5, brain=brain)
    cut, _ = corrected(make_workspace, first, second, side=5, brain=brain, chunk=100, tile=6)
    inner = brain[None] & np.ones_like(whole, dtype=bool)
    np.testing.assert_allclose(cut[inner], whole[inner], atol=2e-4)
    workspace = make_workspace(fluorescence=first, reference=second, brain=brain)
    PatchHemodynamics(PatchHemodynamicsParams(side=5, normalise="none")).apply(workspace)
    assert (workspace["corrected"][...][:, ~brain] == 0).all()
    bare = workspace["corrected"][...] - first.mean(0)
    signal, _, _ = counts(first, second)
    relative = whole - ((signal.mean(0) / counts(first, second)[2] - 1) / SCALE)
    np.testing.assert_allclose(bare[inner], relative[inner], atol=0.1)


def test_tiles_without_brain_are_written_too(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "TILE", 1)
    brain = np.zeros((10, 10), dtype=bool)
    brain[1:4, 5:8] = True
    _, first, second = synthetic(frames=400, side=10)
    signal, reference, _ = counts(first, second)
    neural = {"fluorescence": signal, "reference": reference}
    recording = Recording.from_arrays(neural, rate_hz=10, brain=brain)
    made = Recording.open(
        chain_from_steps([{"step": "patch_hemodynamics"}], "test").run(recording, tmp_path / "a.zarr")
    )
    assert (made["corrected"].values[:, ~brain] == 0).all()
    assert (made["corrected"].values[:, brain].std(axis=0) > 0).all()


def test_it_equals_the_estimator_of_each_pixels_own_window(make_workspace):
    _, first, second = synthetic(frames=700, side=11)
    found, _ = corrected(make_workspace, first, second, side=5, block=1, tile=4)
    signal, reference, level = counts(first, second)
    a, b = (v / v.mean(0) - 1 for v in (signal, reference))
    for y, x, corner in ((5, 6, (3, 4)), (0, 10, (0, 6))):
        window = tuple(slice(c, c + 5) for c in corner)
        rows = np.hstack([v[:, *window].reshape(700, -1) for v in (a, b)]).T
        weights = stable_estimate(rows @ rows.T / 700, np.array([(y - corner[0]) * 5 + x - corner[1]]), 700).weights
        expected = signal[:, y, x].mean() * (1 + (weights @ rows)[0])
        np.testing.assert_allclose((found[:, y, x] * SCALE + 1) * level[y, x], expected, rtol=1e-5)


def test_the_temporal_noise_serves_where_the_median_is_no_noise():
    x, first, second = synthetic(frames=4000, side=3)
    y = np.hstack([v.reshape(4000, -1) for v in (first, second)])
    joint = np.cov(y.T)
    assert stable_estimate(joint, np.array([4]), 4000).noise[0] == pytest.approx(NOISE**2, rel=0.2)
    rng = np.random.default_rng(0)
    crowd = np.diag(np.repeat([5.0, 1.0], 5)) + np.zeros((10, 10))
    found = stable_estimate(crowd, np.array([0]), math.inf)
    assert not found.crowded
    many = np.cov(rng.normal(size=(12, 5000)) * np.repeat([3.0, 1, 3, 1], 3)[:, None])
    assert stable_estimate(many, np.array([0]), 5000).crowded


def test_the_temporal_noise_is_that_of_white_noise_on_slow_signals(make_workspace):
    _, first, second = synthetic(frames=2000, side=12)
    x = synthetic(frames=2000, side=12)[0]
    found, _ = corrected(make_workspace, first, second, noise="temporal")
    assert error(found, x) < 0.45


def test_pixels_that_do_not_vary_stay_as_they_are(make_workspace, caplog):
    _, first, second = synthetic(frames=700, side=10)
    second[:, 4, 5] = 0.0
    with caplog.at_level(logging.WARNING):
        found, workspace = corrected(make_workspace, first, second, side=5)
    assert "1 pixels do not vary" in caplog.text
    np.testing.assert_allclose(found[:, 4, 5], first[:, 4, 5], atol=2e-4)
    assert workspace.root["qc/patch_hemodynamics_correlation_after"][4, 5] == pytest.approx(0, abs=1e-6)
    joint = np.zeros((8, 8))
    assert np.array_equal(estimate(joint, np.array([1]), 100).weights, np.eye(4, 8)[[1]])
    assert np.array_equal(correlations(np.eye(4, 8)[[1]], joint, np.array([1]))[0], [0.0])


def test_too_few_frames_are_refused_few_are_warned_of(make_workspace, caplog):
    _, first, second = synthetic(frames=400, side=12)
    with pytest.raises(DataError, match="too few") as refused:
        corrected(make_workspace, first[:300], second[:300])
    assert "side=7" in refused.value.fix
    with caplog.at_level(logging.WARNING):
        corrected(make_workspace, first, second)
    assert "at least 1620 are advised" in caplog.text


def test_means_and_values_that_cannot_be_are_refused(make_workspace):
    _, first, second = synthetic(frames=400, side=9)
    workspace = make_workspace(fluorescence=first, reference=second + 10)
    with pytest.raises(DataError, match="mean of 0 or less") as refused:
        PatchHemodynamics(PatchHemodynamicsParams(side=3)).apply(workspace)
    assert "normalise=none" in refused.value.fix
    with pytest.raises(ValueError, match="side is odd"):
        PatchHemodynamicsParams(side=4)
    assert [PatchHemodynamicsParams(side=n).centres for n in (3, 5, 9, 15)] == [1, 3, 5, 7]
    assert PatchHemodynamicsParams(form="literal").centres == 1
