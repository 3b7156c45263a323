"""Neuropil subtraction against its formula."""

import numpy as np
import pytest

from neurodyn.core.errors import DataError
from neurodyn.preprocess.neuropil import Neuropil, NeuropilParams


def run(workspace, **params):
    Neuropil(NeuropilParams(**params)).apply(workspace)
    return workspace[params.get("output", "corrected")][...]


@pytest.fixture
def channels():
    rng = np.random.default_rng(0)
    return {
        "fluorescence": rng.gamma(3, 80, (300, 7)).astype("f4"),
        "neuropil": rng.gamma(3, 60, (300, 7)).astype("f4"),
    }


def test_the_coefficient_times_the_surround_is_subtracted(make_workspace, channels):
    expected = channels["fluorescence"] - 0.7 * channels["neuropil"].astype("f8")
    np.testing.assert_allclose(run(make_workspace(**channels)), expected, rtol=1e-6, atol=1e-4)


def test_keep_mean_keeps_each_rois_mean_and_removes_the_same_change(make_workspace, channels):
    workspace = make_workspace(**channels)
    plain, kept = run(workspace), run(workspace, output="kept", keep_mean=True)
    np.testing.assert_allclose(kept.mean(axis=0), channels["fluorescence"].mean(axis=0), rtol=1e-5)
    shift = kept - plain
    np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=1e-3)


def test_a_planted_surround_vanishes(make_workspace, channels):
    cell = np.random.default_rng(1).gamma(2, 30, (300, 7))
    mixed = (cell + 0.6 * channels["neuropil"]).astype("f4")
    result = run(make_workspace(fluorescence=mixed, neuropil=channels["neuropil"]), coefficient=0.6)
    np.testing.assert_allclose(result, cell, atol=1e-3)


def test_unequal_shapes_are_refused(make_workspace, channels):
    with pytest.raises(DataError, match="differ in shape"):
        run(make_workspace(fluorescence=channels["fluorescence"], neuropil=channels["neuropil"][:, :3]))


def test_nan_in_the_surround_is_refused(make_workspace, channels):
    channels["neuropil"][7, 2] = np.nan
    with pytest.raises(DataError, match="'neuropil' is not finite in 1 of 7 ROIs"):
        run(make_workspace(**channels))
