"""Real recordings: gratings in V1, and what labels without meaning make of them; places in the hippocampus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import neurodyn as nd
from neurodyn.core.config import load_yaml, resolve, validate
from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.read import read
from neurodyn.respond.population import shares

SOURCES = Path(__file__).resolve().parents[2] / "examples" / "sources"
FAST = {"bootstraps": 100, "splits": 5}


def opened(path: Path, layout: str) -> Recording:
    return read(path, validate(ReadOptions, resolve([load_yaml(SOURCES / layout)]), prefix=("source",)))


def tuned(found: xr.Dataset):
    return next(share for share in shares(found) if share.name == "tuned")


@pytest.fixture(scope="module")
def gratings(shared_data):
    folder = shared_data / "park_v1_gratings"
    names = ("230804_mrcuts27_fov3", "230809_mrcuts28_fov4")
    return [opened(folder / f"{name}.npz", "park-gratings.yaml") for name in names]


def test_gratings_tune_most_cells_of_one_session_and_few_of_the_other(gratings):
    few, many = (tuned(nd.respond(one, "direction", **FAST)) for one in gratings)
    assert many.count / many.of > 0.6 and many.low > few.high
    assert few.low < 0.1


def test_shuffled_labels_tune_no_cell(gratings):
    rng = np.random.default_rng(0)
    for one in gratings:
        table = {str(name): column.values for name, column in one.stimulus.data_vars.items()}
        for _ in range(3):
            table["direction"] = rng.permutation(table["direction"])
            told = {"time": one.time, "rate_hz": one.rate_hz, "stimulus": table}
            found = nd.respond(Recording.from_arrays({"dff": one["dff"].variable}, **told), "direction", **FAST)
            assert tuned(found).low == 0.0 or tuned(found).count <= 1
            assert np.mean(found["selective_p"].values < 0.05) < 0.16


def test_the_hippocampus_has_place_cells(shared_data):
    from scipy.io import loadmat

    folder = shared_data / "zivlab_hippocampus"
    events, places = (
        loadmat(folder / f"C8M2_{name}.mat")[name].reshape(-1)[0] for name in ("spike_train", "stimulus_trace")
    )
    time = np.arange(len(events)) / 10.0
    behavior = xr.Dataset({"position": ("t", places.ravel().astype(float))}, {"t": time})
    recording = Recording.from_arrays({"events": events}, rate_hz=10.0, behavior=behavior)
    found = nd.respond(recording, "position", shuffles=199, **FAST)
    assert tuned(found).low > 0.25 and found["spatial_information"].values[found["tuned"].values].mean() > 0.5
    mirrored = behavior.assign(position=("t", behavior["position"].values[::-1].copy()))
    unrelated = Recording.from_arrays({"events": events}, rate_hz=10.0, behavior=mirrored)
    assert tuned(nd.respond(unrelated, "position", shuffles=199, **FAST)).high < 0.1


def test_a_recording_without_stimulus_is_told_so(shared_data):
    fish = opened(shared_data / "triplett_zebrafish" / "zf_20170215-f3.mat", "triplett-zebrafish.yaml")
    with pytest.raises(DataError, match="no events to respond to"):
        nd.respond(fish)
    with pytest.raises(DataError, match="neither stimulus nor behaviour"):
        nd.respond(fish, "direction")
