"""What the command writes: tables, trials, one file where one is asked for, and nothing where it cannot."""

import json

import numpy as np
import pandas as pd
import pytest
from pynwb import NWBHDF5IO, validate
from scipy.io import loadmat

import neurodyn as nd
from neurodyn.data.recording import Recording
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.read import read
from neurodyn.respond.output import cell_table, open_responses, tables_of
from neurodyn.simulate.tuned import Tuned
from tests.cli.conftest import neurodyn as neurodyn

FAST = ["--shuffles", "99", "--set", "bootstraps=100", "--set", "splits=5"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    recording = Tuned(Tuned.Params(cells=12, repeats=6, seed=1)).make()
    return recording.save(tmp_path_factory.mktemp("respond") / "cells.zarr")


def test_a_folder_holds_tables_and_trials(path, neurodyn, tmp_path):
    outcome = neurodyn("respond", path, "--target", "direction", *FAST, "-o", tmp_path / "out")
    assert outcome.code == 0 and outcome.out.strip() == str(tmp_path / "out")
    assert "cells are tuned" in outcome.err and "Null of tuning" in outcome.err
    found = nd.respond(path, "direction", trials=True, shuffles=99, bootstraps=100, splits=5)
    stored = open_responses(tmp_path / "out")
    np.testing.assert_array_equal(stored["trials"].values, found["trials"].values)
    np.testing.assert_array_equal(stored["selective_p"].values, found["selective_p"].values)
    cells = pd.read_csv(tmp_path / "out" / "cells.csv")
    assert len(cells) == 12 and cells.tuned.tolist() == found.tuned.values.tolist()
    assert cells.selective_q.tolist() == pytest.approx(found.selective_q.values.tolist())
    assert len(pd.read_csv(tmp_path / "out" / "tuning.csv")) == 12 * 8
    assert json.loads((tmp_path / "out" / "respond.json").read_text())["config"]["target"] == "direction"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "cells.csv", "respond.json", "responses.zarr", "tuning.csv",
    ]  # fmt: skip


def test_one_file_where_one_is_asked_for(path, neurodyn, tmp_path):
    for name in ("a.csv", "a.mat", "a.zarr"):
        assert neurodyn("respond", path, "--target", "direction", *FAST, "-o", tmp_path / name).code == 0
    table = cell_table(open_responses(tmp_path / "a.zarr"))
    assert pd.read_csv(tmp_path / "a.csv").preferred.astype(str).tolist() == table.preferred.astype(str).tolist()
    struct = loadmat(tmp_path / "a.mat", simplify_cells=True)["responses"]
    np.testing.assert_allclose(struct["tuning"], open_responses(tmp_path / "a.zarr")["tuning"].values)
    assert struct["about_target"] == "direction"


@pytest.mark.parametrize("question", [["--target", "direction"], ["--glm", "events,direction"]])
def test_an_nwb_file_is_the_recording_with_its_responses(question, path, neurodyn, tmp_path):
    out, found = tmp_path / "a.nwb", tmp_path / "found.zarr"
    more = ["--shuffles", "99", "--set", "bootstraps=100"]
    assert neurodyn("respond", path, *question, *more, "-o", out).code == 0
    neurodyn("respond", path, *question, *more, "-o", found)
    responses = open_responses(found)
    assert [str(one.message) for one in validate(path=str(out))] == []
    with NWBHDF5IO(out, "r") as io:
        module = io.read().processing["responses"]
        for name, table in tables_of(responses).items():
            theirs = module[name].to_dataframe()
            assert set(theirs.columns) == set(table.columns) and len(theirs) == len(table)
            numbers = table.select_dtypes("number").columns
            np.testing.assert_allclose(theirs[numbers].to_numpy(), table[numbers].to_numpy())
        if "response" in responses:
            series = module["event_responses"]
            np.testing.assert_allclose(series.data[:], responses["response"].values)
            np.testing.assert_allclose(series.timestamps[:], responses["start"].values)
    again, source = read(out, ReadOptions()), Recording.open(path)
    np.testing.assert_array_equal(again["dff"].values, source["dff"].values)
    assert again.stimulus.equals(source.stimulus)


def test_the_same_seed_gives_the_same_bytes(path, neurodyn, tmp_path):
    for name in ("a.csv", "b.csv"):
        neurodyn("respond", path, "--target", "direction", *FAST, "-o", tmp_path / name)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--target", "directoin"], 3, "Did you mean 'direction'"),
        (["--window", "1"], 2, "Expected two numbers"),
        (["--target", "direction", "-o", "a.pdf"], 2, ".csv, .mat, .nwb, .zarr"),
        (["--target", "direction", "--set", "shufles=3"], 2, "Did you mean 'shuffles'"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_written(path, neurodyn, words, code, said, monkeypatch):
    monkeypatch.chdir(path.parent)
    before = sorted(p.name for p in path.parent.iterdir())
    for more in ([], ["--dry-run"]):
        outcome = neurodyn("respond", path, *words, *more)
        assert outcome.code == code and said in outcome.err
    assert sorted(p.name for p in path.parent.iterdir()) == before


def test_a_recording_without_events_is_told_so(neurodyn, tmp_path):
    Recording.from_arrays({"dff": np.zeros((100, 2))}, rate_hz=10.0).save(tmp_path / "a.zarr")
    outcome = neurodyn("respond", tmp_path / "a.zarr")
    assert outcome.code == 3 and "no events to respond to" in outcome.err
