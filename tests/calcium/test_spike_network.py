"""The spike network: what it computes does not depend on how it is computed, nor on the frame rate."""

import numpy as np
import pytest

from neurodyn.calcium import spike_network
from neurodyn.calcium.spike_inputs import EDGES, Scaled, finite_parts, surround
from neurodyn.calcium.spike_network import around_gaps
from neurodyn.calcium.spike_weights import load, save
from neurodyn.core.errors import DataError


def cell(rate: float, seconds: float = 120.0, seed: int = 0, noise: float = 0.05, tau: float = 0.7):
    """Poisson spikes, 1 per second, as ΔF/F sampled at a rate, and their times."""
    rng = np.random.default_rng(seed)
    spikes = np.sort(rng.uniform(0, seconds, int(seconds)))
    time = (np.arange(int(seconds * rate)) + 0.5) / rate
    after = time[:, None] - spikes
    calcium = np.where(after > 0, np.exp(-np.maximum(after, 0) / tau), 0).sum(axis=1)
    return (0.2 * calcium + noise * rng.normal(size=time.size) * np.sqrt(rate / 30)).astype(np.float32), spikes


@pytest.fixture(scope="module")
def network():
    return load()


def test_blocks_change_nothing(network, monkeypatch):
    trace, _ = cell(30.0)
    whole = network.expected([trace], 30.0)[0]
    monkeypatch.setattr(spike_network, "BLOCK", 333)
    np.testing.assert_allclose(network.expected([trace], 30.0)[0], whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rate", [5.0, 7.5, 15.0, 30.0, 59.0, 100.0, 170.0])
def test_it_follows_the_spikes_at_every_rate_without_a_shift(network, rate):
    trace, spikes = cell(rate)
    found = network.expected([trace], rate)[0]
    fired = np.histogram(spikes, np.arange(trace.size + 1) / rate)[0]
    lags = {
        lag: np.corrcoef(smooth(np.roll(found, lag), rate), smooth(fired, rate))[0, 1]
        for lag in (-round(0.3 * rate), 0, round(0.3 * rate))
    }
    assert max(lags, key=lags.get) == 0
    assert lags[0] > 0.75
    assert 0.3 < found.sum() / spikes.size < 3


def smooth(course: np.ndarray, rate: float) -> np.ndarray:
    width = max(1, round(0.4 * rate))
    return np.convolve(course, np.ones(width) / width, "same")


def test_the_unit_of_time_and_an_offset_of_the_baseline_change_nothing(network):
    trace, _ = cell(30.0)
    found = network.expected([trace], 30.0)[0]
    np.testing.assert_allclose(network.expected([trace + 3], 30.0)[0], found, rtol=2e-2, atol=2e-3)


def test_what_is_seen_are_means_over_intervals_of_time():
    rng = np.random.default_rng(0)
    trace = rng.normal(size=400).cumsum()
    seen = Scaled.of([trace], 20.0)
    places = np.array([100, 200, 300])
    found = surround(seen, 0, slice(0, 400))
    fine = np.repeat(seen.stretches[0].astype(float), 1000)  # piecewise constant, 50 µs apart
    for place in places:
        middle = place * 1000 + 500
        for column, (a, b) in enumerate(zip(EDGES[:-1], EDGES[1:], strict=True)):
            expected = fine[round(middle + a * 20000) : round(middle + b * 20000)].mean() / seen.amplitude
            assert found[place, column] == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_gaps_and_nan_frames_are_walls_and_stay(network):
    trace, _ = cell(30.0)
    trace[1000:1010] = np.nan
    found = around_gaps(network, trace, np.array([0, 2000]), 30.0)
    assert np.array_equal(np.isnan(found), np.isnan(trace))
    assert [(part.start, part.stop) for part in finite_parts(trace, np.array([0, 2000]))] == [
        (0, 1000), (1010, 2000), (2000, 3600),
    ]  # fmt: skip
    assert np.isnan(around_gaps(network, np.full(50, np.nan), np.array([0]), 30.0)).all()


def test_constant_traces_have_no_spikes_and_slow_ones_are_refused(network):
    assert not network.expected([np.full(300, 2.0)], 30.0)[0].any()
    with pytest.raises(DataError, match="frames per second are too few"):
        network.expected([np.zeros(300)], 1.0)


def test_weights_are_kept_and_another_file_is_refused(network, tmp_path):
    save(network, tmp_path / "w.safetensors")
    again = load(tmp_path / "w.safetensors")
    assert again.share == pytest.approx(network.share)
    trace, _ = cell(30.0, 20.0)
    np.testing.assert_array_equal(again.expected([trace], 30.0)[0], network.expected([trace], 30.0)[0])
    (tmp_path / "no.safetensors").write_bytes(b"no")
    with pytest.raises(DataError, match="holds no spike network"):
        load(tmp_path / "no.safetensors")
