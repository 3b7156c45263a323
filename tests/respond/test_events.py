"""Aligned trials, responses and tuning to stimuli: against pynapple, hand-made cells and simulated truth."""

import numpy as np
import pytest
import xarray as xr

import neurodyn as nd
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.pynapple import responses_to_pynapple
from neurodyn.data.recording import Recording
from neurodyn.simulate.tuned import Tuned

FAST = {"shuffles": 400, "bootstraps": 100, "splits": 10}
RNG = np.random.default_rng(0)


def made(directions=8, repeats=6, cells=3, **more):
    """Cell 0 answers to one direction with 1, the others are noise; directions at random."""
    label = RNG.permutation(np.tile(np.arange(directions) * 360.0 / directions, repeats))
    start = 2.0 + 4.0 * np.arange(label.size)
    time = np.arange(int(10 * (start[-1] + 4))) / 10
    traces = 0.2 * RNG.normal(size=(time.size, cells))
    for at, one in zip(start, label, strict=True):
        traces[(time >= at) & (time < at + 2), 0] += one == 90.0
    stimulus = {"start": start, "stop": start + 2, "direction": label} | more
    return Recording.from_arrays({"dff": traces}, rate_hz=10.0, stimulus=stimulus)


def test_trials_are_pynapples():
    nap = pytest.importorskip("pynapple")
    recording = made()
    found = nd.respond(recording, "direction", trials=True, baseline="none", before=1.0, after=3.0, **FAST)
    frame = nap.TsdFrame(t=recording.time, d=recording["dff"].values)
    there = nap.compute_perievent(frame, nap.Ts(found.start.values), (-1.0, 3.0))
    theirs = there.restrict(nap.IntervalSet(-1.01, 2.95))
    np.testing.assert_allclose(found.time.values, theirs.t, atol=1e-9)
    np.testing.assert_allclose(found.trials.values, np.moveaxis(theirs.d, 1, 0), atol=1e-6)
    given = responses_to_pynapple(found)
    np.testing.assert_allclose(given["trials"].d, theirs.d, atol=1e-6)
    np.testing.assert_allclose(given["trials"].t, theirs.t, atol=1e-9)
    assert given["average"].shape == (40, 8, 3) and given["tuning"].shape == (3, 8) and len(given["events"]) == 48


def test_tuning_is_pynapples_mean_over_epochs():
    nap = pytest.importorskip("pynapple")
    recording = made()
    found = nd.respond(recording, "direction", baseline="none", **FAST)
    frame, table = nap.TsdFrame(t=recording.time, d=recording["dff"].values), recording.stimulus
    epochs = {
        float(angle): nap.IntervalSet(*(table[name].values[table["direction"].values == angle] + shift
                                        for name, shift in (("start", -1e-6), ("stop", -1e-6))))
        for angle in found.condition_direction.values
    }  # fmt: skip
    theirs = nap.compute_response_per_epoch(frame, epochs)
    np.testing.assert_allclose(found.tuning.values, theirs.values.T, atol=1e-6)


def test_a_cell_that_answers_is_found_with_its_direction_and_latency():
    found = nd.respond(made(), "direction", **FAST)
    assert found.responsive.values.tolist() == [True, False, False]
    assert found.tuned.values.tolist() == [True, False, False]
    assert found.preferred_direction.values[0] == pytest.approx(90, abs=5)
    assert found.tuning.sel(roi=0, condition="90").item() == pytest.approx(1, abs=0.1)
    assert found.dsi.values[0] > 0.8 and found.osi.values[0] > 0.8
    assert abs(found.latency.values[0]) < 0.15
    assert (found.tuning_low <= found.tuning).all() and (found.tuning <= found.tuning_high).all()


def test_orientations_come_from_directions():
    found = nd.respond(made(), "direction%180", **FAST)
    assert found.sizes["condition"] == 4 and found.tuned.values[0]
    assert found.preferred_direction.values[0] == pytest.approx(90, abs=6)


def test_events_alone_need_no_column():
    found = nd.respond(made(), **FAST)
    assert found.condition.values.tolist() == ["all events"] and "selective_p" not in found
    assert found.responsive.values[0]


def test_two_columns_are_a_grid():
    recording = made()
    table = {str(name): column.values for name, column in recording.stimulus.data_vars.items()}
    seen = [np.sum(table["direction"][:k] == one) for k, one in enumerate(table["direction"])]
    table["contrast"] = np.array([0.1, 1.0])[np.array(seen) % 2]
    grid = Recording.from_arrays({"dff": recording["dff"].values}, rate_hz=10.0, stimulus=table)
    found = nd.respond(grid, "direction,contrast", **FAST)
    assert found.sizes["condition"] == 16 and "direction_osi" in found
    assert set(found.condition_contrast.values) == {0.1, 1.0}


def test_a_number_with_many_values_is_binned():
    found = nd.respond(made(speed=RNG.uniform(0, 10, 48)), "speed", **FAST)
    assert found.sizes["condition"] == 8 and found.number.values.tolist() == [6] * 8


def test_the_order_of_events_does_not_matter():
    recording = made()
    order = RNG.permutation(48)
    mixed = {str(name): column.values[order] for name, column in recording.stimulus.data_vars.items()}
    again = Recording.from_arrays({"dff": recording["dff"].values}, rate_hz=10.0, stimulus=mixed)
    xr.testing.assert_equal(nd.respond(recording, "direction", **FAST), nd.respond(again, "direction", **FAST))


def test_lost_frames_take_their_trials_out_alone():
    recording = made()
    traces = recording["dff"].values.copy()
    traces[15:45, 1] = np.nan  # the first trial of one cell
    lost = Recording.from_arrays({"dff": traces}, rate_hz=10.0, stimulus=dict(recording.stimulus.data_vars))
    before, after = (nd.respond(one, "direction", **FAST) for one in (recording, lost))
    assert np.isnan(after.response.values[0, 1]) and np.isfinite(after.response.values[1:, 1]).all()
    np.testing.assert_array_equal(before.tuning.values[:, [0, 2]], after.tuning.values[:, [0, 2]])
    assert np.isfinite(after.selective_p.values).all()


def test_a_movie_gives_what_its_pixels_give_as_traces():
    recording = made(cells=4)
    movie = recording["dff"].values.reshape(-1, 2, 2).astype(np.float32)
    told = dict(recording.stimulus.data_vars)
    movie = Recording.from_arrays({"dff": movie}, rate_hz=10.0, stimulus=told)
    one, other = (nd.respond(each, "direction", **FAST) for each in (recording, movie))
    np.testing.assert_allclose(one.selective_p.values, other.selective_p.values.ravel())
    np.testing.assert_allclose(one.response.values, other.response.values.reshape(48, 4), atol=1e-6)
    patch = nd.respond(movie, "direction", bin=2, **FAST)
    mean = one.response.values.mean(axis=1)
    np.testing.assert_allclose(patch.response.values[:, 0, 0], mean, atol=1e-6)


def test_the_window_is_found_where_the_population_responds():
    recording = made()
    on = np.zeros(recording.time.size)
    for start in recording.stimulus["start"].values:
        on[(recording.time >= start + 0.5) & (recording.time < start + 2.5)] = 1  # half a second late
    traces = on[:, None] + recording["dff"].values[:, 1:]
    late = Recording.from_arrays({"dff": traces}, rate_hz=10.0, stimulus=dict(recording.stimulus.data_vars))
    first, stop = nd.respond(late, "direction", window="found", **FAST).attrs["window"]
    assert (first, stop) == pytest.approx((0.5, 2.5), abs=0.35)


def test_peak_and_area_are_of_the_same_window():
    recording = made()
    mean, area, peak = (nd.respond(recording, "direction", measure=m, **FAST) for m in ("mean", "area", "peak"))
    np.testing.assert_allclose(area.response.values, 2 * mean.response.values, rtol=1e-5)
    assert (peak.response.values > mean.response.values).all()


def test_simulated_cells_are_found_as_they_were_made():
    recording = Tuned(Tuned.Params(seed=1, drift=0.1)).make()
    found, truth = nd.respond(recording, "direction", **FAST), recording.table("truth")
    assert truth is not None
    tuned = truth["tuned"].values
    assert found.tuned.values[tuned].mean() > 0.9 and (found.tuned.values & ~tuned).sum() <= 3
    apart = np.deg2rad(found.preferred_direction.values - truth["preferred_direction"].values)[tuned]
    assert np.median(np.abs(np.rad2deg(np.angle(np.exp(1j * apart))))) < 10


@pytest.mark.parametrize("order", ["random", "cycle", "blocks"])
def test_drift_is_no_tuning_in_any_order(order):
    made_so = {"order": order, "drift": 0.3, "gain_drift": 0.5, "tuned": 0.0, "spontaneous_rate": 1.0}
    found = nd.respond(Tuned(Tuned.Params(seed=3, cells=100, **made_so)).make(), "direction", **FAST)
    assert not found.tuned.values.any() and np.mean(found.selective_p.values < 0.05) < 0.12


def test_one_block_of_each_condition_cannot_be_told_from_drift():
    recording = made()
    table = {str(k): v.values for k, v in recording.stimulus.data_vars.items()}
    table["direction"] = np.sort(table["direction"])
    sorted_ = Recording.from_arrays({"dff": recording["dff"].values}, rate_hz=10.0, stimulus=table)
    found = nd.respond(sorted_, "direction", **FAST)
    assert np.isnan(found.selective_p.values).all() and not found.tuned.values.any()
    assert "cannot tell a response from drift" in found.attrs["null"]


@pytest.mark.parametrize(
    ("target", "settings", "error", "words"),
    [
        ("directoin", {}, DataError, "Did you mean 'direction'"),
        ("direction,start,stop", {}, ConfigError, "cannot be one question"),
        ("unique", {}, DataError, "no two conditions"),
        ("direction", {"window": [90.0, 91.0], "after": 2.0}, DataError, "No frame lies"),
        ("direction", {"variable": "spikes"}, DataError, "no variable 'spikes'"),
        ("direction", {"window": [1, 0]}, ConfigError, "after it begins"),
    ],
)
def test_mistakes_are_told(target, settings, error, words):
    recording = made(unique=np.array([f"n{k}" for k in range(48)]))
    with pytest.raises(error, match=words):
        nd.respond(recording, target, **settings)


def test_no_events_is_said():
    plain = Recording.from_arrays({"dff": np.zeros((100, 2))}, rate_hz=10.0)
    with pytest.raises(DataError, match="no events to respond to"):
        nd.respond(plain)
