"""Encoding models: known kernels and contributions come back, copies and drift get nothing, mistakes are told."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.io import loadmat

import neurodyn as nd
from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording
from neurodyn.respond.encoded import kernel_table
from neurodyn.respond.output import open_responses
from neurodyn.respond.population import reading, sentences
from neurodyn.respond.regressors import Basis
from tests.cli.conftest import neurodyn as neurodyn

RATE = 10.0
KERNEL = (1 - np.exp(-np.arange(30) / 1.5)) * np.exp(-np.arange(30) / 7)
GAIN = np.array([2.0, 0.5, 1.0, 0.0])  # of directions 0, 90, 180, 270
FAST = {"shuffles": 99, "bootstraps": 100}


def smooth(rng, size):
    course = np.convolve(rng.normal(size=size + 40), np.hanning(41), "valid")
    return course / course.std()


def made(cells=30, minutes=8, seed=0, noise=0.3, drift=0.3, counts=False):
    """A third of the cells follows directions, a third speed, a third neither; pupil is all but speed."""
    rng, size = np.random.default_rng(seed), round(60 * minutes * RATE)
    time = np.arange(size) / RATE
    onset = np.arange(5, time[-1] - 6, 4.0)
    onset = onset + rng.uniform(0, 1, onset.size)
    code = rng.integers(0, 4, onset.size)
    speed = smooth(rng, size)
    behavior = {
        "speed": speed,
        "pupil": 0.8 * speed + 0.6 * smooth(rng, size),
        "licks": smooth(rng, size),
        "copy": speed,
    }
    impulse = np.zeros(size)
    np.add.at(impulse, np.searchsorted(time, onset), GAIN[code])
    clean = np.zeros((size, cells))
    clean[:, : cells // 3] = np.convolve(impulse, KERNEL)[:size, None]
    clean[:, cells // 3 : 2 * cells // 3] = 0.7 * np.roll(speed, 2)[:, None]
    slow = np.cumsum(rng.normal(size=(size, cells)), axis=0)
    clean += drift * (slow - slow.mean(axis=0)) / slow.std(axis=0)
    traces = (
        {"counts": rng.poisson(np.exp(clean - 1.0))}
        if counts
        else {"dff": clean + noise * rng.normal(size=clean.shape)}
    )
    return Recording.from_arrays(
        traces,
        rate_hz=RATE,
        stimulus={"start": onset, "stop": onset + 2, "direction": 90.0 * code},
        behavior=xr.Dataset({name: ("t", values) for name, values in behavior.items()}, {"t": time}),
    )


@pytest.fixture(scope="module")
def found():
    return nd.respond(made(), glm="direction,speed,pupil", **FAST)


def test_kernels_come_back(found):
    table = kernel_table(found).query("regressor == 'direction' and roi < 10")
    truth = (
        np.interp(table.time, np.arange(30) / RATE, KERNEL, right=0) * GAIN[table.level.astype(float).astype(int) // 90]
    )
    each = [np.corrcoef(truth[table.roi == cell], table.kernel[table.roi == cell])[0, 1] for cell in range(10)]
    assert np.median(each) > 0.93 and min(each) > 0.9
    assert np.mean((table.kernel_low <= truth + 0.05) & (table.kernel_high >= truth - 0.05)) > 0.9
    speed = kernel_table(found).query("regressor == 'speed' and 10 <= roi < 20").groupby("time").kernel.mean()
    assert abs(speed.idxmax() - 0.2) <= 0.26


def test_each_cell_is_given_what_it_was_made_of(found):
    encodes, unique = found.encodes.values, found.unique.values
    assert encodes[0, :10].all() and encodes[1, 10:20].all()
    assert encodes[0, 10:].sum() <= 2 and encodes[1, 20:].sum() <= 1 and encodes[2].sum() <= 1
    assert np.abs(unique[2]).max() < 0.02 and np.abs(unique[:, 20:]).max() < 0.03
    signal, noise = 0.7**2, 0.3**2  # drift counts for nothing
    assert found.explained.values[10:20].mean() == pytest.approx(signal / (signal + noise), abs=0.12)
    assert (found.alone.values[2, 10:20] > 0.3).all()  # pupil tells of speed, but nothing that speed does not
    assert (found.unique_low.values <= unique).all() and (unique <= found.unique_high.values).all()


def test_a_copy_takes_all_that_was_unique():
    found = nd.respond(made(cells=6), glm="speed,copy", **FAST)
    assert np.abs(found.unique.values).max() < 0.01 and not found.encodes.values.any()
    assert (found.alone.values[:, 2:4] > 0.5).all()


def test_counts_are_poisson():
    found = nd.respond(made(cells=9, minutes=8, counts=True), glm="direction,speed", **FAST)
    assert found.attrs["family"] == "poisson" and found.attrs["units"] == "log rate"
    assert found.encodes.values[0, :3].all() and found.encodes.values[1, 3:6].all()
    assert found.encodes.values[:, 6:].sum() <= 1 and (found.unique.values[1, 3:6] > 0.1).all()
    table = kernel_table(found).query("regressor == 'direction' and roi < 3 and level == '0'")
    truth = np.interp(table.time, np.arange(30) / RATE, KERNEL, right=0) * GAIN[0]
    assert np.corrcoef(truth, table.kernel)[0, 1] > 0.85


def test_events_beside_a_column_leave_it_what_differs():
    found = nd.respond(made(cells=6), glm="events,direction", **FAST)
    assert (found.unique.values[:, :2] > 0.05).all() and found.encodes.values[:, :2].all()


def test_drift_and_regular_events_are_no_code():
    rng = np.random.default_rng(1)
    size, start = 6000, 5 + 4.0 * np.arange(145)
    slow = np.cumsum(rng.normal(size=(size, 100)), axis=0)
    traces = slow / slow.std(axis=0) + 0.3 * rng.normal(size=slow.shape)
    speed = xr.Dataset({"speed": ("t", np.cumsum(rng.normal(size=size)))}, {"t": np.arange(size) / RATE})
    stimulus = {"start": start, "stop": start + 2, "direction": rng.choice([0.0, 90.0], start.size)}
    recording = Recording.from_arrays({"dff": traces}, rate_hz=RATE, stimulus=stimulus, behavior=speed)
    found = nd.respond(recording, glm="direction,speed", **FAST)
    assert (np.mean(found.p.values < 0.05, axis=1) < 0.13).all() and found.encodes.values.sum() <= 2


def test_regular_events_in_rounds_are_told_from_each_other_and_from_nothing():
    rng, size = np.random.default_rng(2), 6000
    start, code = 5 + 4.0 * np.arange(144), np.arange(144) % 4
    impulse = np.zeros((size, 30))
    impulse[np.round(start * RATE).astype(int), :10] = GAIN[code][:, None]
    impulse[np.round(start * RATE).astype(int), 10:20] = 1.0
    traces = np.stack([np.convolve(one, KERNEL)[:size] for one in impulse.T], axis=1) + 0.5 * rng.normal(
        size=(size, 30)
    )
    stimulus = {"start": start, "stop": start + 2, "direction": 90.0 * code}
    found = nd.respond(
        Recording.from_arrays({"dff": traces}, rate_hz=RATE, stimulus=stimulus), glm="events,direction", **FAST
    )
    events, direction = found.encodes.values
    assert events[:20].all() and direction[:10].all() and events[20:].sum() + direction[10:].sum() <= 2
    assert "signs of single events" in found.attrs["null"] and "within each round" in found.attrs["null"]
    stimulus["direction"] = np.sort(stimulus["direction"])
    found = nd.respond(
        Recording.from_arrays({"dff": traces}, rate_hz=RATE, stimulus=stimulus), glm="events,direction", **FAST
    )
    assert np.isnan(found.p.values[1]).all() and "cannot be told from drift" in sentences(found)[2]


def test_frames_without_behaviour_and_cells_without_frames_are_left_out():
    whole = made(cells=6)
    behavior, traces = whole.table("behavior").copy(deep=True), whole["dff"].values.copy()
    behavior["speed"].values[:200] = np.nan
    traces[300:310, 4], traces[:, 5] = np.nan, 1.0
    told = {"rate_hz": RATE, "stimulus": dict(whole.stimulus.data_vars), "behavior": behavior}
    found = nd.respond(Recording.from_arrays({"dff": traces}, **told), glm="direction,speed", **FAST)
    assert np.isnan(found.explained.values).tolist() == [False] * 4 + [True] * 2
    assert not found.encodes.values[:, 4:].any() and found.encodes.values[1, 2:4].all()
    assert int(found.attrs["frames"].split()[0]) < 4600 and "2 cells lack frames" in sentences(found)[-1]


def test_angles_and_names_of_behaviour_are_regressors():
    rng, size = np.random.default_rng(0), 4800
    heading, state = np.cumsum(rng.normal(0, 20, size)) % 360, np.cumsum(rng.random(size) < 0.02) % 2
    traces = np.stack([np.cos(np.deg2rad(heading - 120)), state], axis=1) + 0.3 * rng.normal(size=(size, 2))
    words = np.array(["rest", "run"])[state]
    behavior = xr.Dataset({"heading": ("t", heading), "state": ("t", words)}, {"t": np.arange(size) / RATE})
    recording = Recording.from_arrays({"dff": traces}, rate_hz=RATE, behavior=behavior)
    found = nd.respond(recording, glm={"regressors": "heading,state", "basis": "box"}, **FAST)
    assert found.encodes.values.tolist() == [[True, False], [False, True]]
    assert list(dict.fromkeys(found.kernel_level.values)) == ["cosine", "sine", "rest", "run"]


def test_a_movie_gives_what_its_pixels_give_as_traces():
    cells = made(cells=6, minutes=5)
    told = {"rate_hz": RATE, "stimulus": dict(cells.stimulus.data_vars), "behavior": cells.table("behavior")}
    movie = Recording.from_arrays({"dff": cells["dff"].values.reshape(-1, 2, 3).astype(np.float32)}, **told)
    one, other = (nd.respond(each, glm="direction,speed", **FAST) for each in (cells, movie))
    assert other.unique.dims == ("regressor", "y", "x")
    np.testing.assert_allclose(other.unique.values.reshape(2, 6), one.unique.values, atol=1e-4)


@pytest.mark.parametrize("kind", ["cosine", "box"])
def test_bumps_are_one_together(kind):
    basis = Basis(-1.0, 2.0, 0.5, kind)
    np.testing.assert_allclose(basis(np.arange(-1, 1.99, 0.01)).sum(axis=-1), 1, atol=1e-6)
    assert not basis(np.array([-1.1, 2.0])).any()


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"glm": "direction,sped"}, DataError, "Did you mean 'speed'"),
        ({"glm": "speed,speed"}, ConfigError, "names a regressor twice"),
        ({"glm": "speed", "window": [0, 1]}, ConfigError, "two questions"),
        ({"glm": "speed", "target": "direction"}, ConfigError, "A glm and target are two questions"),
        ({"glm": {"regressors": "speed", "folds": 20}}, DataError, "too short"),
        ({"glm": {"regressors": "speed", "family": "poisson"}}, ConfigError, "below 0 are no counts"),
        ({"glm": {"regressors": "speed", "lags": [1, 0]}}, ConfigError, "after it begins"),
    ],
)
def test_mistakes_are_told(settings, error, words):
    with pytest.raises(error, match=words):
        nd.respond(made(cells=3, minutes=4), **settings)


def test_the_command_writes_tables(neurodyn, tmp_path):
    path = made(cells=6, minutes=4).save(tmp_path / "a.zarr")
    outcome = neurodyn("respond", path, "--glm", "direction,speed", "--shuffles", "99", "-o", tmp_path / "out")
    assert outcome.code == 0 and "encode speed" in outcome.err and "Null: 99 draws" in outcome.err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "cells.csv", "contributions.csv", "kernels.csv", "respond.json", "responses.zarr",
    ]  # fmt: skip
    stored = open_responses(tmp_path / "out")
    rows = pd.read_csv(tmp_path / "out" / "contributions.csv")
    assert rows["unique"].tolist() == pytest.approx(
        stored["unique"].transpose("roi", "regressor").values.ravel().tolist()
    )
    cells = pd.read_csv(tmp_path / "out" / "cells.csv")
    assert cells.q_speed.tolist() == pytest.approx(stored["q"].values[1].tolist())
    assert (
        json.loads((tmp_path / "out" / "respond.json").read_text())["config"]["glm"]["regressors"] == "direction,speed"
    )
    assert any("Held out" in line for line in reading(stored))
    assert neurodyn("respond", path, "--glm", "direction", "--target", "speed").code == 2
    assert neurodyn("respond", path, "--glm", "direction,speed", "--shuffles", "99", "-o", tmp_path / "a.mat").code == 0
    struct = loadmat(tmp_path / "a.mat", simplify_cells=True)["responses"]
    np.testing.assert_allclose(struct["unique"], stored["unique"].values)
    assert struct["regressor"].tolist() == ["direction", "speed"]
