"""Sessions of the Allen Institute in NWB 2: what DANDI's files hold is what the Institute's own hold."""

import logging

import h5py
import numpy as np
import pytest

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording
from neurodyn.data.regions import regions_of
from neurodyn.readers.allen.nwb2 import nearest
from neurodyn.readers.allen.reader import is_nwb2_session
from neurodyn.readers.options import ReadOptions, VariablePlace
from neurodyn.readers.read import read
from tests.readers import allen_files, dandi_files

TRIALS = {"A": 15, "B": 40, "C2": 15}
KEPT = ("experiment_id", "container_id", "session_type", "area", "depth_um", "cre_line", "genotype", "age_days", "sex")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("dandi")


@pytest.fixture(scope="module", params=list(TRIALS))
def both(request, folder):
    """Return the same session as NWB 1 and as NWB 2, both read."""
    one = allen_files.session(folder / f"{request.param}.nwb", request.param, trials=TRIALS[request.param])
    two = dandi_files.coding(one, folder / request.param / "ses-501940850.nwb", short=False)
    return read(one), read(two)


@pytest.fixture(scope="module")
def session_b(folder):
    return allen_files.session(folder / "session_b.nwb", "B")


def assert_equal(one, other):
    assert one.dims == other.dims and one.attrs.get("units") == other.attrs.get("units")
    np.testing.assert_array_equal(one.values, other.values)


def test_traces_clock_cells_and_behaviour_are_those_of_nwb_1(both):
    one, two = both
    assert two.variables == [*one.variables, "spikes"]
    for name in one.variables:
        assert_equal(one[name], two[name])
        assert one[name].dtype == two[name].dtype
    np.testing.assert_array_equal(two["spikes"], np.maximum(one["dff"], 0))
    np.testing.assert_array_equal(one.time, two.time)
    for group in ("rois", "behavior"):
        assert set(one.table(group).variables) == set(two.table(group).variables)
        for name, column in one.table(group).variables.items():
            assert_equal(column, two.table(group)[name].variable)
    assert_equal(one.table("qc")["max_projection"], two.table("qc")["max_projection"])
    attrs = [{name: recording.tree.attrs[name] for name in KEPT} for recording in both]
    assert attrs[0] == attrs[1]
    assert (one.session, one.indicator, one.rate_hz) == (two.session, two.indicator, two.rate_hz)


def test_the_stimulus_table_is_that_of_nwb_1(both):
    one, two = (recording.stimulus.to_dataframe() for recording in both)
    assert set(one.columns) <= set(two.columns) and set(two.columns) - set(one.columns) <= {
        "spatial_frequency",
        "blank_sweep",
    }
    np.testing.assert_array_equal(one["stimulus"], two["stimulus"])
    parameters = set(one.columns) - {"start", "stop", "start_frame", "stop_frame", "stimulus", "spatial_frequency"}
    for name in parameters | {"start", "start_frame"}:
        shown = one[name].notna()  # the file says more of gratings than NWB 1 does
        np.testing.assert_allclose(one[name][shown], two[name][shown], rtol=1e-12, err_msg=name)
    gratings = one["stimulus"].isin(["drifting_gratings", "spontaneous"]).to_numpy()
    np.testing.assert_array_equal(one["stop_frame"][gratings], two["stop_frame"][gratings])
    np.testing.assert_allclose(one["stop"][gratings], two["stop"][gratings], rtol=1e-12)
    # how long a picture was shown is the protocol's; NWB 1 has the nearest frame
    np.testing.assert_allclose(one["stop"], two["stop"], atol=1 / allen_files.FPS)


def test_epochs_are_the_file_s_and_found_where_it_has_none(both, folder):
    one, two = (recording.table("stimulus") for recording in both)
    for name in ("stimulus", "start", "stop", "start_frame", "stop_frame"):
        np.testing.assert_array_equal(one[f"epoch_{name}"], two[f"epoch_{name}"])
    if "drifting_gratings" in one["epoch_stimulus"]:
        bare = read(dandi_files.coding(folder / "A.nwb", folder / "bare.nwb", has_epochs=False)).table("stimulus")
        np.testing.assert_array_equal(one["epoch_stimulus"], bare["epoch_stimulus"])
        np.testing.assert_array_equal(one["epoch_start_frame"], bare["epoch_start_frame"])
        assert np.abs(one["epoch_stop_frame"].values - bare["epoch_stop_frame"].values).max() <= 1


def test_templates_and_saving(folder, tmp_path):
    one = allen_files.session(tmp_path / "one.nwb", "B", trials=TRIALS["B"])
    two = dandi_files.coding(one, tmp_path / "two.nwb", short=False)
    assert not any(str(name).startswith("template") for name in read(two).table("stimulus"))
    saved = Recording.open(read(two, ReadOptions(templates=True)).save(tmp_path / "a.zarr"))
    with h5py.File(one) as file:
        for name in ("natural_scenes", "natural_movie_one"):
            pictures = file[f"stimulus/templates/{name}_image_stack/data"][()]
            np.testing.assert_array_equal(saved.table("stimulus")[f"template_{name}"], pictures)
    np.testing.assert_array_equal(saved["corrected"], read(one)["corrected"])


def test_static_gratings_that_are_not_whole_are_refused(session_b, folder):
    two = dandi_files.coding(session_b, folder / dandi_files.coding_path(501800164, "B"))
    with pytest.raises(
        DataError, match="static gratings are not whole(.|\n)*3 of(.|\n)*--experiment 501800164"
    ) as caught:
        read(two)
    assert caught.value.exit_code == 3 and "source.skip=[static_gratings]" in caught.value.fix
    recording = read(two, ReadOptions(skip=("static_gratings",)))
    assert set(recording.stimulus["stimulus"].values) == {"natural_scenes", "natural_movie_one", "spontaneous"}
    assert "static_gratings" not in recording.table("stimulus")["epoch_stimulus"]
    np.testing.assert_array_equal(recording["dff"], read(session_b)["dff"])


def test_a_stimulus_can_be_skipped_in_nwb_1_too(session_b):
    recording = read(session_b, ReadOptions(skip=("natural_scenes",)))
    assert set(recording.stimulus["stimulus"].values) == {"static_gratings", "natural_movie_one", "spontaneous"}
    with pytest.raises(ConfigError, match="natural_scene was not shown(.|\n)*natural_movie_one, natural_scenes"):
        read(session_b, ReadOptions(skip=("natural_scene",)))


def test_blanks_without_sign_are_mended_and_told(session_b, folder, caplog):
    two = dandi_files.coding(session_b, folder / "blanks.nwb")
    with h5py.File(two) as file:
        stored = file["stimulus/presentation/natural_scenes_stimulus/data"][()]
    assert stored.max() == 2**32 - 1
    with caplog.at_level(logging.WARNING):
        table = read(two, ReadOptions(skip=("static_gratings",))).stimulus.to_dataframe()
    scenes = table[table["stimulus"] == "natural_scenes"]["frame"]
    np.testing.assert_array_equal(scenes, stored.astype(np.int32))
    assert f"{(stored == 2**32 - 1).sum()} blanks of natural_scenes were stored as 4294967295" in caplog.text


def test_a_file_without_demixed_traces_gives_the_others(folder, caplog):
    one = allen_files.session(folder / "mixed_one.nwb", "C2", demixed=False)
    two = folder / "mixed.nwb"
    with caplog.at_level(logging.WARNING):
        recording = read(dandi_files.coding(one, two, demixed=False))
    assert recording.variables == ["dff", "neuropil", "fluorescence", "spikes"]
    assert "corrected is left out" in caplog.text


def test_a_series_that_is_corrected_indeed_is_not_taken_for_raw(folder):
    one = allen_files.session(folder / "right_one.nwb", "C2")
    two = dandi_files.coding(one, folder / "right.nwb")
    corrected = read(one)["corrected"].values
    with h5py.File(two, "r+") as file:
        file["processing/ophys/Fluorescence/Corrected/data"][...] = corrected
    assert read(two).variables == ["dff", "corrected", "demixed", "neuropil", "spikes"]
    np.testing.assert_array_equal(read(two)["corrected"], corrected)


def test_what_the_file_does_not_say_is_told_and_left_out(folder, caplog):
    two = dandi_files.coding(allen_files.session(folder / "said_one.nwb", "C2"), folder / "said.nwb")
    with h5py.File(two, "r+") as file:
        del file["general/notes"], file["general/optophysiology/ImagingPlane/description"]
        file["general/optophysiology/ImagingPlane/description"] = "at a depth of {depth} µm."
    with caplog.at_level(logging.WARNING):
        attrs = read(two).tree.attrs
    assert not {"container_id", "session_type", "depth_um"} & set(attrs) and attrs["experiment_id"] == 501940850
    assert "does not say its depth_um" in caplog.text and "does not say its container_id" in caplog.text


def test_a_missing_part_is_named(folder):
    two = dandi_files.coding(allen_files.session(folder / "part_one.nwb", "C2"), folder / "part.nwb")
    with h5py.File(two, "r+") as file:
        del file["processing/ophys/DfOverF/DfOverF/timestamps"]
    with pytest.raises(DataError, match="processing/ophys/DfOverF/DfOverF/timestamps"):
        read(two)
    two.write_bytes(two.read_bytes()[:30_000])
    assert not is_nwb2_session(two)
    with pytest.raises(DataError, match="cannot be read"):
        read(two)


def test_the_nearest_frame():
    time = np.array([1.0, 2.0, 3.0, 4.0])
    assert nearest(np.array([0.0, 1.0, 1.4, 1.6, 3.0, 4.0, 9.0]), time).tolist() == [0, 0, 0, 1, 2, 3, 3]


@pytest.fixture(scope="module")
def behaved(folder):
    made = dandi_files.behavior(folder / "behavior.nwb")
    return made, read(folder / "behavior.nwb")


def test_visual_behavior_has_traces_cells_and_metadata(behaved):
    made, recording = behaved
    assert recording.variables == ["dff", "corrected", "spikes"]
    for name in recording.variables:
        np.testing.assert_array_equal(recording[name], made[name])
        np.testing.assert_array_equal(recording[name][10:300:7, 1:3], made[name][10:300:7, 1:3])
    np.testing.assert_array_equal(recording.time, made["time"])
    rois = recording.table("rois")
    np.testing.assert_array_equal(rois["cell"], made["cells"])
    np.testing.assert_array_equal(rois["valid"], made["valid"])
    assert rois["roi_id"].values.tolist() == [str(1080740882 + k) for k in range(4)]
    for pixels, mask in zip(regions_of(recording).pixels, made["masks"], strict=True):
        np.testing.assert_array_equal(pixels, np.argwhere(mask))
    np.testing.assert_array_equal(recording.table("qc")["max_projection"], made["max_projection"])
    np.testing.assert_array_equal(recording.table("qc")["motion"], made["motion"])
    expected = {"experiment_id": 880961028, "container_id": 930022332, "session_type": "OPHYS_6_images_B"}
    expected |= {"area": "VISp", "depth_um": 371, "cre_line": "Vip-IRES-Cre", "age_days": 180, "sex": "female"}
    assert {name: recording.tree.attrs[name] for name in expected} == expected
    assert (recording.session, recording.indicator) == ("880961028", "GCaMP6f")


def test_visual_behavior_has_its_images(behaved):
    made, recording = behaved
    table = recording.stimulus.to_dataframe()
    images = table[table["stimulus"] == dandi_files.IMAGES].reset_index()
    for name in ("image_name", "image_index", "is_change", "omitted", "stimulus_block"):
        np.testing.assert_array_equal(images[name], made["shown"][name])
    np.testing.assert_array_equal(images["start"], made["start"])
    np.testing.assert_allclose(images["stop"], made["start"] + 0.25)
    np.testing.assert_array_equal(images["monitor_start_frame"], made["shown"]["start_frame"])
    assert np.abs(recording.time[images["start_frame"]] - images["start"]).max() <= 0.5 / dandi_files.RATE
    assert set(images["orientation_name"]) == {"", "x"} and "stimulus_name" not in table
    movie, columns = made["movie"]
    shown = table[table["stimulus"] == "natural_movie_one"]
    np.testing.assert_array_equal(shown["start"], movie)
    np.testing.assert_array_equal(shown[["frame", "repeat"]], np.stack(list(columns.values()), axis=1))
    assert set(shown["image_name"]) == {""} and shown["image_index"].isna().all()
    events = recording.table("stimulus")
    assert events["epoch_stimulus"].values.tolist() == [dandi_files.IMAGES, "natural_movie_one"]
    assert events["trial_hit"].values.tolist() == [True, False, False, False] and "trial_lick_times" not in events
    np.testing.assert_array_equal(events["trial_start"], made["start"][::9][:4])


def test_visual_behavior_has_behaviour_on_its_own_clocks(behaved):
    made, recording = behaved
    behavior = recording.table("behavior")
    places = {"running_speed": "speed", "licks": "licks", "reward_volume": "volume", "reward_auto": "autorewarded"}
    for name, source in places.items():
        time, values = made[source]
        np.testing.assert_array_equal(behavior[name], values)
        np.testing.assert_array_equal(behavior[behavior[name].dims[0]], time)
    assert behavior["running_speed"].attrs["units"] == "cm/s"
    for name in ("area", "width", "height"):
        np.testing.assert_array_equal(behavior[f"pupil_{name}"], made["eye"][name])
    np.testing.assert_array_equal(behavior["pupil_center_y"], made["eye"]["data"][:, 1])
    assert behavior["likely_blink"].dims == behavior["pupil_area"].dims == ("time_pupil_tracking",)


def test_events_of_some_cells_and_a_passive_session(folder, tmp_path):
    made = dandi_files.behavior(folder / "passive.nwb", some_events=True, passive=True)
    recording = read(folder / "passive.nwb")
    assert np.isnan(recording["spikes"][:, 0]).all()
    np.testing.assert_array_equal(recording["spikes"][:, 1:], made["spikes"][:, 1:])
    np.testing.assert_array_equal(recording["spikes"][50, 2], made["spikes"][50, 2])
    assert not {"licks", "reward_volume"} & set(recording.table("behavior"))
    saved = Recording.open(recording.save(tmp_path / "a.zarr"))
    np.testing.assert_array_equal(saved["spikes"], recording["spikes"])
    np.testing.assert_array_equal(saved.stimulus["image_name"], recording.stimulus["image_name"])


def test_the_general_reader_is_a_way_out(session_b, folder):
    path = dandi_files.coding(session_b, folder / "general.nwb")
    options = ReadOptions(variables={"dff": VariablePlace(key="processing/ophys/DfOverF/DfOverF")})
    recording = read(path, options, "nwb")
    np.testing.assert_array_equal(recording["dff"], read(session_b)["dff"])
    with pytest.raises(ConfigError, match="allen reader has no use for: variables"):
        read(path, options)
