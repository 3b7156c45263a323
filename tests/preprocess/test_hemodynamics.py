"""Hemodynamic regression: planted β, and an independent whole-array regression."""

import logging

import numpy as np
import pytest
from scipy.signal import butter, filtfilt, sosfilt, sosfilt_zi, sosfiltfilt

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording
from neurodyn.preprocess.chain import chain_from_steps, load_chain
from neurodyn.preprocess.hemodynamics import Hemodynamics, HemodynamicsParams
from neurodyn.readers.options import ReadOptions, VariablePlace
from neurodyn.readers.read import read


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


def heartbeat(frames=3000, rate=30.0, seed=4):
    """Two channels with slow and fast parts of different β."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames) / rate
    slow = np.cumsum(rng.normal(size=(frames, 6)), axis=0) * 0.1
    fast = np.sin(2 * np.pi * 3 * time)[:, None] + 0.3 * rng.normal(size=(frames, 6))
    return 900 - slow + 1.5 * fast + 0.1 * rng.normal(size=(frames, 6)), 700 + slow + fast


@pytest.mark.parametrize("phase", ["causal", "zero"])
def test_no_filter_runs_across_a_gap(make_workspace, phase, caplog):
    signal, reference = (np.random.default_rng(k).normal(100, 5, (700, 4)) for k in (11, 12))
    time = np.arange(700) / 10 + np.where(np.arange(700) < 400, 0, 30.0) + np.where(np.arange(700) < 690, 0, 30.0)
    settings = {"highpass": 0.5, "phase": phase, "keep_slow": False}
    result = run(make_workspace(fluorescence=signal, reference=reference, time=time, chunk=128), **settings)
    sections = butter(2, 0.5, "highpass", fs=10, output="sos")
    both = []
    for channel in (signal, reference):
        centred = channel - channel.mean(axis=0)
        parts = []
        for part in (slice(0, 400), slice(400, 690), slice(690, 700)):
            if phase == "zero":
                length = part.stop - part.start
                parts.append(sosfiltfilt(sections, centred[part], axis=0, padlen=min(50, length - 1)))
            else:
                state = sosfilt_zi(sections)[:, :, None] * centred[part][:1]
                parts.append(sosfilt(sections, centred[part], axis=0, zi=state)[0])
        both.append(np.concatenate(parts))
    slope = (both[0] * both[1]).sum(axis=0) / (both[1] ** 2).sum(axis=0)
    np.testing.assert_allclose(result, both[0] - slope * both[1] + signal.mean(axis=0), atol=1e-3)
    assert "1 of 3 stretches between gaps are shorter than one period" in caplog.text


def test_the_wfield_convention_is_a_zero_phase_regression_whose_output_stays_high_passed(make_workspace):
    signal, reference = heartbeat()
    params = load_chain("widefield-wfield").steps[0][1].params.model_dump()
    found = run(make_workspace(30.0, fluorescence=signal, reference=reference, chunk=100), **params)
    high, low = butter(2, 0.1, "highpass", fs=30), butter(2, 14, "lowpass", fs=30)
    a, b = (filtfilt(*high, v - v.mean(0), axis=0, padlen=50) for v in (signal, reference))
    b = filtfilt(*low, b, axis=0, padlen=50)
    slope = (a * b).sum(0) / (b * b).sum(0)
    expected = a - slope * b + signal.mean(0)
    np.testing.assert_allclose(found[400:-400], expected[400:-400], atol=2e-3)  # ends are padded once, not twice
    assert found.std(axis=0).mean() < 0.5 * signal.std(axis=0).mean()


def test_the_imager_convention_keeps_the_slow_signal(make_workspace):
    signal, reference = heartbeat()
    params = load_chain("widefield-imager").steps[0][1].params.model_dump()
    found = run(make_workspace(30.0, fluorescence=signal, reference=reference, chunk=128), **params)
    band = np.concatenate([butter(2, 0.1, "highpass", fs=30, output="sos"), butter(4, 5, fs=30, output="sos")])
    change = reference - reference.mean(0)
    a, b = (sosfiltfilt(band, v, axis=0, padlen=50) for v in (signal - signal.mean(0), change))
    np.testing.assert_allclose(found, signal - (a * b).sum(0) / (b * b).sum(0) * change, atol=1e-3)


def test_a_lowpass_above_half_the_rate_passes_everything(make_workspace):
    signal, reference, _ = planted()
    without, with_it = (run(make_workspace(fluorescence=signal, reference=reference), lowpass=f) for f in (None, 14))
    assert np.array_equal(without, with_it)
    with pytest.raises(ConfigError, match="below 0.1 Hz"):
        run(make_workspace(fluorescence=signal, reference=reference), highpass=0.2, lowpass=0.1)


@pytest.mark.parametrize("band", [{}, {"highpass": 0.5, "phase": "zero"}, {"highpass": 0.5, "keep_slow": False}])
def test_the_maps_hold_beta_and_the_correlations_of_what_went_in_and_came_out(make_workspace, band):
    signal, reference, _ = planted(frames=600)
    workspace = make_workspace(fluorescence=signal, reference=reference, chunk=90, tile=4)
    found = run(workspace, **band)
    maps = {name: workspace.root[f"qc/hemodynamics_{name}"][...] for name in ("beta", "correlation_before")}
    np.testing.assert_allclose(maps["beta"], 0.8, atol=0.2 if band else 2e-3)
    direct = [[np.corrcoef(v[:, y, 3], reference[:, y, 3])[0, 1] for y in range(6)] for v in (signal, found)]
    np.testing.assert_allclose(maps["correlation_before"][:, 3], direct[0], atol=1e-4)
    after = workspace.root["qc/hemodynamics_correlation_after"][:, 3]
    np.testing.assert_allclose(after, direct[1], atol=0.1 if band.get("keep_slow") is False else 1e-4)


def real(folder):
    """The middle of the calcium and 405 nm channels of the real recording, with its brain mask."""
    file = next((folder / "yulong_widefield").glob("widefield_bin4*.h5"))
    options = ReadOptions(
        variables={
            "fluorescence": VariablePlace(key="red_camera", first=0, every=2),
            "reference": VariablePlace(key="green_camera", first=1, every=2),
        },
        times="frame_times_s",
        brain="WholeCortexMask.tif",
        indicator="jRGECO1a",
    )
    whole, middle = read(file, options), (slice(None), slice(32, 96), slice(32, 96))
    arrays = {name: whole[name].values[middle] for name in whole.variables}
    assert whole.brain is not None
    return Recording.from_arrays(arrays, time=whole.time, brain=whole.brain[middle[1:]], indicator=whole.indicator)


@pytest.mark.parametrize(
    ("steps", "share"),
    [
        ([{"step": "hemodynamics"}], 1 / 3),
        ([{"step": "patch_hemodynamics", "side": 3}], 1 / 3),
        ([{"step": "hemodynamics", "highpass": 0.1, "phase": "zero", "keep_slow": False}], 1 / 3),
    ],
)
def test_on_a_real_recording_the_reference_is_gone_from_the_calcium_channel(shared_data, tmp_path, steps, share):
    source = real(shared_data)
    made = Recording.open(chain_from_steps(steps, "test").run(source, tmp_path / "out.zarr"))

    def correlation(name):
        a, b = (made[v].values[:, made.brain].astype("f8") for v in (name, "reference"))
        a, b = a - a.mean(0), b - b.mean(0)
        scale = np.sqrt((a * a).sum(0) * (b * b).sum(0))
        return np.divide((a * b).sum(0), scale, out=np.zeros(scale.size), where=scale > 0)

    before, after = (float(np.abs(correlation(name)).mean()) for name in ("fluorescence", "corrected"))
    assert before > 0.2
    assert after <= share * before
    assert made["corrected"].values[:, made.brain].std() > 0.1 * made["fluorescence"].values[:, made.brain].std()
