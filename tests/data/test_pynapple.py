"""A recording as objects of pynapple: the same values at the same times, cells by their ids."""

import numpy as np
import pytest
import xarray as xr

from neurodyn.data.recording import Recording

TIME = np.arange(50) / 10
TRACES = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)


def recording(**more):
    rois = xr.Dataset(
        {"roi_id": ("roi", np.array(["a", "b", "c"])), "x": ("roi", [1.0, 2.0, 3.0]), "mask_x": ("mask", [1])}
    )
    behavior = xr.Dataset({"speed": ("time_0", np.arange(20.0))}, coords={"time_0": np.arange(20) / 4})
    stimulus = {"start": [0.5, 2.0], "stop": [1.0, 3.0], "contrast": [0.1, 0.9]}
    given = {"rate_hz": 10.0, "time": TIME, "rois": rois, "behavior": behavior, "stimulus": stimulus} | more
    return Recording.from_arrays({"dff": TRACES}, **given)


def test_values_times_and_ids_are_those_of_the_recording():
    found = recording().to_pynapple()
    assert list(found["dff"].columns) == ["a", "b", "c"]
    np.testing.assert_array_equal(found["dff"].d, TRACES)
    np.testing.assert_allclose(found["dff"].t, TIME)
    np.testing.assert_array_equal(found["dff"].get_info("x"), [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(found["speed"].d, np.arange(20.0))
    np.testing.assert_allclose(found["speed"].t, np.arange(20) / 4)
    np.testing.assert_allclose(found["stimulus"].start, [0.5, 2.0])
    np.testing.assert_array_equal(found["stimulus"].get_info("contrast"), [0.1, 0.9])
    inside = found["dff"].restrict(found["stimulus"])
    assert len(inside) == pytest.approx(6 + 11, abs=1)


def test_rois_without_ids_are_numbered_and_movies_are_tensors():
    plain = Recording.from_arrays({"dff": TRACES}, rate_hz=10.0).to_pynapple()
    assert list(plain["dff"].columns) == [0, 1, 2] and set(plain) == {"dff"}
    movie = np.ones((50, 4, 5), np.uint16)
    assert Recording.from_arrays({"fluorescence": movie}, rate_hz=10.0).to_pynapple()["fluorescence"].shape == (
        50,
        4,
        5,
    )
