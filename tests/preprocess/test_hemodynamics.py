"""Hemodynamic regression: planted β, and an independent whole-array regression."""

import logging

import numpy as np
import pytest
from scipy.signal import butter, sosfilt, sosfilt_zi

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.preprocess.hemodynamics import Hemodynamics, HemodynamicsParams


def run(workspace, **params):
    Hemodynamics(HemodynamicsParams(**params)).apply(workspace)
    return workspace["corrected"][...]


def planted(frames=800, side=6, beta=0.8, seed=0):
    """Signal with calcium that is orthogonal to the blood signal over time, in counts of two channels."""
    rng = np.random.default_rng(seed)
    blood = rng.normal(size=(frames, side * side))
    blood -= blood.mean(0)
    calcium = rng.normal(size=blood.shape)
    calcium -= calcium.mean(0)
    calcium -= blood * (calcium * blood).sum(0) / (blood**2).sum(0)
    f, r = rng.uniform(1e3, 3e3, side * side), rng.uniform(500, 900, side * side)
    signal = f * (1 + 0.02 * calcium + beta * 0.01 * blood)
    reference = r * (1 + 0.01 * blood)
    shape = (frames, side, side)
    truth = (f * (1 + 0.02 * calcium)).reshape(shape)
    return signal.reshape(shape).astype("f4"), reference.reshape(shape).astype("f4"), truth


def test_planted_blood_is_removed_and_the_counts_are_kept(make_workspace):
    signal, reference, truth = planted()
    workspace = make_workspace(fluorescence=signal, reference=reference, chunk=100, tile=4)
    np.testing.assert_allclose(run(workspace), truth, atol=0.02)
    assert workspace["corrected"].attrs["beta_median"] == pytest.approx(0.8, abs=1e-3)
    assert workspace["corrected"].attrs["beta_iqr"] < 1e-3
    assert workspace["corrected"].attrs["units"] == "counts"


def test_the_result_is_uncorrelated_with_the_reference_and_scale_free(make_workspace):
    rng = np.random.default_rng(1)
    reference = 100 + rng.normal(size=(500, 8))
    signal = 300 + 2 * reference + 5 * rng.normal(size=(500, 8))
    one = run(make_workspace(fluorescence=signal, reference=reference))
    two = run(make_workspace(fluorescence=signal, reference=40 * reference + 7))
    change = one - one.mean(0)
    assert np.abs((change * (reference - reference.mean(0))).mean(0)).max() < 1e-3
    np.testing.assert_allclose(one, two, atol=1e-3)


def test_the_highpass_changes_only_the_estimate_and_equals_one_filter_over_all_frames(make_workspace):
    rng = np.random.default_rng(2)
    slow = np.sin(2 * np.pi * 0.02 * np.arange(900) / 10)[:, None] * 40
    fast = rng.normal(size=(900, 5)) * 3
    reference = 500 + slow + fast
    signal = 900 - 2 * slow + 1.5 * fast + rng.normal(size=(900, 5))
    result = run(make_workspace(fluorescence=signal, reference=reference, chunk=4096), highpass=0.5)
    sections = butter(2, 0.5, "highpass", fs=10, output="sos")
    a, b = signal - signal.mean(0), reference - reference.mean(0)
    passed = [sosfilt(sections, x, axis=0, zi=sosfilt_zi(sections)[:, :, None] * x[:1])[0] for x in (a, b)]
    slope = (passed[0] * passed[1]).sum(0) / (passed[1] ** 2).sum(0)
    np.testing.assert_allclose(slope, 1.5, atol=0.1)
    np.testing.assert_allclose(result, signal - slope * b, atol=1e-3)


def test_the_highpass_runs_on_across_blocks(make_workspace):
    signal, reference, _ = planted(frames=700)
    whole = run(make_workspace(fluorescence=signal, reference=reference, chunk=1000), highpass=0.3)
    pieces = run(make_workspace(fluorescence=signal, reference=reference, chunk=64, tile=4), highpass=0.3)
    np.testing.assert_allclose(whole, pieces, rtol=1e-6)


def test_a_flat_reference_leaves_the_pixel_as_it_is(make_workspace, caplog):
    signal, reference, _ = planted(frames=300)
    reference[:, 2, 3] = 700.1
    with caplog.at_level(logging.WARNING):
        result = run(make_workspace(fluorescence=signal, reference=reference))
    assert np.array_equal(result[:, 2, 3], signal[:, 2, 3])
    assert "does not vary in 1 of 36 pixels" in caplog.text


def test_shapes_and_cutoffs_that_cannot_be_are_refused(make_workspace):
    signal, reference, _ = planted(frames=100)
    with pytest.raises(DataError, match="differ in shape"):
        run(make_workspace(fluorescence=signal, reference=reference[:50]))
    with pytest.raises(ConfigError, match="not possible"):
        run(make_workspace(fluorescence=signal, reference=reference), highpass=5.0)


def test_channels_without_a_positive_mean_are_corrected_alike(make_workspace):
    signal, reference, truth = planted()
    shifted = run(make_workspace(fluorescence=signal - signal.mean(0), reference=reference - reference.mean(0)))
    np.testing.assert_allclose(shifted, truth - truth.mean(0), atol=0.02)
