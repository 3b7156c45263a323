"""NWB: what a recording holds survives the round trip; other programs' files are read by what they say."""

from datetime import UTC, datetime

import h5py
import numpy as np
import pytest
import xarray as xr
from hdmf.common import DynamicTableRegion
from nwbinspector import inspect_nwbfile
from pynwb import NWBHDF5IO, TimeSeries, validate
from pynwb.file import Subject
from pynwb.ophys import (
    DfOverF,
    Fluorescence,
    ImageSegmentation,
    OnePhotonSeries,
    RoiResponseSeries,
    TwoPhotonSeries,
)

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording, entry
from neurodyn.readers.nwb.facts import NwbFacts
from neurodyn.readers.nwb.writing import write_nwb
from neurodyn.readers.options import ReadOptions, VariablePlace
from neurodyn.readers.read import read
from tests.readers.identical import assert_identical
from tests.readers.nwb_files import put, rois_of, session

RNG = np.random.default_rng(0)


def traces(**more):
    neural = {
        "fluorescence": RNG.normal(100, 5, (50, 4)).astype(np.float32),
        "neuropil": RNG.normal(50, 5, (50, 4)),
        "dff": RNG.normal(size=(50, 4)).astype(np.float32),
        "spikes": RNG.poisson(0.1, (50, 4)).astype(np.int16),
    }
    stimulus = {
        "start": np.arange(3.0),
        "stop": np.arange(3.0) + 0.5,
        "contrast": np.array([0.1, 0.5, 1.0]),
        "direction": np.array([0, 90, 180]),
        "scene": np.array(["a", "bé", "c"]),
        "hit": np.array([True, False, True]),
    }
    behavior = xr.Dataset(
        {
            "speed": ("time_wheel", RNG.normal(size=9).astype(np.float32), {"units": "cm/s"}),
            "licking": ("time_wheel", RNG.normal(size=9) > 0),
            "gaze": (("time_eye", "axis"), RNG.normal(size=(7, 2)), {"units": "degree"}),
        },
        coords={"time_wheel": np.linspace(0, 5, 9), "time_eye": np.linspace(1, 4, 7) ** 1.1},
    )
    rois = xr.Dataset(
        {"y": ("roi", RNG.uniform(0, 9, 4)), "x": ("roi", RNG.uniform(0, 9, 4)), "area": ("roi", list("abcd"))}
    )
    history = [entry("dff", {"window": 60.0}), {"step": "other", "params": {}, "version": "1"}]
    return Recording.from_arrays(
        neural,
        **{"rate_hz": 10.0, "session": "mouse", "indicator": "GCaMP6f", "stimulus": stimulus, "behavior": behavior}
        | {"rois": rois, "history": history, "attrs": {"source": "raw.tif"}}
        | more,
    )


def movies():
    neural = {name: RNG.integers(0, 999, (30, 6, 9)).astype(np.uint16) for name in ("fluorescence", "reference")}
    times = np.cumsum(RNG.uniform(0.099, 0.101, 30))
    return Recording.from_arrays(neural, time=times, session="cortex", brain=RNG.normal(size=(6, 9)) > 0)


def everything():
    """Traces with masks, what preprocessing saw, ground truth, epochs of the stimulus, components and odd values."""
    weights = RNG.uniform(size=7)
    masks = {"mask_roi": [0, 0, 0, 1, 3, 3, 3], "mask_y": [0, 1, 2, 4, 5, 5, 5], "mask_x": [8, 8, 7, 0, 1, 2, 3]}
    rois = xr.Dataset(
        {"y": ("roi", [1.0, 4.0, np.nan, 5.3]), "x": ("roi", [7.7, 0.0, np.nan, 1.7], {"units": "pixel"})}
        | {name: ("mask", np.array(values), {"units": "pixel"}) for name, values in masks.items()}
        | {"mask_weight": ("mask", weights), "cell": ("roi", [True, False, True, True])}
        | {"probability": ("roi", [0.9, 0.2, 0.7, 0.8]), "id": ("roi", np.arange(4))}
    )
    seen = {
        "mean_image": (("y", "x"), RNG.normal(size=(6, 9)).astype(np.float32), {"units": "counts"}),
        "max_projection": (("y", "x"), RNG.normal(size=(6, 9)).astype(np.float32)),
        "motion": (("time_qc", "axis"), RNG.normal(size=(50, 2))),
        "dropped": ("time_qc", np.zeros(50, bool)),
        "note": ((), "fine"),
        "none": ("nothing", np.zeros(0)),
    }
    truth = {"spikes": (("time", "roi"), RNG.poisson(1, (50, 4))), "names": ("roi", list("äbcd"))}
    qc = xr.Dataset(seen, coords={"axis": ["y", "x"]}, attrs={"of": "register"})
    return traces(rois=rois, qc=qc, truth=xr.Dataset(truth), attrs={"source": "raw.tif", "nwb": {"lab": "ours"}})


def with_epochs():
    recording = traces()
    table = recording.table("stimulus").assign(epoch_start=("epoch", [0.0]), epoch_stimulus=("epoch", ["gratings"]))
    table["template_scene"] = (("image", "ty", "tx"), RNG.integers(0, 255, (3, 5, 4)).astype(np.uint8))
    tree = recording.tree.copy()
    tree["stimulus"] = xr.DataTree(table)
    return Recording(tree)


def components():
    spatial = xr.Dataset({"svd": (("component", "y", "x"), RNG.normal(size=(3, 6, 9)).astype(np.float32))})
    courses = xr.Variable(("time", "component"), RNG.normal(size=(30, 3)))
    return Recording.from_arrays({"svd": courses}, rate_hz=15.0, components=spatial)


def almost_regular():
    times = 13.5 + np.cumsum(np.full(900, 1 / 30)) + RNG.normal(0, 1e-12, 900)
    speed = xr.Dataset({"speed": ("t", RNG.normal(size=90))}, {"t": np.cumsum(np.full(90, 0.1))})
    return Recording.from_arrays({"dff": RNG.normal(size=(900, 2))}, time=times, behavior=speed)


EVERY = [traces, movies, everything, with_epochs, components, almost_regular]


@pytest.mark.parametrize("make", EVERY)
def test_round_trip(make, tmp_path):
    recording = make()
    assert_identical(read(write_nwb(recording, tmp_path / "a.nwb")), recording)
    saved = Recording.open(recording.save(tmp_path / "a.zarr"))
    again = read(write_nwb(saved, tmp_path / "b.nwb"))
    assert_identical(again, saved)
    again.save(tmp_path / "c.zarr")
    assert_identical(Recording.open(tmp_path / "c.zarr"), saved)


def test_the_same_recording_gives_the_same_values_under_another_name_and_rate(tmp_path):
    path = write_nwb(traces(), tmp_path / "a.nwb")
    again = read(path, ReadOptions(session="other", indicator="GCaMP8f"))
    assert (again.session, again.indicator) == ("other", "GCaMP8f")
    with pytest.raises(DataError, match="contradicts the frame times"):
        read(path, ReadOptions(fs=30.0))


def test_columns_of_any_name(tmp_path):
    names = ["name", "description", "columns", "colnames", "id", "object_id", "start:t", "50%"]
    stimulus = {"start": np.arange(3.0), "stop": np.arange(3.0) + 0.5} | {name: np.arange(3) for name in names}
    recording = traces(stimulus=stimulus, rois=xr.Dataset({name: ("roi", list("abcd")) for name in names}))
    again = read(write_nwb(recording, tmp_path / "a.nwb"))
    assert set(names) <= set(again.stimulus.data_vars) & set(again.table("rois").data_vars)
    assert_identical(again, recording)


def test_a_name_with_a_slash_is_refused():
    with pytest.raises(DataError, match="'a/b' cannot be the name"):
        traces(stimulus={"start": [0.0], "stop": [1.0], "a/b": [1]})


def test_a_part_that_was_removed_is_named(tmp_path):
    path = write_nwb(traces(), tmp_path / "a.nwb")
    with h5py.File(path, "a") as file:
        del file["processing/behavior/speed"]
    with pytest.raises(DataError, match="lacks behavior/speed"):
        read(path)


FACTS = NwbFacts.model_validate(
    {
        "session_start": "2026-05-01T14:30+02:00",
        "experiment": "Tuning of cells in V1",
        "experimenter": ["Curie, Marie"],
        "institution": "Institute",
        "keywords": ["calcium"],
        "subject": {"id": "m12", "species": "Mus musculus", "sex": "F", "age": "P90D"},
        "location": "VISp",
        "device": "Two-photon microscope",
        "excitation_nm": 920,
        "emission_nm": 510,
    }
)


@pytest.mark.parametrize("make", EVERY)
def test_files_are_valid_nwb_and_pass_the_inspector(make, tmp_path):
    path = write_nwb(make(), tmp_path / "a.nwb", FACTS)
    assert validate(path=path) == []
    found = list(inspect_nwbfile(nwbfile_path=path, skip_validate=True))  # which was just done
    assert [(one.check_function_name, one.object_name, one.message) for one in found] == []


def test_regular_times_are_told_by_their_rate(tmp_path):
    with NWBHDF5IO(write_nwb(almost_regular(), tmp_path / "a.nwb"), "r") as io:
        found = io.read()
        series = found.processing["ophys"]["DfOverF"]["dff"]
        assert series.rate == pytest.approx(30) and series.timestamps is None
        assert found.processing["behavior"]["speed"].rate == pytest.approx(10)
    with NWBHDF5IO(write_nwb(movies(), tmp_path / "b.nwb"), "r") as io:
        assert io.read().acquisition["fluorescence"].rate is None


def test_an_unknown_animal_is_said_to_be_unknown(tmp_path, caplog):
    path = write_nwb(traces(), tmp_path / "a.nwb")
    assert "nwb.subject.id" in caplog.text
    with NWBHDF5IO(path, "r") as io:
        subject = io.read().subject
        assert (subject.subject_id, subject.species, subject.age) == ("unknown", None, "P0D/")


def test_suite2p_reads_what_came_from_it(tmp_path):
    reader = pytest.importorskip("suite2p.io.nwb")
    recording = everything()
    path = write_nwb(recording, tmp_path / "a.nwb", FACTS.model_copy(update={"suite2p": True}))
    found = [one.check_function_name for one in inspect_nwbfile(nwbfile_path=path)]
    assert found == ["check_time_series_data_is_not_empty"]  # of the empty movie that suite2p asks for
    stat, settings, fluorescence, neuropil, spikes, verdict, probability, *_ = reader.read_nwb(path)
    for found, name in ((fluorescence, "fluorescence"), (neuropil, "neuropil"), (spikes, "spikes")):
        np.testing.assert_array_equal(found, recording[name].values.T)
    assert verdict[:, 0].tolist() == [1, 0, 1, 1] and probability.tolist() == [0.9, 0.2, 0.7, 0.8]
    assert settings["fs"] == 10.0
    np.testing.assert_array_equal(
        settings["meanImg"], recording.table("qc")["mean_image"].values.T
    )  # x first, as in NWB
    assert stat[0]["ypix"].tolist() == [8, 8, 7] and stat[0]["xpix"].tolist() == [0, 1, 2]


def test_a_file_that_suite2p_wrote(foreign, tmp_path):
    """It puts rows into the field x; see its `save_nwb`."""
    nwbfile, plane = foreign
    module = nwbfile.create_processing_module(name="ophys", description="ophys")
    segmentation = ImageSegmentation()
    table = segmentation.create_plane_segmentation(
        name="PlaneSegmentation", description="suite2p output", imaging_plane=plane
    )
    for row in (3, 4):
        table.add_roi(pixel_mask=[(row, 1, 0.5), (row, 2, 0.5)])
    module.add(segmentation)
    rois = table.create_roi_table_region(region=[0, 1], description="all")
    for number, name in enumerate(("Fluorescence", "Neuropil", "Deconvolved")):
        container = Fluorescence(name=name)
        module.add(container)
        container.add_roi_response_series(_responses("plane0", np.full((5, 2), float(number)), rois, unit="lumens"))
    recording = read(put(nwbfile, tmp_path / "a.nwb"))
    assert [recording[name].values[0, 0] for name in ("fluorescence", "neuropil", "spikes")] == [0, 1, 2]
    rois = recording.table("rois")
    assert rois["y"].values.tolist() == [3, 4] and rois["x"].values.tolist() == [1.5, 1.5]
    assert rois["mask_y"].values.tolist() == [3, 3, 4, 4] and rois["mask_x"].values.tolist() == [1, 2, 1, 2]


def test_what_a_foreign_file_says_of_session_and_animal_survives(foreign, tmp_path):
    nwbfile, plane = foreign
    movie = np.zeros((5, 6, 8), np.uint8)
    nwbfile.add_acquisition(TwoPhotonSeries(name="movie", data=movie, unit="n.a.", imaging_plane=plane, rate=2.0))
    nwbfile.keywords = ["tectum"]
    nwbfile.subject = Subject(subject_id="m7", species="Danio rerio", sex="F", age="P6D")
    again = write_nwb(read(put(nwbfile, tmp_path / "a.nwb")), tmp_path / "b.nwb")
    with NWBHDF5IO(again, "r") as io:
        found = io.read()
        assert (found.subject.subject_id, found.subject.species, found.subject.age) == ("m7", "Danio rerio", "P6D")
        assert found.session_start_time == datetime(2020, 1, 2, tzinfo=UTC)
        plane = found.imaging_planes["imaging_plane"]
        assert (plane.location, plane.excitation_lambda, plane.indicator) == ("V1", 920.0, "GCaMP7b")


@pytest.mark.parametrize(("photons", "kind"), [(None, OnePhotonSeries), (1, OnePhotonSeries), (2, TwoPhotonSeries)])
def test_movies_lie_as_time_x_y(photons, kind, tmp_path):
    recording = movies()
    facts = NwbFacts(photons=photons)
    with NWBHDF5IO(write_nwb(recording, tmp_path / "a.nwb", facts), "r") as io:
        series = io.read().acquisition["reference"]
        assert type(series) is kind
        np.testing.assert_array_equal(series.data[7], recording["reference"].values[7].T)


def test_nothing_is_left_of_a_failed_write(tmp_path):
    behavior = xr.Dataset({"speed": ("frame", np.zeros(3))})
    with pytest.raises(DataError, match="has no times"):
        write_nwb(traces(behavior=behavior), tmp_path / "a.nwb")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def foreign():
    return session()


def _responses(name, data, rois, **more):
    return RoiResponseSeries(name=name, data=data, rois=rois, starting_time=5.0, rate=20.0, **more)


def test_a_foreign_file(foreign, tmp_path):
    nwbfile, plane = foreign
    raw, dff = RNG.integers(0, 99, (40, 3)).astype(np.int16), RNG.normal(size=(40, 2))
    module = nwbfile.create_processing_module(name="ophys", description="ophys")
    table = rois_of(module, plane, 3)
    some = DynamicTableRegion(name="rois", data=[2, 0], description="two", table=table)
    whole = table.create_roi_table_region(region=[0, 1, 2], description="all")
    for container in (fluorescence := Fluorescence(), ratio := DfOverF()):
        module.add(container)
    fluorescence.add_roi_response_series(_responses("Raw", raw, whole, unit="V", conversion=0.5, offset=1.0))
    ratio.add_roi_response_series(_responses("RoiResponseSeries", dff, some, unit="n.a."))
    nwbfile.add_acquisition(TimeSeries(name="wheel", data=np.arange(8.0), unit="rad", rate=4.0))
    nwbfile.add_trial(start_time=5.5, stop_time=6.0)
    path = put(nwbfile, tmp_path / "a.nwb")

    recording = read(path, ReadOptions(variables={"dff": VariablePlace(key="RoiResponseSeries")}))
    np.testing.assert_array_equal(recording["dff"].values, dff)
    np.testing.assert_allclose(recording.time, 5 + np.arange(40) / 20)
    np.testing.assert_array_equal(recording.table("rois")["depth"].values, [20.0, 0.0])
    np.testing.assert_allclose(recording.table("behavior")["time_wheel"].values, np.arange(8) / 4)
    assert recording.stimulus["start"].values == [5.5]
    assert (recording.session, recording.indicator, recording.rate_hz) == ("id-7", "GCaMP7b", 20.0)

    scaled = read(path, ReadOptions(variables={"fluorescence": VariablePlace(key="processing/ophys/Fluorescence/Raw")}))
    np.testing.assert_allclose(scaled["fluorescence"].values, raw * 0.5 + 1)
    assert scaled["fluorescence"].attrs["units"] == "V"
    with pytest.raises(DataError, match="have clocks|of different ROIs"):
        read(path)
    with pytest.raises(DataError, match="no series 'Other'"):
        read(path, ReadOptions(variables={"dff": VariablePlace(key="Other")}))


def test_a_movie_stored_against_the_standard(foreign, tmp_path):
    nwbfile, plane = foreign
    movie = RNG.integers(0, 99, (5, 6, 8)).astype(np.uint8)
    nwbfile.add_acquisition(TwoPhotonSeries(name="movie", data=movie, unit="n.a.", imaging_plane=plane, rate=2.0))
    path = put(nwbfile, tmp_path / "a.nwb")
    np.testing.assert_array_equal(read(path)["fluorescence"].values, movie.transpose(0, 2, 1))
    np.testing.assert_array_equal(read(path, ReadOptions(axes="time,y,x"))["fluorescence"].values, movie)


def test_two_candidates_are_listed_not_guessed(foreign, tmp_path):
    nwbfile, plane = foreign
    for name in ("one", "two"):
        data = np.zeros((5, 6, 8), np.uint8)
        nwbfile.add_acquisition(TwoPhotonSeries(name=name, data=data, unit="n.a.", imaging_plane=plane, rate=2.0))
    path = put(nwbfile, tmp_path / "a.nwb")
    with pytest.raises(DataError, match=r"acquisition/one \(5, 6, 8\) at 2 Hz, acquisition/two"):
        read(path)
    places = {"fluorescence": VariablePlace(key="one"), "reference": VariablePlace(key="two")}
    assert read(path, ReadOptions(variables=places)).variables == ["fluorescence", "reference"]


def test_events_of_several_tables_are_merged_in_time(foreign, tmp_path):
    nwbfile, plane = foreign
    data = np.zeros((5, 6, 8), np.uint8)
    nwbfile.add_acquisition(TwoPhotonSeries(name="movie", data=data, unit="n.a.", imaging_plane=plane, rate=2.0))
    for name, starts, column in (("gratings", [0.0, 2.0], "contrast"), ("flashes", [1.0], "colour")):
        table = nwbfile.create_time_intervals(name=name, description="shown")
        table.add_column(name=column, description="c")
        for start in starts:
            table.add_row(start_time=start, stop_time=start + 0.5, **{column: 0.5 if column == "contrast" else "red"})
    stimulus = read(put(nwbfile, tmp_path / "a.nwb")).stimulus
    assert stimulus["start"].values.tolist() == [0.0, 1.0, 2.0]
    assert stimulus["table"].values.tolist() == ["gratings", "flashes", "gratings"]
    assert stimulus["colour"].values.tolist() == ["", "red", ""]
    np.testing.assert_array_equal(stimulus["contrast"].values, [0.5, np.nan, 0.5])


def test_files_without_imaging_and_files_that_are_not_nwb(foreign, tmp_path):
    with pytest.raises(DataError, match="no imaging data"):
        read(put(foreign[0], tmp_path / "a.nwb"))
    with h5py.File(tmp_path / "b.nwb", "w") as file:
        file["x"] = np.ones(3)
    with pytest.raises(DataError, match="cannot be read as NWB"):
        read(tmp_path / "b.nwb")


def test_placeholders_are_told_with_the_option_that_fills_them(tmp_path, caplog):
    path = write_nwb(traces(), tmp_path / "a.nwb")
    assert "1970-01-01T00:00:00+00:00 is written in its place" in caplog.text
    for option in ("session_start=2024-05-06T07:08:09+02:00", "subject.id=", "subject.species=", "subject.age=P90D"):
        assert f"--set nwb.{option}" in caplog.text.replace("'", "")
    with NWBHDF5IO(path, "r") as io:
        assert io.read().session_start_time == datetime(1970, 1, 1, tzinfo=UTC)


def test_what_is_told_is_written_and_not_warned_of(tmp_path, caplog):
    subject = {"id": "m1", "species": "Mus musculus", "age": "P90D"}
    facts = NwbFacts.model_validate({"session_start": "2024-05-06T07:08:09+02:00", "subject": subject})
    with NWBHDF5IO(write_nwb(traces(), tmp_path / "a.nwb", facts), "r") as io:
        assert io.read().session_start_time == datetime(2024, 5, 6, 5, 8, 9, tzinfo=UTC)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_start_without_time_zone_is_told_to_be_taken_as_utc(tmp_path, caplog):
    facts = NwbFacts.model_validate({"session_start": "2024-05-06T07:08:09"})
    with NWBHDF5IO(write_nwb(traces(), tmp_path / "a.nwb", facts), "r") as io:
        assert io.read().session_start_time == datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    assert "has no time zone: UTC is written" in caplog.text
