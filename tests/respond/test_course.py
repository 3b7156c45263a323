"""Tuning to behaviour: against pynapple and simulated places, with shifts as the null."""

import numpy as np
import pytest
import xarray as xr

import neurodyn as nd
from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.metrics.tuning import spatial_information
from neurodyn.simulate.tuned import Tuned
from tests.respond.test_real import opened

FAST = {"shuffles": 99, "bootstraps": 100, "splits": 5}


@pytest.fixture(scope="module")
def track():
    return Tuned(Tuned.Params(to="position", repeats=30, evoked_rate=8.0, seed=2)).make()


def test_places_and_their_information_are_pynapples(track):
    nap = pytest.importorskip("pynapple")
    found = nd.respond(track, "position", variable="counts", bins=12, **FAST)
    frame = nap.TsdFrame(t=track.time, d=track["counts"].values.astype(float))
    position = nap.Tsd(t=track.time, d=track.table("behavior")["position"].values)
    theirs = nap.compute_tuning_curves(frame, position, bins=12)
    np.testing.assert_allclose(found.condition_position.values, theirs[theirs.dims[1]].values)
    np.testing.assert_allclose(found.tuning.values, theirs.values.T, atol=1e-9)
    own = spatial_information(found.tuning.values, found.number.values.astype(float))
    bits = nap.compute_mutual_information(theirs, rates=track["counts"].values.mean(axis=0))["bits/spike"].values
    np.testing.assert_allclose(own, bits, atol=1e-6)
    assert (found.spatial_information.values < own).all()  # what few spikes seem to tell of anything is taken off


@pytest.mark.parametrize("variable", ["dff", "counts"])
def test_place_cells_are_found_where_they_are(track, variable):
    found, truth = nd.respond(track, "position", variable=variable, **FAST), track.table("truth")
    tuned = truth["tuned"].values
    assert found.tuned.values[tuned].mean() > 0.8 and (found.tuned.values & ~tuned).sum() <= 3
    where = found.condition_position.values[found.preferred.values]
    assert np.median(np.abs(where - truth["centre"].values)[tuned]) < (12 if variable == "dff" else 6)  # calcium lags
    assert ("spatial_information" in found) == (variable == "counts")


def test_slow_traces_are_no_places():
    slow = Tuned(Tuned.Params(to="position", tuned=0.0, drift=0.3, repeats=30, cells=100, seed=4)).make()
    found = nd.respond(slow, "position", **FAST)
    assert np.mean(found.selective_p.values < 0.05) < 0.13 and found.tuned.values.sum() <= 2


def test_angles_and_names_of_behaviour(track):
    rng, time = np.random.default_rng(0), track.time
    heading = np.cumsum(rng.normal(0, 12, time.size)) % 360
    state = np.where(np.cumsum(rng.random(time.size) < 0.02) % 2, "run", "rest")
    traces = np.stack([np.exp(2 * (np.cos(np.deg2rad(heading - 120)) - 1)), 1.0 * (state == "run")], axis=1)
    traces += 0.3 * rng.normal(size=traces.shape)
    behavior = xr.Dataset({"heading": ("t", heading), "state": ("t", state)}, {"t": time})
    recording = Recording.from_arrays({"dff": traces}, time=time, rate_hz=track.rate_hz, behavior=behavior)
    found = nd.respond(recording, "heading", **FAST)
    assert found.tuned.values[0] and found.preferred_heading.values[0] == pytest.approx(120, abs=12)
    found = nd.respond(recording, "state", **FAST)
    assert found.tuned.values.tolist() == [False, True]
    assert found.condition.values[found.preferred.values[1]] == "run"


@pytest.mark.parametrize(
    ("values", "words"), [(np.full(200, np.nan), "no finite value"), (np.ones(200), "no two conditions to compare")]
)
def test_behaviour_that_tells_nothing_is_refused(values, words):
    behavior = xr.Dataset({"speed": ("t", values)}, {"t": np.arange(200) / 10})
    recording = Recording.from_arrays({"dff": np.zeros((200, 2))}, rate_hz=10.0, behavior=behavior)
    with pytest.raises(DataError, match=words):
        nd.respond(recording, "speed", **FAST)


def test_a_worm_knows_how_fast_it_goes(shared_data):
    source = shared_data / "flavell_worms" / "2022-07-27-45-data.h5"
    found = nd.respond(opened(source, "flavell-worm.yaml"), "velocity", bootstraps=100, splits=5)
    assert 0.15 < found.tuned.values.mean() < 0.6
