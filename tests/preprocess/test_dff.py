"""ΔF/F: closed forms, an independent rolling percentile, and what must be refused."""

import logging
import time

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.preprocess import levels
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
        {"method": "rolling-mean"},
        {"method": "allen-median", "short_window": 1.5},
        {"method": "allen-mode", "smooth": 3},
        {"method": "fir", "taps": 61},
        {"method": "butterworth", "cutoff": 0.5},
        {"method": "constant"},
        {"method": "minimum"},
        {"method": "lowest"},
        {"method": "mean", "interval": [5, 60]},
        {"method": "trial", "before": 2},
        {"method": "percentile", "gaps": "restart"},
        {"method": "maximin", "sigma": 0.7, "gaps": "fill", "nan": "frames", "fill": 0.6},
    ],
    ids=lambda params: "-".join(str(value) for value in params.values()),
)
def test_the_result_does_not_depend_on_tiles_and_blocks(make_workspace, params):
    data = movie(side=6)
    at = np.arange(700) + np.where(np.arange(700) >= 400, 4, 0) + np.where(np.arange(700) >= 200, 30, 0)
    if params.get("nan") == "frames":
        data[np.random.default_rng(1).random(data.shape) < 0.01] = np.nan
        data[280:292, 3, 4] = np.nan

    def result(**cut):
        workspace = make_workspace(fluorescence=data, time=at / 10, **cut)
        workspace.root.require_group("stimulus").create_array("start", data=np.array([4.0, 30.0, 61.0]))
        return run(workspace, window=6.0, **params)

    whole = result(chunk=1000)
    assert np.nanstd(whole) > 0
    for chunk, tile in ((64, 8), (333, 7)):
        np.testing.assert_allclose(result(chunk=chunk, tile=tile), whole, rtol=2e-5, atol=2e-7)


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


def gapped(missing, frames=900, seed=7, cells=3):
    """Traces on a regular grid, the same without the missing frames, and the times of those that are left."""
    rng = np.random.default_rng(seed)
    drift = 300 + 80 * np.sin(np.arange(frames) / 110)[:, None]
    full = (drift + rng.gamma(2, 10, (frames, cells))).astype(np.float32)
    left = np.setdiff1d(np.arange(frames), missing)
    return full, full[left], left / 10


def by_hand(full, holes, window=61):
    """ΔF/F about the percentile of traces whose holes are filled by straight lines."""
    at = np.arange(len(full))
    filled = np.stack([np.interp(at, at[~hole], x[~hole]) for x, hole in zip(full.T, holes.T, strict=True)])
    f0 = np.array([sorted_window_percentile(trace, window, 8) for trace in filled.astype(np.float64)])
    return ((full.T - f0) / f0).T


def test_windows_restart_after_missing_frames(make_workspace):
    _, data, times = gapped(np.arange(400, 420))
    result = run(make_workspace(fluorescence=data, time=times), window=6, gaps="restart")
    for part in (slice(0, 400), slice(400, None)):
        alone = run(make_workspace(fluorescence=data[part]), window=6)
        np.testing.assert_array_equal(result[part], alone)


def test_missing_frames_are_filled_where_they_are_few_and_windows_restart_elsewhere(make_workspace):
    missing = np.concatenate([np.arange(200, 203), [310], np.arange(500, 540)])
    full, data, times = gapped(missing)
    result = run(make_workspace(fluorescence=data, time=times), window=6, gaps="fill", fill=0.5)
    hole = np.zeros(full.shape, dtype=bool)
    hole[missing] = True
    first, last = by_hand(full[:500], hole[:500]), by_hand(full[540:], hole[540:])
    expected = np.concatenate([np.delete(first, missing[:4], axis=0), last])
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_a_stretch_shorter_than_the_window_is_refused(make_workspace):
    _, data, times = gapped(np.arange(40, 42))
    with pytest.raises(DataError, match="does not suit") as error:
        run(make_workspace(fluorescence=data, time=times), window=6, gaps="restart")
    assert "shortest stretch without missing frames has 40 frames" in error.value.found
    assert error.value.found.endswith("4 s; the window takes 61.")
    assert "dff.gaps=across" in error.value.fix


def test_a_window_of_less_than_two_frames_is_refused_for_that(make_workspace):
    with pytest.raises(DataError, match="does not suit") as error:
        run(make_workspace(rate_hz=0.02, fluorescence=movie(frames=500, side=2)), window=60.0)
    assert "shorter than two frames, 100 s" in error.value.found


@pytest.mark.parametrize(
    "params", [{"method": "butterworth", "cutoff": 0.1}, {"method": "fir", "taps": 51}, {"method": "maximin"}, {}]
)
def test_no_baseline_reaches_across_a_pause_where_gaps_are_filled(make_workspace, params):
    _, data, times = gapped([])
    times = times + np.where(np.arange(900) < 400, 0, 60.0)
    result = run(make_workspace(fluorescence=data, time=times), window=6, gaps="fill", **params)
    for part in (slice(0, 400), slice(400, None)):
        np.testing.assert_allclose(
            result[part], run(make_workspace(fluorescence=data[part]), window=6, **params), atol=1e-6
        )


def test_trials_with_pauses_shorter_than_the_window_are_taken_with_a_warning(make_workspace, caplog):
    data = movie(frames=200, side=2)
    times = np.arange(200) / 10 + 8.0 * (np.arange(200) // 40)
    with caplog.at_level(logging.WARNING):
        assert np.isfinite(run(make_workspace(fluorescence=data, time=times), window=10)).all()
    assert "4 gaps in the frame times, the first after 3.9 s; windows count frames and run across them" in caplog.text


@pytest.mark.parametrize("kind", ["nan", "saturated"])
def test_frames_that_do_not_count_are_nan_and_nothing_else_is(make_workspace, kind):
    full, _, _ = gapped([])
    full = np.rint(full)
    hole = np.zeros(full.shape, dtype=bool)
    hole[[100, 101, 350], 0] = hole[610:614, 2] = True
    data = np.where(hole, np.nan, full) if kind == "nan" else np.where(hole, 65535, full).astype(np.uint16)
    result = run(make_workspace(fluorescence=data), window=6, fill=0.5, **{kind: "frames"})
    np.testing.assert_array_equal(np.isnan(result), hole)
    np.testing.assert_allclose(result[~hole], by_hand(full, hole)[~hole], rtol=1e-5, atol=1e-6)


def test_a_long_hole_makes_every_window_that_touches_it_nan(make_workspace):
    full, _, _ = gapped([])
    full[300:310, 1] = np.nan
    result = run(make_workspace(fluorescence=full, chunk=64), window=6.1, fill=0.9, nan="frames")
    expected = np.zeros(full.shape, dtype=bool)
    expected[270:340, 1] = True
    np.testing.assert_array_equal(np.isnan(result), expected)
    assert np.isnan(run(make_workspace(fluorescence=full), window=6.1, fill=1.0, nan="frames")).sum() == 10


@pytest.mark.parametrize("method", ["constant", "minimum", "lowest", "mean"])
def test_one_number_leaves_out_the_frames_that_do_not_count(make_workspace, method):
    data = np.rint(gapped([])[0]).astype(np.uint16)
    data[50:90, 1] = 65535
    result = run(make_workspace(fluorescence=data), method=method, saturated="frames")
    assert np.isnan(result[:, 1]).sum() == 40
    assert 0 < np.nanmax(result) < 2
    alone = run(make_workspace(fluorescence=data[:, [0, 2]]), method=method)
    np.testing.assert_array_equal(result[:, [0, 2]], alone)


def test_saturated_rois_can_be_left_out(make_workspace, caplog):
    data = np.rint(gapped([])[0]).astype(np.uint16)
    data[50, 1] = 65535
    result = run(make_workspace(fluorescence=data), window=6, saturated="nan")
    assert np.isnan(result[:, 1]).all()
    assert np.isfinite(result[:, [0, 2]]).all()
    assert "1 ROIs have NaN or saturated frames and become NaN" in caplog.text


def test_the_fir_says_where_it_really_cuts(make_workspace, caplog):
    data = movie(frames=1200, side=2)
    workspace = make_workspace(fluorescence=data)
    step = Dff(DffParams(method="fir", taps="paper"))
    assert "0.009 of the frame rate" in step.methods()
    with caplog.at_level(logging.INFO):
        step.apply(workspace)
    assert "-6 dB) at 0.0905 Hz" in caplog.text
    assert workspace["dff"].attrs["half_gain_hz"] == pytest.approx(0.0905, rel=1e-3)
    assert workspace["dff"].attrs["taps"] == 101
    assert "-6 dB at 0.09 Hz" in step.methods()


def test_more_taps_than_frames_are_refused(make_workspace):
    workspace = make_workspace(fluorescence=movie(frames=1001, side=2))
    with pytest.raises(DataError, match="1001 taps") as error:
        run(workspace, method="fir")
    assert "needs more frames than taps" in error.value.found
    run(workspace, method="fir", taps=999)


def test_a_cutoff_beyond_nyquist_is_refused(make_workspace):
    with pytest.raises(ConfigError, match="cut-off of 6 Hz"):
        run(make_workspace(fluorescence=movie(side=2)), method="butterworth", cutoff=6)


@pytest.mark.parametrize(("value", "message"), [({"taps": 100}, "odd"), ({"interval": [3, 3]}, "start must lie")])
def test_impossible_settings_are_refused(value, message):
    with pytest.raises(ValueError, match=message):
        DffParams(**value)


def test_an_interval_outside_the_recording_is_refused(make_workspace):
    with pytest.raises(DataError, match="interval has no frames") as error:
        run(make_workspace(fluorescence=movie(frames=100, side=2)), method="mean", interval=[20, 30])
    assert "0 to 9.9 s" in error.value.found


def test_a_baseline_per_trial_needs_stimuli_with_frames_before_them(make_workspace):
    workspace = make_workspace(fluorescence=movie(frames=100, side=2), time=np.arange(100) / 10 + (np.arange(100) > 49))
    with pytest.raises(DataError, match="needs stimuli"):
        run(workspace, method="trial")
    workspace.root.require_group("stimulus").create_array("start", data=np.array([2.0, 5.95]))
    with pytest.raises(DataError, match="1 of 2 stimuli have no frames in the 0.5 s") as error:
        run(workspace, method="trial", before=0.5)
    assert "5.95 s" in error.value.found


def test_a_trace_of_zeros_is_refused_by_allens_rule(make_workspace):
    data = movie(frames=300, side=2).reshape(300, 4)
    data[:, 2] = 0
    with pytest.raises(DataError, match="1 of 4 ROIs"):
        run(make_workspace(fluorescence=data), method="allen-median", window=6)


@pytest.mark.parametrize("method", ["maximin", "mean"])
def test_the_baseline_is_kept_for_the_report(make_workspace, method):
    data = movie(frames=5000, side=2)
    workspace = make_workspace(fluorescence=data.reshape(5000, 4))
    result = run(workspace, method=method, window=6)
    course, times = workspace.root["qc/dff_f0"], workspace.root["qc/dff_f0_time"]
    assert course.shape == (1667, 4)
    assert course.metadata.dimension_names == ("dff_f0_time", "roi")
    np.testing.assert_allclose(times[...], np.arange(0, 5000, 3) / 10)
    np.testing.assert_allclose(course[...], (data.reshape(5000, 4) / (1 + result))[::3], rtol=1e-5)
    film = make_workspace(fluorescence=data, chunk=777)
    run(film, method=method, window=6)
    expected = (data / (1 + result.reshape(data.shape))).mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(film.root["qc/dff_f0_mean"][...], expected, rtol=1e-5)


def test_whole_traces_are_read_in_strips_when_they_are_many(make_workspace, monkeypatch):
    data = movie(frames=300, side=9)
    params = [{"method": "constant"}, {"method": "allen-median", "window": 6}]
    whole = [run(make_workspace(fluorescence=data), **some) for some in params]
    monkeypatch.setattr(levels, "BUDGET", 300 * 9 * 4 * 2)
    for some, expected in zip(params, whole, strict=True):
        np.testing.assert_array_equal(run(make_workspace(fluorescence=data), **some), expected)
