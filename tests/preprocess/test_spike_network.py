"""The step spike_network: what it writes, gaps, NaN frames, weights of one's own, and units that look wrong."""

import numpy as np
import pytest

from neurodyn.calcium.spike_weights import load, save
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording
from neurodyn.preprocess.chain import chain_from_steps

RATE = 20.0


def recording(scale: float = 1.0, time: np.ndarray | None = None, nan: slice | None = None) -> Recording:
    rng = np.random.default_rng(0)
    frames = np.arange(1200)
    spikes = rng.poisson(1 / RATE, (frames.size, 3))
    kernel = np.exp(-frames[:100] / (0.7 * RATE))
    calcium = np.stack([np.convolve(each, kernel)[: frames.size] for each in spikes.T], axis=1)
    dff = (0.2 * calcium + 0.03 * rng.normal(size=calcium.shape)) * scale
    dff[:, 2] = 1.0
    if nan:
        dff[nan, 0] = np.nan
    return Recording.from_arrays({"dff": dff.astype("f4")}, rate_hz=RATE, time=time)


def run(source: Recording, path, **params) -> Recording:
    return Recording.open(chain_from_steps([{"step": "spike_network"} | params], "test").run(source, path / "out.zarr"))


def test_spikes_have_their_unit_and_noise_level_and_a_constant_cell_is_told(tmp_path, caplog):
    made = run(recording(), tmp_path)
    assert made["spikes"].attrs["units"] == "spikes, expected, per frame"
    assert made.table("qc")["spike_network_noise_level"].values[:2] == pytest.approx(0.64, abs=0.1)
    assert made["spikes"].values[:, :2].sum() > 20
    assert not made["spikes"].values[:, 2].any()
    assert "1 of 3 ROIs are constant or empty" in caplog.text
    assert "percent" not in caplog.text


def test_nan_frames_are_refused_or_stay(tmp_path):
    with pytest.raises(DataError):
        run(recording(nan=slice(100, 110)), tmp_path)
    made = run(recording(nan=slice(100, 110)), tmp_path, nan="nan")
    assert np.isnan(made["spikes"].values[100:110, 0]).all()
    assert np.isfinite(made["spikes"].values[:100, 0]).all()


def test_stretches_between_gaps_do_not_know_of_each_other(tmp_path):
    time = np.arange(1200) / RATE + np.where(np.arange(1200) >= 600, 30.0, 0.0)
    made = run(recording(time=time), tmp_path)
    whole = run(recording(), tmp_path / "whole")
    edge, far = slice(595, 605), slice(100, 200)
    assert not np.allclose(made["spikes"].values[edge, :2], whole["spikes"].values[edge, :2], atol=1e-4)
    np.testing.assert_allclose(made["spikes"].values[far, :2], whole["spikes"].values[far, :2], rtol=0.05, atol=0.02)


def test_percent_is_noticed(tmp_path, caplog):
    run(recording(scale=100.0), tmp_path)
    assert "is it in percent?" in caplog.text


def test_weights_of_ones_own_are_taken_and_named(tmp_path):
    shipped = load()
    save(type(shipped)(shipped.members[:1], 0.0), tmp_path / "mine.safetensors")
    made = run(recording(), tmp_path, weights=str(tmp_path / "mine.safetensors"))
    assert not np.allclose(made["spikes"].values, run(recording(), tmp_path / "theirs")["spikes"].values, atol=1e-3)
    assert made.history[-1]["params"]["weights"].endswith("mine.safetensors")


def test_slow_recordings_are_refused_before_anything_is_copied(tmp_path):
    slow = Recording.from_arrays({"dff": np.ones((300, 2), "f4")}, rate_hz=1.5)
    with pytest.raises(DataError, match="frames per second are too few"):
        run(slow, tmp_path)
    assert not (tmp_path / "out.zarr").exists()


def test_a_stretch_of_one_frame_is_inferred_too():
    trace = recording()["dff"].values[:, 0]
    found = load().expected([trace, trace[:1]], RATE)
    assert [each.size for each in found] == [trace.size, 1]
    assert np.isfinite(found[1]).all()


def test_rates_stand_beside_with_their_intervals(tmp_path):
    made = run(recording(), tmp_path)
    table, shipped = made.table("qc"), load()
    rates = made["spikes"].values.mean(axis=0) * RATE
    np.testing.assert_allclose(table["spike_network_rate"], rates, rtol=1e-4)
    np.testing.assert_allclose(table["spike_network_rate_high"], rates * np.exp(shipped.spread.absolute), rtol=1e-4)
    np.testing.assert_allclose(
        table["spike_network_relative_rate_low"],
        rates / np.median(rates[:2]) * np.exp(-shipped.spread.relative),
        rtol=1e-4,
    )


def test_causal_weights_know_nothing_of_what_comes_later(tmp_path):
    source = recording()
    time = np.arange(2400) / RATE
    long = np.concatenate([source["dff"].values] * 2)
    other = long.copy()
    other[2000:] += 1.0
    found, late = (
        run(Recording.from_arrays({"dff": each}, rate_hz=RATE, time=time), tmp_path / name, causal=True)
        for name, each in (("a", long), ("b", other))
    )
    assert found["spikes"].attrs["lookahead"] == pytest.approx(0.1)
    np.testing.assert_array_equal(found["spikes"].values[:1998, 0], late["spikes"].values[:1998, 0])
    assert not np.array_equal(found["spikes"].values[2000:, 0], late["spikes"].values[2000:, 0])
    with pytest.raises(ConfigError):
        run(source, tmp_path / "c", causal=True, weights="mine.safetensors")


def test_discrete_spikes_are_whole_and_rates_stay_those_expected(tmp_path):
    made, expected = run(recording(), tmp_path, discrete=True), run(recording(), tmp_path / "expected")
    spikes = made["spikes"].values
    assert made["spikes"].attrs["units"] == "spikes, discrete, per frame"
    assert np.array_equal(spikes, np.rint(spikes)) and spikes.any()
    np.testing.assert_array_equal(made.table("qc")["spike_network_rate"], expected.table("qc")["spike_network_rate"])
