"""Every simulator: valid recordings with truth, decided by the seed alone."""

import re

import numpy as np
import pytest

from neurodyn.core.files import sha256
from neurodyn.data.recording import Recording
from neurodyn.simulate import SIMULATORS

TRIALS = {
    "conditions": 4,
    "repeats": 3,
    "train_repeats": 2,
    "held_out": 2,
    "held_out_repeats": 1,
    "bins": 20,
    "cells": 5,
}
SMALL = {
    "widefield": {"trials": 3, "height": 16, "width": 12},
    "widefield_awake": {"trials": 3, "height": 16, "width": 12},
    "tuned": {"cells": 5, "repeats": 2},
    "two_photon": {"cells": 5, "repeats": 1},
    "lorenz": TRIALS,
    "chaotic_rnn": TRIALS,
    "rotations": TRIALS,
    "somata": {"active": 4, "silent": 2, "holes": 1, "height": 48, "width": 40, "diameter": 6, "duration": 10},
    "spirals": {"trials": 6},
    "navier_stokes": {"trials": 4, "size": 8, "interval": 1.0, "queries": 3},
    "miniscope": {"cells": 3, "blurred": 1, "height": 40, "width": 36, "duration": 12},
    "moving_texture": {"trials": 4, "height": 16, "width": 24, "patch": 4},
}
CASES = [(name, {}) for name in SIMULATORS.names()] + [("two_photon", {"movie": True, "height": 24, "width": 32})]
CASES += [("tuned", {"to": "contrast", "order": "blocks"}), ("tuned", {"to": "position"})]
CASES += [("lorenz", {"calcium": "hill", "recipe": "paper"}), ("spirals", {"sampling": "random"})]


def make(name, **params):
    simulator = SIMULATORS.get(name)
    return simulator(simulator.Params(**SMALL.get(name, {}), **params)).make()


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join([case[0], *map(str, case[1].values())]))
def case(request):
    return request.param


@pytest.fixture(scope="module")
def recording(case):
    """What the default seed gives, made once for all tests that only read it."""
    return make(case[0], **case[1])


@pytest.fixture(scope="module")
def path(recording, tmp_path_factory):
    return recording.save(tmp_path_factory.mktemp("made") / "a.zarr")


def test_makes_a_recording_with_truth_stimulus_and_history(recording):
    assert recording.table("truth") is not None
    assert (recording.stimulus["stop"].values <= recording.time[-1] + 1 / recording.rate_hz).all()
    assert recording.history[-1]["params"]["seed"] == 0
    assert all(np.isfinite(recording[v].values).all() for v in recording.variables)


def test_same_seed_same_bytes_other_seed_other_data(case, recording, path, tmp_path):
    name, extra = case
    assert sha256(make(name, seed=0, **extra).save(tmp_path / "a.zarr")) == sha256(path)
    other = make(name, seed=2, **extra)
    signal = "dff" if "dff" in other.variables else other.variables[0]
    assert not np.array_equal(recording[signal].values, other[signal].values)


def test_truth_survives_the_disk(recording, path):
    again = Recording.open(path)
    for group in ("truth", "stimulus"):
        for variable, values in recording.table(group).data_vars.items():
            np.testing.assert_array_equal(again.table(group)[variable].values, values.values)
    assert again.time == pytest.approx(recording.time)


@pytest.mark.parametrize("name", SIMULATORS.names())
def test_every_parameter_is_described_with_a_unit_or_a_plain_meaning(name):
    for key, field in SIMULATORS.get(name).Params.model_fields.items():
        assert field.description, key
        if re.search(r"_hz|radius|height|width|decay|rise|^on$|^off$", key):
            assert re.search(r"Hz|pixels|, s\b", field.description), key
