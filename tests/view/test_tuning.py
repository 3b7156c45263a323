"""What `neurodyn respond` found is shown beside the cells, and only where it is of these cells."""

import base64

import numpy as np
import pytest
import xarray as xr

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.respond.output import write_responses
from neurodyn.respond.settings import RespondConfig
from neurodyn.view import pack
from neurodyn.view.scene import open_scene, with_tuning
from neurodyn.view.tuning import Tuning
from tests.view.recordings import CELLS, RATE, saved, session, traces


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("tuning"))


@pytest.fixture(scope="module")
def responses(source):
    return write_responses(source, RespondConfig(target="direction", shuffles=200, bootstraps=100))


def floats(text):
    return np.frombuffer(base64.b64decode(text), "<f4")


def test_the_page_is_told_what_was_found(source, responses):
    scene = with_tuning(open_scene(source), responses)
    told, found = pack.about(scene)["tuning"], xr.open_zarr(responses / "responses.zarr", consolidated=False)
    assert told["labels"] == ["0", "90", "180"] and floats(told["places"]).tolist() == [0, 90, 180]
    assert told["target"] == "direction, degrees"
    np.testing.assert_allclose(floats(told["curves"]["mean"]).reshape(CELLS, 3), found["tuning"].values.T, rtol=1e-6)
    assert (floats(told["table"]["preferred"])[2:] == 0).all()  # what the traces were made for
    np.testing.assert_allclose(floats(told["table"]["q"]), found["selective_q"], rtol=1e-6)
    assert base64.b64decode(told["tuned"]) == found["tuned"].values.astype("u1").tobytes()
    assert pack.about(open_scene(source))["tuning"] is None


def test_conditions_that_are_names_have_no_places(source, responses):
    tuning = Tuning.of(responses, open_scene(source).recording)
    named = Tuning(tuning.found.assign_coords(condition_direction=("condition", ["a", "b", "c"])))
    assert named.places is None and named.target == "direction"
    grid = Tuning(tuning.found.assign_coords(condition_contrast=("condition", [0.1, 0.2, 0.3])))
    assert grid.places is None


def test_a_cell_without_data_prefers_nothing(source, responses):
    tuning = Tuning.of(responses, open_scene(source).recording)
    curves = tuning.found["tuning"].values.copy()
    curves[:, 1] = np.nan
    empty = Tuning(tuning.found.assign(tuning=(("condition", "roi"), curves)))
    assert np.flatnonzero(np.isnan(empty.columns["preferred"])).tolist() == [1]


def test_responses_of_other_cells_are_refused(source, responses, tmp_path):
    fewer = Recording.from_arrays({"dff": traces()[:, :4]}, rate_hz=RATE, session="small")
    with pytest.raises(DataError, match="not of these cells"):
        Tuning.of(responses, fewer)
    other = saved(tmp_path)
    with pytest.raises(DataError, match="holds no responses"):
        with_tuning(open_scene(other), tmp_path)
    maps = session().save(tmp_path / "maps.zarr")
    asked = write_responses(maps, RespondConfig(target="direction", variable="raw", shuffles=20, bootstraps=100, bin=8))
    with pytest.raises(DataError, match="maps"):
        with_tuning(open_scene(maps), asked)
    xr.Dataset({"unique": ("regressor", [0.1])}).to_zarr(tmp_path / "glm.zarr", zarr_format=3, consolidated=False)
    with pytest.raises(DataError, match="encoding models"):
        with_tuning(open_scene(other), tmp_path / "glm.zarr")
