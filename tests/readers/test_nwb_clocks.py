"""NWB series on clocks of their own, broken times, trials still open, ROIs x time, movies that lie elsewhere."""

import json
import logging

import h5py
import numpy as np
import pytest
from hdmf.common import DynamicTableRegion
from pynwb import TimeSeries
from pynwb.behavior import SpatialSeries
from pynwb.image import ImageSeries
from pynwb.ophys import DfOverF, Fluorescence, RoiResponseSeries, TwoPhotonSeries

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.readers.options import ReadOptions, VariablePlace
from neurodyn.readers.questions import QuestionError
from neurodyn.readers.read import read
from neurodyn.readers.survey import survey
from tests.readers.nwb_files import put, rois_of, session

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*rate of 0.0 Hz:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*oriented incorrectly:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*Length of data does not match length of timestamps:UserWarning"),
]
RNG = np.random.default_rng(0)
RAW, DFF = RNG.normal(100, 5, (30, 3)), RNG.normal(size=(30, 3))


class File:
    """An NWB file in memory with an ophys module and three ROIs."""

    def __init__(self) -> None:
        self.nwb, self.plane = session()
        self.module = self.nwb.create_processing_module(name="ophys", description="ophys")
        self.table = rois_of(self.module, self.plane, 3)
        self.rois = self.table.create_roi_table_region(region=[0, 1, 2], description="all")

    def add(self, name, data, container="Fluorescence", rois=None, **clock):
        """Add responses."""
        if container not in self.module.data_interfaces:
            self.module.add(DfOverF() if container == "DfOverF" else Fluorescence(name=container))
        region = self.rois if rois is None else rois
        series = RoiResponseSeries(name=name, data=data, rois=region, unit="n.a.", **clock)
        self.module[container].add_roi_response_series(series)
        return self

    def movie(self, name, **more):
        """Add a movie."""
        self.nwb.add_acquisition(TwoPhotonSeries(name=name, imaging_plane=self.plane, unit="n.a.", **more))
        return self


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.nwb"


def _edit(path, change):
    """Change a file behind pynwb's back, as programs that do not know NWB do."""
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def test_neural_30_hz_and_behaviour_100_hz_keep_their_clocks(path):
    file = File().add("Raw", RAW, starting_time=5.0, rate=30.0).add("dff", DFF, "DfOverF", starting_time=5.0, rate=30.0)
    speed, gaze = RNG.normal(size=120), RNG.normal(size=(7, 2))
    file.nwb.add_acquisition(
        TimeSeries(name="speed", data=speed, unit="m/s", starting_time=4.5, rate=100.0, conversion=0.01, offset=1.0)
    )
    file.nwb.add_acquisition(
        SpatialSeries(name="gaze", data=gaze, reference_frame="eye", timestamps=np.arange(7) ** 1.5)
    )
    recording = read(put(file.nwb, path))
    assert recording.variables == ["dff", "fluorescence"] and recording.rate_hz == 30.0
    np.testing.assert_allclose(recording.time, 5 + np.arange(30) / 30)
    np.testing.assert_array_equal(recording["fluorescence"].values, RAW)
    behavior = recording.table("behavior")
    np.testing.assert_allclose(behavior["time_speed"].values, 4.5 + np.arange(120) / 100)
    np.testing.assert_allclose(behavior["speed"].values, speed * 0.01 + 1)
    np.testing.assert_allclose(behavior["time_gaze"].values, np.arange(7) ** 1.5)
    np.testing.assert_array_equal(behavior["gaze"].values, gaze)


@pytest.mark.parametrize(
    ("clock", "said"),
    [
        ({"starting_time": 5.0 + 1 / 60, "rate": 30.0}, "begin at 5.01667 and 5 s"),
        ({"starting_time": 5.0, "rate": 15.0}, "differ by up to 0.9667 s"),
        ({"timestamps": 5 + np.r_[np.arange(29) / 30, 1.5]}, "differ by up to 0.5333 s"),
    ],
)
def test_neural_series_on_two_clocks_are_asked_for(clock, said, path):
    file = File().add("Raw", RAW, starting_time=5.0, rate=30.0).add("RoiResponseSeries", DFF, "DfOverF", **clock)
    put(file.nwb, path)
    with pytest.raises(QuestionError, match=said) as raised:
        read(path)
    assert raised.value.need.option == "--key processing/ophys/DfOverF/RoiResponseSeries"
    dff = read(path, ReadOptions(key="RoiResponseSeries"))
    expected = clock.get("timestamps", clock.get("starting_time", 0) + np.arange(30) / clock.get("rate", 1))
    assert dff.variables == ["dff"]
    np.testing.assert_allclose(dff.time, expected)
    raw = read(path, ReadOptions(key="processing/ophys/Fluorescence/Raw"))
    np.testing.assert_allclose(raw.time, 5 + np.arange(30) / 30)
    both = {"dff": VariablePlace(key="RoiResponseSeries"), "fluorescence": VariablePlace(key="Raw")}
    with pytest.raises(DataError, match="clocks of their own"):
        read(path, ReadOptions(variables=both))
    seen = survey(path, ReadOptions())
    assert [need.option for need in seen.needs] == [raised.value.need.option]
    np.testing.assert_allclose(seen.recording.time, expected)
    with pytest.raises(ConfigError, match="not both"):
        read(path, ReadOptions(key="Raw", variables=both))


def test_times_that_differ_by_rounding_are_one_clock(path):
    file = File().add("Raw", RAW, starting_time=5.0, rate=30.0)
    file.add("dff", DFF, "DfOverF", timestamps=np.round(5 + np.arange(30) / 30, 5))
    assert read(put(file.nwb, path)).variables == ["dff", "fluorescence"]


def test_series_of_different_rois_are_asked_for(path):
    file = File()
    other = DynamicTableRegion(name="rois", data=[2, 1, 0], description="all, backwards", table=file.table)
    file.add("Raw", RAW, rate=30.0).add("dff", DFF, "DfOverF", rois=other, rate=30.0)
    put(file.nwb, path)
    with pytest.raises(QuestionError, match="are of different ROIs"):
        read(path)
    recording = read(path, ReadOptions(key="dff"))
    assert recording.table("rois")["depth"].values.tolist() == [20, 10, 0]


@pytest.mark.parametrize("key", ["timestamps", "starting_time"])
def test_times_in_milliseconds_are_read_as_such(key, path, caplog):
    clock = {"timestamps": np.arange(30) * 50.0} if key == "timestamps" else {"starting_time": 2000.0, "rate": 20.0}
    put(File().add("Raw", RAW, **clock).nwb, path)

    def say(unit):
        return lambda file: file[f"processing/ophys/Fluorescence/Raw/{key}"].attrs.modify("unit", unit)

    first = 0.0 if key == "timestamps" else 2.0
    np.testing.assert_allclose(read(_edit(path, say("milliseconds"))).time, first + np.arange(30) * 0.05)
    assert "against the standard" in caplog.text
    with pytest.raises(DataError, match="are in 'fortnights'"):
        read(_edit(path, say("fortnights")))


RESET = np.r_[np.arange(20), np.arange(10)] / 10 + 3
WITH_NAN = np.where(np.arange(30) == 7, np.nan, np.arange(30) / 10 + 3)


@pytest.mark.parametrize(
    ("clock", "said", "option", "start"),
    [
        ({"timestamps": RESET}, "frame 20 is at 3 s, after one at 4.9 s", "--fs 10", 3.0),
        ({"timestamps": WITH_NAN}, "frame 7 is at nan s", "--fs 10", 3.0),
        ({"timestamps": np.zeros(30)}, "frame 1 is at 0 s", "--fs HZ", 0.0),
        ({"starting_time": 3.0, "rate": np.nan}, "rate is nan", "--fs HZ", 3.0),
        ({"starting_time": 3.0, "rate": 0.0}, "rate is 0.0", "--fs HZ", 3.0),
        ({"starting_time": np.nan, "rate": np.inf}, "rate is inf", "--fs HZ", 0.0),
    ],
)
def test_the_rate_that_is_given_takes_the_place_of_broken_times(clock, said, option, start, path, caplog):
    put(File().add("Raw", RAW, **clock).nwb, path)
    with pytest.raises(QuestionError) as raised:
        read(path)
    assert said in raised.value.found and raised.value.need.option == option and "--fs" in raised.value.fix
    recording = read(path, ReadOptions(fs=10.0))
    np.testing.assert_allclose(recording.time, start + np.arange(30) / 10)
    assert recording.rate_hz == 10.0
    assert "as --fs says" in caplog.text and "as --fs says" in json.dumps(recording.history)
    seen = survey(path, ReadOptions())
    assert [need.option for need in seen.needs] == [option] and seen.rate_known == (option != "--fs HZ")


def test_the_rate_of_the_imaging_plane_is_offered_not_taken(path):
    file = File()
    file.plane.fields["imaging_rate"] = 7.5
    put(file.add("Raw", RAW, rate=0.0).nwb, path)
    with pytest.raises(QuestionError) as raised:
        read(path)
    assert raised.value.need.option == "--fs 7.5"


def test_fewer_times_than_frames_are_broken_times(path):
    put(File().add("Raw", RAW, timestamps=np.arange(30.0)).nwb, path)

    def cut(file):
        del file["processing/ophys/Fluorescence/Raw/timestamps"]
        file["processing/ophys/Fluorescence/Raw/timestamps"] = np.arange(29.0)

    with pytest.raises(QuestionError, match="29 times"):
        read(_edit(path, cut))
    np.testing.assert_allclose(read(path, ReadOptions(fs=4.0)).time, np.arange(30) / 4)


def test_behaviour_without_usable_times_is_left_out_with_a_word(path, caplog):
    file = File().add("Raw", RAW, rate=30.0)
    for name, clock in (
        ("speed", {"rate": np.nan}),
        ("lick", {"timestamps": [0.0, 2.0, 1.0]}),
        ("good", {"rate": 1.0}),
    ):
        file.nwb.add_acquisition(TimeSeries(name=name, data=np.arange(3.0), unit="V", **clock))
    assert list(read(put(file.nwb, path)).table("behavior").data_vars) == ["good"]
    assert "speed is left out: its rate is nan" in caplog.text
    assert "lick is left out: its times do not increase: frame 2 is at 1 s, after one at 2 s" in caplog.text


def test_behaviour_of_one_name_in_two_places_is_kept_twice(path):
    file = File().add("Raw", RAW, rate=30.0)
    module = file.nwb.create_processing_module(name="behavior", description="b")
    module.add(TimeSeries(name="x", data=np.zeros(3), unit="V", rate=1.0))
    file.nwb.add_acquisition(TimeSeries(name="x", data=np.ones(3), unit="V", rate=1.0))
    table = read(put(file.nwb, path)).table("behavior")
    assert sorted(table.data_vars) == ["behavior_x", "root_x"]
    assert table["behavior_x"].values.tolist() == [0, 0, 0] and table["root_x"].values.tolist() == [1, 1, 1]


def test_a_trial_that_is_still_open_lasts_to_the_next_start_or_the_end(path, caplog):
    file = File().add("Raw", RAW, starting_time=0.0, rate=10.0)
    file.nwb.add_trial_column(name="stop", description="where it stopped")
    for k, (start, stop) in enumerate([(0.5, 0.9), (1.0, np.nan), (1.5, 1.2), (2.0, np.nan), (np.nan, 2.5)]):
        file.nwb.add_trial(start_time=start, stop_time=stop, stop=float(k))
    with caplog.at_level(logging.WARNING):
        stimulus = read(put(file.nwb, path)).stimulus
    assert stimulus["start"].values.tolist() == [0.5, 1.0, 1.5, 2.0]
    assert stimulus["stop"].values.tolist() == [0.9, 1.5, 2.0, 3.0]
    assert stimulus["stop_"].values.tolist() == [0, 1, 2, 3]
    assert "1 of 5 events have no start" in caplog.text and "3 of 4 events have no stop" in caplog.text


def test_trials_without_a_column_of_stops_are_refused_by_pynwb(path):
    file = File().add("Raw", RAW, starting_time=0.0, rate=10.0)
    for start in (0.5, 1.5):
        file.nwb.add_trial(start_time=start, stop_time=start + 0.5)
    put(file.nwb, path)

    def cut(trials):
        del trials["stop_time"]
        trials.attrs["colnames"] = np.array(["start_time"], dtype=h5py.string_dtype())

    _edit(path, lambda file: cut(file["intervals/trials"]))
    with pytest.raises(DataError, match="cannot be read as NWB") as raised:
        read(path)
    assert "column must have the same number of rows as 'id'" in raised.value.found


def test_rois_by_time_are_told_by_the_rois_or_by_the_times(path, caplog):
    file = File().add("Raw", RAW.T, starting_time=5.0, rate=30.0)
    recording = read(put(file.nwb, path))
    np.testing.assert_array_equal(recording["fluorescence"].values, RAW)
    np.testing.assert_allclose(recording.time, 5 + np.arange(30) / 30)
    assert "as ROIs x time" in caplog.text and recording.tree.attrs["layout"].endswith("Raw (roi x time)")
    named = read(path, ReadOptions(axes="roi,time"))
    np.testing.assert_array_equal(named["fluorescence"].values, RAW)
    with pytest.raises(DataError, match="the table does not fit the traces"):
        read(path, ReadOptions(axes="time,roi"))


@pytest.mark.parametrize(("axes", "expected"), [("time,roi", RAW[:3]), ("roi,time", RAW[:3].T)])
def test_a_square_is_asked_for(axes, expected, path):
    put(File().add("Raw", RAW[:3], rate=1.0).nwb, path)
    with pytest.raises(QuestionError, match="--axes") as raised:
        read(path)
    assert raised.value.guess == {"axes": "time,roi"}
    np.testing.assert_array_equal(read(path, ReadOptions(axes=axes))["fluorescence"].values, expected)


def test_a_movie_in_other_files_is_named_not_read_as_one_without_frames(path):
    file = File().movie(
        "camera", external_file=["raw/movie.tif"], format="external", rate=30.0, starting_frame=[0], num_samples=9
    )
    put(file.nwb, path)
    with pytest.raises(DataError, match=r"frames of acquisition/camera lie in other files") as raised:
        read(path)
    assert "raw/movie.tif; none of them lies beside it" in raised.value.found
    (path.parent / "raw").mkdir()
    (path.parent / "raw" / "movie.tif").touch()
    with pytest.raises(DataError, match="found") as raised:
        read(path, ReadOptions(key="camera"))
    assert raised.value.fix == f"Read the movie itself: neurodyn convert {path.parent}/raw/movie.tif movie.zarr --fs 30"


def test_a_movie_in_other_files_beside_traces_is_told(path, caplog):
    file = File().add("Raw", RAW, rate=30.0)
    file.movie("camera", external_file=["movie.tif"], format="external", rate=30.0, starting_frame=[0], num_samples=9)
    assert read(put(file.nwb, path)).variables == ["fluorescence"]
    assert "The frames of acquisition/camera lie in other files, which are not read: movie.tif" in caplog.text


def test_a_plain_picture_series_elsewhere_is_named_too(path):
    nwbfile, _ = session()
    nwbfile.add_acquisition(
        ImageSeries(
            name="eye",
            unit="n.a.",
            external_file=["eye.avi"],
            format="external",
            rate=9.0,
            starting_frame=[0],
            num_samples=9,
        )
    )
    with pytest.raises(DataError, match=r"It names eye\.avi"):
        read(put(nwbfile, path))
