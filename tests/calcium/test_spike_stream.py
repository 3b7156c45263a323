"""The spike network on a stream: the same as on the whole recording, and nothing of what comes later than its delay."""

import numpy as np
import pytest

from neurodyn.calcium.spike_network import SpikeNetwork
from neurodyn.calcium.spike_stream import SpikeStream
from neurodyn.calcium.spike_weights import load
from neurodyn.core.errors import DataError
from tests.calcium.test_spike_network import cell


@pytest.fixture(scope="module")
def network() -> SpikeNetwork:
    return load(causal=True)


def traces(rate: float, seconds: float) -> np.ndarray:
    return np.stack([cell(rate, seconds, seed)[0] for seed in range(2)] + [np.zeros(int(seconds * rate), "f4")], axis=1)


@pytest.mark.parametrize(("rate", "pieces"), [(20.0, (1, 7, 400)), (7.5, (1, 3)), (100.0, (3, 11, 1000))])
def test_streamed_in_pieces_it_is_what_it_is_of_the_whole(network, rate, pieces):
    dff = traces(rate, 190.0)[:-1]
    whole = np.stack([network.expected([trace], rate)[0] for trace in dff.T], axis=1)
    first = round(150 * rate)  # what comes before is pushed at once: a frame at a time takes long
    for piece in pieces:
        stream = SpikeStream(network, dff, rate)
        starts = range(first, min(first + 30 * piece, len(dff)), piece)
        told = [stream.push(dff[:first]), *(stream.push(dff[start : start + piece]) for start in starts)]
        told += [stream.push(dff[starts[-1] + piece :]), stream.close()]
        found = np.concatenate(told)
        assert len(told[0]) >= first - stream.late - 1
        np.testing.assert_allclose(found, whole, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("rate", [7.5, 30.0, 100.0])
def test_no_frame_knows_of_what_comes_later_than_its_delay(network, rate):
    trace, _ = cell(rate, 100.0)
    stream = SpikeStream(network, trace[:, None], rate)
    assert stream.late / rate <= 0.1 + 1 / rate
    changed = trace.copy()
    place = round(80 * rate)
    changed[place:] += 5.0
    found, other = (network.expected([each], rate)[0] for each in (trace, changed))
    np.testing.assert_array_equal(found[: place - stream.late], other[: place - stream.late])
    assert not np.array_equal(found[place : place + 20], other[place : place + 20])


def test_it_follows_the_spikes(network):
    trace, spikes = cell(30.0, 300.0)
    found = network.expected([trace], 30.0)[0]
    fired = np.histogram(spikes, np.arange(trace.size + 1) / 30)[0]
    width = np.ones(12) / 12
    assert np.corrcoef(np.convolve(found, width), np.convolve(fired, width))[0, 1] > 0.75


def test_weights_that_see_all_that_comes_are_refused():
    with pytest.raises(DataError, match="cannot infer from a stream"):
        SpikeStream(load(), np.zeros((100, 1)), 30.0)
