"""Sessions of the Allen Brain Observatory: every part read, every oddity of real files met."""

import csv
import logging

import h5py
import numpy as np
import pytest

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.data.regions import regions_of
from neurodyn.data.window_config import WindowConfig
from neurodyn.data.windows import Windows
from neurodyn.readers.allen.reader import check_session, nwb1_version
from neurodyn.readers.allen.session import epochs
from neurodyn.readers.export import write_csv
from neurodyn.readers.nwb.writing import write_nwb
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.read import read
from tests.readers import allen_files
from tests.readers.allen_files import FPS, PIPELINE, PLANE
from tests.readers.identical import assert_identical


@pytest.fixture(scope="module", params=list(allen_files.BLOCKS))
def made(request, tmp_path_factory):
    path = allen_files.session(tmp_path_factory.mktemp("allen") / "session.nwb", request.param)
    return request.param, path, read(path)


def stored(path, name):
    with h5py.File(path, "r") as file:
        return file[f"{PIPELINE}/{name}"][()]


def edit(path, **changes):
    """Put other arrays in the place of datasets; None removes one."""
    with h5py.File(path, "r+") as file:
        for name, values in changes.items():
            del file[name]
            if values is not None:
                file[name] = values
    return path


def test_traces_are_those_of_the_file(made):
    _, path, recording = made
    assert recording.variables == ["dff", "corrected", "demixed", "neuropil", "fluorescence"]
    demixed, neuropil = (
        stored(path, f"Fluorescence/{PLANE}_demixed_signal/data"),
        stored(path, f"Fluorescence/{PLANE}_neuropil_response/data"),
    )
    r = stored(path, f"Fluorescence/{PLANE}_neuropil_response/r")
    expected = {
        "dff": stored(path, f"DfOverF/{PLANE}/data"),
        "demixed": demixed,
        "neuropil": neuropil,
        "fluorescence": stored(path, f"Fluorescence/{PLANE}/data"),
        "corrected": demixed - r[:, None] * neuropil,
    }
    for name, values in expected.items():
        np.testing.assert_array_equal(recording[name].values, values.T)
        assert recording[name].attrs["units"] == ("ΔF/F" if name == "dff" else "counts")
    np.testing.assert_array_equal(recording["corrected"][5:90:3, 1].values, expected["corrected"][1, 5:90:3])
    np.testing.assert_array_equal(recording.time, stored(path, f"Fluorescence/{PLANE}/timestamps"))
    assert recording.rate_hz == pytest.approx(FPS)


def test_every_event_of_every_stimulus_is_in_the_table(made):
    kind, _, recording = made
    table = recording.stimulus.to_dataframe()
    assert (np.diff(table["start"]) >= 0).all()
    shown = allen_files.shown(kind)
    assert set(table["stimulus"]) == set(shown)
    for name, (data, frames) in shown.items():
        part = table[table["stimulus"] == name]
        frames = (
            np.array([[frames[k, 0], frames[k + 1, 0]] for k in range(0, len(frames), 2)])
            if name[:2] == "sp"
            else frames
        )
        np.testing.assert_array_equal(part[["start_frame", "stop_frame"]], frames)
        np.testing.assert_allclose(part["start"], recording.time[frames[:, 0]])
        np.testing.assert_allclose(part["stop"], recording.time[np.maximum(frames[:, 1], frames[:, 0] + 1)])
        columns = allen_files.FEATURES.get(name, ("frame",) if name != "spontaneous" else ())
        for k, column in enumerate(columns):
            np.testing.assert_array_equal(part[column], data[:, k] if data.ndim == 2 else data)
        other = set(table.columns) - {"start", "stop", "start_frame", "stop_frame", "stimulus", "repeat", *columns}
        assert part[list(other)].isna().all(axis=None)
    movie = table[table["stimulus"] == "natural_movie_one"]
    np.testing.assert_array_equal(movie["repeat"], np.repeat([0, 1, 2], allen_files.MOVIE_FRAMES))


def test_epochs_are_the_blocks_of_the_session(made):
    kind, _, recording = made
    table = recording.table("stimulus")
    assert table["epoch_stimulus"].values.tolist() == list(allen_files.BLOCKS[kind])
    assert (table["epoch_stop"].values[:-1] < table["epoch_start"].values[1:]).all()
    np.testing.assert_allclose(table["epoch_start"], recording.time[table["epoch_start_frame"].values])


def test_metadata_rois_and_pictures(made):
    kind, path, recording = made
    attrs = recording.tree.attrs
    assert recording.session == "501940850" and recording.indicator == "GCaMP6f"
    expected = {"experiment_id": 501940850, "container_id": 511510688, "session_type": f"three_session_{kind}"}
    expected |= {"area": "VISp", "depth_um": 175, "cre_line": "Cux2-CreERT2", "age_days": 103, "sex": "male"}
    assert {name: attrs[name] for name in expected} == expected
    rois = recording.table("rois")
    np.testing.assert_array_equal(rois["cell"], 517400000 + 7 * np.arange(3))
    assert rois["roi_id"].values.tolist() == ["500100000", "500100001", "500100002"]
    for k, pixels in enumerate(regions_of(recording).pixels):
        mask = np.zeros((allen_files.SIZE, allen_files.SIZE), np.uint8)
        mask[tuple(pixels.T)] = 1
        np.testing.assert_array_equal(mask, stored(path, f"ImageSegmentation/{PLANE}/roi_{k:03d}/img_mask"))
    qc = recording.table("qc")
    shifts = stored(path, "MotionCorrection/2p_image_series/xy_translation/data")
    np.testing.assert_allclose(qc["motion"], shifts[:, ::-1], rtol=1e-6)
    assert qc["max_projection"].shape == (allen_files.SIZE, allen_files.SIZE)


def test_behaviour_has_units_and_its_own_clock(made):
    _, path, recording = made
    behavior = recording.table("behavior")
    speed = behavior["running_speed"]
    assert speed.attrs["units"] == "cm/s" and speed.sizes == {"time_running_speed": recording.time.size}
    np.testing.assert_array_equal(speed[10:-20], stored(path, "BehavioralTimeSeries/running_speed/data"))
    assert np.isnan(speed[:10]).all() and np.isnan(speed[-20:]).all()
    np.testing.assert_array_equal(behavior["pupil_y"], stored(path, "EyeTracking/pupil_location/data")[:, 1])
    np.testing.assert_array_equal(
        behavior["pupil_azimuth"], stored(path, "EyeTracking/pupil_location_spherical/data")[:, 1]
    )
    np.testing.assert_array_equal(behavior["pupil_area"], stored(path, "PupilTracking/pupil_size/data"))


def test_survives_saving_with_templates(made, tmp_path):
    kind, path, recording = made
    assert not any(str(name).startswith("template") for name in recording.table("stimulus"))
    saved = Recording.open(read(path, ReadOptions(templates=True)).save(tmp_path / "a.zarr"))
    with h5py.File(path, "r") as file:
        pictures = {
            name.removesuffix("_image_stack"): group["data"][()] for name, group in file["stimulus/templates"].items()
        }
    assert pictures
    for name, values in pictures.items():
        np.testing.assert_array_equal(saved.table("stimulus")[f"template_{name}"], values)
    assert saved.stimulus.sizes == {"event": recording.stimulus.sizes["event"]}
    np.testing.assert_array_equal(saved["corrected"].values, recording["corrected"].values)


def test_events_of_a_saved_session_go_into_csv_and_nwb(tmp_path):
    recording = read(allen_files.session(tmp_path / "session.nwb", trials=3))
    saved = Recording.open(recording.save(tmp_path / "a.zarr"))
    with write_csv(saved, tmp_path / "events.csv", "stimulus").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["stimulus"] for row in rows] == recording.stimulus["stimulus"].values.tolist()
    assert not any(name.startswith("epoch") for name in rows[0])
    assert_identical(read(write_nwb(saved, tmp_path / "b.nwb")), saved)


def test_windows_of_one_stimulus(made):
    kind, _, recording = made
    name = allen_files.BLOCKS[kind][0]
    data, frames = allen_files.shown(kind)[name]
    config = WindowConfig(kind=name, align="events", offset=-1, duration=1.5, split="stimulus_blocks")
    windows = Windows.cut([recording], config)
    np.testing.assert_array_equal(windows.first, frames[:, 0] - 30)
    if data.ndim == 2:
        np.testing.assert_array_equal(
            windows.column("orientation"), data[:, allen_files.FEATURES[name].index("orientation")]
        )
    parts = windows.split()
    assert (parts["test"].trial >= 30).all() and (parts["train"].trial < 30).all()
    assert windows.names[0][1] == "517400007"
    with pytest.raises(DataError, match=f"no stimulus 'gratings'(.|\n)*{name}"):
        Windows.cut([recording], config.model_copy(update={"kind": "gratings"}))


def test_windows_without_kinds_of_stimuli_say_so():
    stimulus = {"start": np.array([1.0]), "stop": np.array([2.0])}
    recording = Recording.from_arrays({"dff": np.zeros((90, 2))}, rate_hz=30, stimulus=stimulus)
    with pytest.raises(DataError, match="no column `stimulus`"):
        Windows.cut([recording], WindowConfig(kind="gratings"))


def test_a_file_without_demixed_traces_gives_the_others(tmp_path, caplog):
    path = allen_files.session(tmp_path / "a.nwb", demixed=False)
    with caplog.at_level(logging.WARNING):
        recording = read(path)
    assert recording.variables == ["dff", "neuropil", "fluorescence"]
    assert "demixed and corrected are left out" in caplog.text


def test_files_of_the_first_pipeline(tmp_path):
    path = allen_files.session(tmp_path / "a.nwb", version="0.9")
    place = f"{PIPELINE}/BehavioralTimeSeries/running_speed/data"
    edit(path, **{place: stored(path, "BehavioralTimeSeries/running_speed/data")[:, None]})
    recording = read(path)
    r, neuropil = stored(path, f"Fluorescence/{PLANE}/r"), stored(path, f"Fluorescence/{PLANE}/neuropil_traces")
    raw = stored(path, f"Fluorescence/{PLANE}/data")
    np.testing.assert_array_equal(recording["corrected"].values, (raw - neuropil * r[:, None]).T)
    assert "demixed" not in recording.variables
    assert recording.table("behavior")["running_speed"].ndim == 1


def test_without_eye_tracking(tmp_path):
    recording = read(allen_files.session(tmp_path / "a.nwb", eye=False))
    assert list(recording.table("behavior").data_vars) == ["running_speed"]


def test_texts_of_variable_length(tmp_path):
    assert read(allen_files.session(tmp_path / "a.nwb", variable_length=True)).tree.attrs["area"] == "VISp"


@pytest.mark.parametrize("longer", ["dff", "clock"])
def test_a_frame_too_many_is_cut_off_with_a_warning(tmp_path, caplog, longer):
    path = allen_files.session(tmp_path / "a.nwb")
    dff, time = stored(path, f"DfOverF/{PLANE}/data"), stored(path, f"Fluorescence/{PLANE}/timestamps")
    if longer == "dff":
        edit(path, **{f"{PIPELINE}/DfOverF/{PLANE}/data": np.concatenate([dff, dff[:, :1]], axis=1)})
    else:
        edit(path, **{f"{PIPELINE}/DfOverF/{PLANE}/data": dff[:, :-1]})
    with caplog.at_level(logging.WARNING):
        recording = read(path)
    kept = min(time.size, stored(path, f"DfOverF/{PLANE}/data").shape[1])
    assert recording.time.size == kept and "differ in length" in caplog.text
    np.testing.assert_array_equal(recording["dff"].values, dff[:, :kept].T)


def test_traces_of_another_length_are_refused(tmp_path):
    path = allen_files.session(tmp_path / "a.nwb")
    edit(path, **{f"{PIPELINE}/DfOverF/{PLANE}/data": np.zeros((3, 500), np.float32)})
    with pytest.raises(DataError, match="same frames"):
        read(path)


def test_cells_that_do_not_fit_are_refused(tmp_path):
    path = edit(allen_files.session(tmp_path / "a.nwb"), **{f"{PIPELINE}/ImageSegmentation/cell_specimen_ids": [1, 2]})
    with pytest.raises(DataError, match="same cells"):
        read(path)


@pytest.mark.parametrize("part", [f"DfOverF/{PLANE}/data", f"Fluorescence/{PLANE}/timestamps", "ImageSegmentation"])
def test_a_missing_part_is_named(tmp_path, part):
    path = edit(allen_files.session(tmp_path / "a.nwb"), **{f"{PIPELINE}/{part}": None})
    with pytest.raises(DataError, match=part):
        read(path)


def test_metadata_that_is_missing_is_named_and_left_out(tmp_path, caplog):
    path = edit(allen_files.session(tmp_path / "a.nwb"), **{"general/subject/age": None})
    with caplog.at_level(logging.WARNING):
        assert "age_days" not in read(path).tree.attrs
    assert "does not say its age_days" in caplog.text


def test_epochs_outlive_dropped_frames_and_extra_blocks(tmp_path, caplog):
    path = allen_files.session(tmp_path / "a.nwb", blocks=["drifting_gratings"] * 4, trials=20)
    times = allen_files.shown("A", ["drifting_gratings"] * 4, 20)["drifting_gratings"][1]
    times[7:] += 25  # frames were dropped in the first block: a pause of 55 frames
    edit(path, **{"stimulus/presentation/drifting_gratings_stimulus/frame_duration": times})
    with caplog.at_level(logging.WARNING):
        table = read(path).table("stimulus")
    assert table.sizes["epoch"] == 4 and "drifting_gratings was shown in 4 blocks" in caplog.text
    np.testing.assert_array_equal(table["epoch_start_frame"], times[::20, 0])
    np.testing.assert_array_equal(table["epoch_stop_frame"], times[19::20, 1])


def test_epochs_of_a_single_event():
    found = epochs({"spontaneous": {"start": np.array([5]), "end": np.array([9])}}, np.arange(20.0))
    assert {name: column.tolist() for name, column in found.items()} == {
        "stimulus": ["spontaneous"],
        "start": [5.0],
        "stop": [9.0],
        "start_frame": [5],
        "stop_frame": [9],
    }


def test_a_stimulus_of_another_form_is_left_out_with_a_warning(tmp_path, caplog):
    path = edit(
        allen_files.session(tmp_path / "a.nwb"),
        **{"stimulus/presentation/natural_movie_one_stimulus/data": np.zeros((36, 2))},
    )
    with caplog.at_level(logging.WARNING):
        assert "natural_movie_one" not in read(path).stimulus["stimulus"].values
    assert "natural_movie_one is in a form" in caplog.text


def test_nwb_1_is_told_from_nwb_2(tmp_path):
    one = allen_files.session(tmp_path / "one.nwb")
    two = write_nwb(Recording.from_arrays({"dff": np.zeros((90, 2))}, rate_hz=30), tmp_path / "two.nwb")
    assert nwb1_version(one) == "NWB-1.0.5" and nwb1_version(two) is None
    with h5py.File(tmp_path / "other.nwb", "w") as file:
        file["nwb_version"] = np.bytes_("NWB-1.0.2")
    with pytest.raises(DataError, match="no session of the Allen Brain Observatory"):
        read(tmp_path / "other.nwb")


def test_a_session_is_checked(tmp_path):
    path = allen_files.session(tmp_path / "a.nwb")
    check_session(path, 501940850)
    with pytest.raises(DataError, match="is not experiment 7"):
        check_session(path, 7)
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(DataError, match="no readable session"):
        check_session(path)
