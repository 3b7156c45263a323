"""What a window shows: frames, projections, thinned traces, averages and quality, each against a plain computation."""

import numpy as np
import pytest
import scipy.stats
import xarray as xr

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.view.averages import averages
from neurodyn.view.cells import quality
from neurodyn.view.frames import BLOCK, KEPT, Frames, Movie, greys, levels
from neurodyn.view.model import Stitched
from neurodyn.view.projections import projections
from neurodyn.view.scene import open_scene, scene_of
from neurodyn.view.traces import Traces
from tests.view.recordings import DIRECTIONS, FRAMES, ONSETS, RATE, movie, saved, session, traces


def test_frames_are_those_of_their_times(tmp_path):
    scene = open_scene(saved(tmp_path))
    for at, frame in ((0.0, 0), (0.06, 1), (0.04, 0), (12.34, 123), (1e9, FRAMES - 1), (-5.0, 0)):
        picture, index = scene.picture("frame/raw", at)
        assert index == frame and picture[0, 0] == frame
    with pytest.raises(DataError, match="no picture 'frame/else'"):
        scene.picture("frame/else")


class _Counted:
    """An array that counts how many frames were read."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.read = values, values.shape, values.dtype, 0

    def __getitem__(self, key):
        found = self.values[key]
        self.read += len(found)
        return xr.Variable(("time", "y", "x"), found)


def test_only_the_blocks_that_are_looked_at_are_read_and_memory_is_bounded():
    source = _Counted(np.arange(3000.0)[:, None, None] * np.ones((1, 4, 4)))
    shown, frames = Movie("raw", source, np.arange(3000.0), chunk=100), Frames()
    for index in (5, 6, 40, 7):
        assert frames.frame(shown, index)[0, 0] == index
    assert source.read == 100
    for index in (1500, 2500, 700, 2999):
        assert frames.frame(shown, index)[0, 0] == index
    assert source.read == 500 and len(frames._kept) == KEPT
    for index in range(1040, 1060):  # as a movie plays
        frames.frame(shown, index)
    frames._readers.shutdown(wait=True)
    assert source.read == 700
    frames.close()


def test_large_blocks_are_cut_and_large_frames_thinned():
    large = Movie("raw", xr.Variable(("time", "y", "x"), np.zeros((1, 2048, 1500), np.uint16)), np.zeros(1), chunk=512)
    assert large.step == 2 and large.shape == (1024, 750)
    frame = 1024 * 750 * 2
    assert (large.length - 1) * frame <= BLOCK < 2 * large.length * frame


def test_projections_are_those_of_all_frames():
    values = movie()[:200]
    values[:, 31, 47] = np.nan
    found = projections(Movie("raw", xr.Variable(("time", "y", "x"), values), np.arange(200.0)))
    np.testing.assert_allclose(found["mean"][:31], values.mean(axis=0)[:31], rtol=1e-5)
    np.testing.assert_array_equal(found["maximum"][:31], values.max(axis=0)[:31])

    def alike(y, x):
        around = [(y + a, x + b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a or b) and y + a >= 0 and x + b >= 0]
        return np.mean([np.corrcoef(values[:, y, x], values[:, v, u])[0, 1] for v, u in around])

    for place in ((6, 6), (0, 5), (15, 15), (4, 4), (0, 0)):
        assert found["correlation"][place] == pytest.approx(alike(*place), abs=1e-4)
    assert found["correlation"][6, 6] > 0.8 > 0.2 > abs(found["correlation"][15, 15])


def test_levels_and_greys():
    picture = np.arange(101.0)
    picture[3] = np.nan
    found = levels(picture)
    assert (found.lowest, found.highest) == (0, 100) and found.low < 3 and found.high > 98
    shown = greys(np.array([[-5.0, 0, 5, 10, 99, np.nan]]), 0, 10)
    assert shown.tolist() == [[0, 0, 127, 255, 255, 0]]
    assert levels(np.full(4, np.nan)).high > levels(np.full(4, np.nan)).low
    assert levels(np.zeros(4)).high > 0


def test_thinned_traces_lose_no_event():
    time = np.arange(50_000) / 30
    values = np.random.default_rng(0).standard_normal((50_000, 2)).astype(np.float32)
    values[31_234, 1], values[100:200, 1] = 99, np.nan
    kept = Traces({"dff": xr.Variable(("time", "roi"), values)}, time)
    low, high = kept.window("dff", 1, time[0], time[-1], 700)
    assert low.size == 700 == kept.times(time[0], time[-1], 700).size
    assert high.max() == 99 and low.min() == np.nanmin(values[:, 1])
    assert abs(kept.times(time[0], time[-1], 700)[high.argmax()] - time[31_234]) < 2
    low, high = kept.window("dff", 1, 10.0, 11.0, 700)
    assert low is high
    part = kept.times(10.0, 11.0, 700)
    np.testing.assert_array_equal(low, values[np.isin(time, part), 1])
    assert part[0] < 10 and part[-1] >= 11
    assert np.isnan(kept.window("dff", 1, 4.0, 6.0, 700)[0]).all()


def test_averages_are_means_and_standard_errors_over_events():
    time, trace = np.arange(FRAMES) / RATE, traces()[:, 5].astype(float)
    stimulus = session().stimulus
    found = averages(trace, time, stimulus, "direction")
    assert [group["value"] for group in found["groups"]] == [0.0, 90.0, 180.0]
    for group in found["groups"]:
        onsets = ONSETS[group["value"] == DIRECTIONS]
        frames = np.rint((onsets[:, None] + found["time"]) * RATE).astype(int)
        courses = np.where(frames < FRAMES, trace[np.minimum(frames, FRAMES - 1)], np.nan)
        np.testing.assert_allclose(group["mean"], np.nanmean(courses, axis=0))
        wanted = scipy.stats.sem(courses, axis=0, nan_policy="omit")
        np.testing.assert_allclose(group["sem"], wanted)
        assert group["n"] == onsets.size
    assert found["time"][0] == pytest.approx(-1.0) and found["time"][-1] < 2.5  # not into the next event


def test_events_in_gaps_and_beyond_the_end_count_for_nothing():
    time = np.concatenate([np.arange(50), np.arange(150, 200)]) / 10
    stimulus = xr.Dataset({name: ("event", np.array(values)) for name, values in {"start": [2.0, 8.0, 16.0, 30.0], "stop": [3.0, 9.0, 17.0, 31.0], "kind": ["a", "a", "a", "b"]}.items()})  # fmt: skip
    found = averages(np.ones(100), time, stimulus, "kind")
    assert [(group["value"], group["n"]) for group in found["groups"]] == [("a", 2), ("b", 0)]
    assert np.isnan(found["groups"][1]["mean"]).all()


def test_quality_is_suite2ps():
    rng = np.random.default_rng(0)
    values = np.stack(
        [rng.standard_normal(5000), np.cumsum(rng.standard_normal(5000)), np.ones(5000), rng.gamma(1, size=5000)], 1
    )
    values[7, 1] = np.nan
    found = quality(xr.Variable(("time", "roi"), values))
    for row in (0, 3):
        wanted = 1 - 0.5 * np.diff(values[:, row]).var() / values[:, row].var()
        assert found["snr"][row] == pytest.approx(wanted, abs=1e-6)
        assert found["skew"][row] == pytest.approx(scipy.stats.skew(values[:, row]), abs=1e-6)
    assert abs(found["snr"][0]) < 0.05 and found["snr"][1] > 0.95 and np.isnan(found["snr"][2])


def test_the_table_of_rois_is_asked_before_anything_is_computed():
    scene = scene_of(session())
    assert scene.quality["skew"].tolist() == [6, 5, 4, 3, 2, 1]
    assert np.isfinite(scene.quality["snr"]).all()
    assert scene.table["size"].tolist() == [25] * 6
    assert scene.picture_names[0] == "frame/raw" and scene.shape == (32, 48)


def test_windows_of_a_model_are_laid_side_by_side():
    windows = np.arange(24.0).reshape(4, 3, 2)
    first = np.array([6, 0, 1, 12])
    found = Stitched(xr.Variable(("window", "time", "roi"), windows), np.arange(4), first, (14, 2))
    wanted, count = np.zeros((14, 2)), np.zeros((14, 1))
    for window, begin in zip(windows, first, strict=True):
        for k in range(3):
            if begin + k < 14:
                wanted[begin + k] += window[k]
                count[begin + k] += 1
    wanted = np.where(count > 0, wanted / np.maximum(count, 1), np.nan)
    np.testing.assert_allclose(found[:], wanted)
    np.testing.assert_allclose(found[2:13, 1], wanted[2:13, 1])
    np.testing.assert_allclose(found[7], wanted[7])


def test_a_movie_lies_under_the_cells_of_another_recording(tmp_path):
    cells, other = saved(tmp_path, with_movie=False), tmp_path / "movie.zarr"
    Recording.from_arrays({"fluorescence": movie()}, rate_hz=RATE, session="small").save(other)
    scene = open_scene(cells, movie=other)
    assert scene.picture("frame/fluorescence", 12.3)[0][0, 0] == 123
    Recording.from_arrays({"fluorescence": movie()[:, :20]}, rate_hz=RATE).save(tmp_path / "wrong.zarr")
    with pytest.raises(DataError, match="not the movie of these cells"):
        open_scene(cells, movie=tmp_path / "wrong.zarr")


def test_recordings_of_traces_alone_or_of_a_movie_alone_are_shown():
    alone = scene_of(Recording.from_arrays({"dff": traces()}, rate_hz=RATE))
    assert alone.cells == [str(row) for row in range(6)] and alone.shape == (0, 0) and not alone.picture_names
    only = scene_of(Recording.from_arrays({"fluorescence": movie()}, rate_hz=RATE))
    assert not only.cells and only.judged is None and only.quality["snr"].size == 0
