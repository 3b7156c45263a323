"""ΔF/F: closed forms, an independent rolling percentile, and what must be refused."""

import logging
import time

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from neurodyn.core.errors import DataError
from neurodyn.preprocess.baselines import decimated_percentile, maximin, rolling_percentile
from neurodyn.preprocess.dff import Dff, DffParams


def run(workspace, **params):
    step = Dff(DffParams(**params))
    step.apply(workspace)
    return workspace[step.provides[0]][...]


def movie(frames=700, side=20, seed=0):
    rng = np.random.default_rng(seed)
    drift = 400 + 60 * np.sin(np.arange(frames) / 90)[:, None, None]
    return (drift + rng.gamma(2, 15, (frames, side, side))).astype(np.float32)


def sorted_window_percentile(trace, frames, percentile):
    """Rank statistics by sorting each window of the mirrored trace."""
    half = frames // 2
    padded = np.concatenate([trace[:half][::-1], trace, trace[-half:][::-1]])
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(padded, frames), axis=1)
    return windows[:, int(frames * percentile / 100)]


@pytest.mark.parametrize("percentile", [0, 8, 50])
def test_rolling_percentile_is_the_sorted_windows_rank(percentile):
    trace = np.random.default_rng(1).normal(size=(1, 300))
    expected = sorted_window_percentile(trace[0], 61, percentile)
    assert np.array_equal(rolling_percentile(trace, 61, percentile)[0], expected)


def test_transients_on_a_flat_baseline_have_their_planted_size(make_workspace):
    planted = np.zeros((600, 2))
    planted[100:110, 0], planted[300:320, 1] = 0.5, 1.25
    fluorescence = (np.array([200.0, 80.0]) * (1 + planted)).astype(np.float32)
    for method in ("percentile", "maximin"):
        workspace = make_workspace(fluorescence=fluorescence)
        np.testing.assert_allclose(run(workspace, method=method, window=20), planted, atol=1e-6)
    assert workspace["dff"].attrs["units"] == "ΔF/F"


def test_maximin_follows_a_drifting_baseline_under_activity():
    rng = np.random.default_rng(2)
    t = np.arange(6000) / 30
    true = 300 * np.exp(-t / 400)
    calcium = np.convolve(rng.random(t.size) < 0.005, np.exp(-np.arange(60) / 15))[: t.size]
    baseline = maximin((true * (1 + calcium) + rng.normal(0, 8, t.size))[None], 1801, 30.0)[0]
    assert np.abs(baseline / true - 1)[900:-900].max() < 0.08


def test_maximin_is_the_extremes_of_the_smoothed_trace():
    trace = np.random.default_rng(3).normal(size=200).cumsum()
    smooth = gaussian_filter1d(trace, 3.0)
    low = [smooth[max(0, i - 10) : i + 11].min() for i in range(200)]
    expected = [max(low[max(0, i - 10) : i + 11]) for i in range(200)]
    assert np.array_equal(maximin(trace[None], 21, 3.0)[0], expected)


def test_decimation_stays_close_to_the_exact_baseline():
    trace = movie(frames=3000, side=1).reshape(1, -1).astype(np.float64)
    exact = rolling_percentile(trace, 601, 8)
    assert np.array_equal(decimated_percentile(trace, 601, 8, 1), exact)
    fast = decimated_percentile(trace, 601, 8, 10)
    assert not np.array_equal(fast, exact)
    assert np.abs(fast / exact - 1).mean() < 0.03


@pytest.mark.parametrize(
    "params",
    [
        {"method": "percentile"},
        {"method": "percentile", "decimate": 7},
        {"method": "percentile", "edge": "nearest"},
        {"method": "maximin", "sigma": 0.7},
        {"method": "maximin", "edge": "mirror", "sigma": 0.7},
    ],
)
def test_the_result_does_not_depend_on_tiles_and_blocks(make_workspace, params):
    data = movie()
    whole = run(make_workspace(fluorescence=data, chunk=1000), window=6.0, **params)
    for chunk, tile in ((64, 8), (100, 20), (333, 7)):
        pieces = run(make_workspace(fluorescence=data, chunk=chunk, tile=tile), window=6.0, **params)
        assert np.array_equal(whole, pieces)


def test_a_movie_equals_the_formula_on_the_whole_array(make_workspace):
    data = movie(frames=300, side=4)
    traces = data.reshape(300, -1).T.astype(np.float64)
    f0 = np.array([sorted_window_percentile(trace, 61, 8) for trace in traces])
    expected = ((traces - f0) / f0).T.reshape(data.shape).astype(np.float32)
    assert np.array_equal(run(make_workspace(fluorescence=data, chunk=64, tile=3), window=6.1), expected)


def test_pixels_outside_the_brain_are_zero_even_where_they_are_nan(make_workspace):
    data, brain = movie(frames=200, side=6), np.zeros((6, 6), dtype=bool)
    brain[2:5, 1:4] = True
    data[:, 0, 0] = np.nan
    result = run(make_workspace(fluorescence=data, brain=brain), window=5)
    assert (result[:, ~brain] == 0).all()
    assert (result[:, brain] != 0).any(axis=0).all()


def test_nan_is_refused_with_count_and_first_frame_or_kept_as_nan(make_workspace):
    data = movie(frames=300, side=3).reshape(300, 9)
    data[40, 2], data[25, 7] = np.nan, np.inf
    with pytest.raises(DataError, match=r"2 of 9 ROIs") as error:
        run(make_workspace(fluorescence=data), window=5)
    assert "frame 25" in error.value.found
    kept = run(make_workspace(fluorescence=data), window=5, nan="nan")
    assert np.isnan(kept[:, [2, 7]]).all()
    assert np.isfinite(np.delete(kept, [2, 7], axis=1)).all()


def test_a_baseline_at_zero_is_refused_with_the_way_out(make_workspace):
    rng = np.random.default_rng(4)
    fluorescence = 500 + rng.gamma(2, 20, (400, 5))
    corrected = fluorescence.copy()
    corrected[:, [1, 3]] -= 530
    workspace = make_workspace(fluorescence=fluorescence.astype("f4"), corrected=corrected.astype("f4"))
    with pytest.raises(DataError, match="2 of 5 ROIs") as error:
        run(workspace, input="corrected", window=5)
    assert "dff.f0_from=fluorescence" in error.value.fix
    some = run(workspace, input="corrected", output="some", window=5, guard="nan")
    assert np.isnan(some[:, [1, 3]]).any()
    assert np.isfinite(some[:, [0, 2, 4]]).all()


def test_f0_from_divides_by_the_other_variables_baseline(make_workspace):
    rng = np.random.default_rng(5)
    fluorescence = (500 + rng.gamma(2, 20, (400, 3))).astype("f4")
    corrected = fluorescence - np.float32(480)
    result = run(
        make_workspace(fluorescence=fluorescence, corrected=corrected),
        input="corrected",
        f0_from="fluorescence",
        window=6.1,
    )
    f0 = rolling_percentile(corrected.T.astype("f8"), 61, 8).T
    divisor = rolling_percentile(fluorescence.T.astype("f8"), 61, 8).T
    np.testing.assert_allclose(result, (corrected - f0) / divisor, rtol=1e-5, atol=1e-7)


def test_saturated_frames_are_reported(make_workspace, caplog):
    data = np.full((200, 4), 1000, dtype=np.uint16)
    data[[50, 60], 1] = np.iinfo(np.uint16).max
    with caplog.at_level(logging.WARNING):
        run(make_workspace(fluorescence=data), window=5)
    assert "2 of 200 frames are saturated (value 65535), the first is frame 50" in caplog.text


def test_gaps_in_the_frame_times_are_reported(make_workspace, caplog):
    data = movie(frames=200, side=2)
    times = np.arange(200) / 10 + np.where(np.arange(200) >= 120, 3.0, 0.0)
    with caplog.at_level(logging.WARNING):
        gapped = run(make_workspace(fluorescence=data, time=times), window=5)
    assert "1 gaps in the frame times, the first after 11.9 s" in caplog.text
    assert np.array_equal(gapped, run(make_workspace(fluorescence=data), window=5))


@pytest.mark.parametrize(("rate", "window"), [(10.0, 60.0), (0.02, 60.0)])
def test_a_window_that_does_not_fit_is_refused(make_workspace, rate, window):
    with pytest.raises(DataError, match="does not suit") as error:
        run(make_workspace(rate_hz=rate, fluorescence=movie(frames=500, side=2)), window=window)
    assert "--fs" in error.value.fix


def test_the_rolling_percentile_takes_the_fast_path():
    traces = np.random.default_rng(6).normal(size=(20, 10_000))
    start = time.perf_counter()
    rolling_percentile(traces, 1801, 8)
    assert time.perf_counter() - start < 1.0  # 0.01 s; the N-dimensional filter takes 3 s
