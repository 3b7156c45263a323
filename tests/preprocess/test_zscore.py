"""Z-scores against numpy, and without a look at the test part."""

import logging

import numpy as np
import pytest

from neurodyn.core.errors import DataError
from neurodyn.preprocess.detrend import Detrend, DetrendParams
from neurodyn.preprocess.zscore import ZScore, ZScoreParams


def run(workspace, **params):
    ZScore(ZScoreParams(**params)).apply(workspace)
    return workspace["zscore"][...]


@pytest.mark.parametrize("shape", [(500, 9), (500, 6, 5)])
def test_it_equals_numpy_on_the_whole_array(make_workspace, shape):
    data = (1e4 + np.random.default_rng(0).normal(size=shape)).astype("f4")
    wide = data.astype("f8")
    result = run(make_workspace(dff=data, chunk=64, tile=3))
    np.testing.assert_allclose(result, (wide - wide.mean(0)) / wide.std(0), atol=1e-5)


def test_fit_until_never_looks_past_its_share(make_workspace):
    data = np.random.default_rng(1).normal(size=(300, 4)).astype("f4")
    changed = data.copy()
    changed[180:] *= 50
    first, second = (run(make_workspace(dff=d, chunk=64), fit_until=0.6) for d in (data, changed))
    assert np.array_equal(first[:180], second[:180])
    np.testing.assert_allclose(first[:180].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(first[:180].std(0), 1, atol=1e-6)


def test_constant_rois_become_zero_and_are_counted(make_workspace, caplog):
    data = np.random.default_rng(2).normal(size=(200, 3)).astype("f4")
    data[:, 1] = 7.3
    with caplog.at_level(logging.WARNING):
        result = run(make_workspace(dff=data))
    assert (result[:, 1] == 0).all()
    assert "1 of 3 ROIs are constant" in caplog.text


def test_outside_the_brain_is_zero_whatever_stands_there(make_workspace):
    data = np.random.default_rng(3).normal(size=(100, 3, 3)).astype("f4")
    brain = np.ones((3, 3), dtype=bool)
    brain[0, 0] = brain[1, 2] = False
    data[:, 0, 0], data[:, 1, 2] = np.nan, np.inf
    result = run(make_workspace(dff=data, brain=brain))
    assert (result[:, ~brain] == 0).all()
    assert np.isfinite(result).all()


def test_nan_and_too_short_a_share_are_refused(make_workspace):
    data = np.random.default_rng(4).normal(size=(100, 3)).astype("f4")
    with pytest.raises(DataError, match="too few"):
        run(make_workspace(dff=data), fit_until=0.01)
    data[5, 0] = np.nan
    with pytest.raises(DataError, match="first NaN|not finite"):
        run(make_workspace(dff=data), nan="error")


@pytest.mark.parametrize("shape", [(500, 5), (500, 3, 4)])
def test_nan_frames_stay_nan_and_count_for_nothing(make_workspace, shape, caplog):
    data = np.random.default_rng(5).normal(3, 2, shape).astype("f4")
    data[50:70, 1] = np.nan
    data[400, 0] = np.inf
    data[2:, 2] = np.nan
    data[1, 2] = np.nan
    finite = np.where(np.isfinite(data), data, np.nan).astype("f8")
    with caplog.at_level(logging.WARNING):
        result = run(make_workspace(dff=data, chunk=64, tile=3), fit_until=0.9)
    fit = finite[:450, :2]
    expected = (finite[:, :2] - np.nanmean(fit, axis=0)) / np.nanstd(fit, axis=0)
    np.testing.assert_allclose(result[:, :2], expected, atol=1e-5)
    assert np.isnan(result[:, 2]).all()
    assert "have NaN frames, which stay NaN" in caplog.text


def test_a_refusal_names_only_settings_that_the_step_has(make_workspace):
    data = np.full((100, 3), np.nan, dtype="f4")
    with pytest.raises(DataError, match="not finite") as error:
        run(make_workspace(dff=data), nan="error")
    assert "zscore.nan=nan" in error.value.fix
    with pytest.raises(DataError, match="not finite") as error:
        Detrend(DetrendParams()).apply(make_workspace(fluorescence=data))
    assert "nan=nan" not in error.value.fix
