"""`neurodyn inspect` says truly what a file is, or what it needs to be told."""

import json

import numpy as np
import pytest
import tifffile

from neurodyn.data.recording import Recording

RNG = np.random.default_rng(0)


@pytest.fixture
def facts(neurodyn):
    def inspected(path, *more):
        done = neurodyn("inspect", path, "--json", *more)
        assert done.code == 0, done.err
        return json.loads(done.out)

    return inspected


def needs(found):
    return [need["option"] for need in found.get("needs", [])]


def obeyed(neurodyn, found, folder):
    """Do what `next` says first."""
    words = found["next"][0].split()[1:]
    words[2] = str(folder / "recording.zarr")
    done = neurodyn(*words)
    assert done.code == 0, done.err
    return Recording.open(folder / "recording.zarr")


def test_a_recording_says_all_of_itself(facts, tmp_path):
    stimulus = {"start": [1.0, 2.0], "stop": [1.5, 2.5], "contrast": [0.1, 0.9]}
    recording = Recording.from_arrays(
        {"dff": RNG.normal(size=(90, 3))}, rate_hz=30, indicator="GCaMP6f", stimulus=stimulus
    )
    found = facts(recording.save(tmp_path / "a.zarr"))
    assert found["format"] == "recording" and "needs" not in found
    assert found["rate"] == "30 Hz" and found["duration"] == "3.0 s, 90 frames"
    assert found["indicator"] == "GCaMP6f: peak after 45 ms, half-decay 142 ms"
    assert found["stimulus"] == ["2 events, 1.0 to 2.5 s", "contrast: 0.1 (1), 0.9 (1)"]
    assert f"neurodyn decode {tmp_path / 'a.zarr'} --target contrast" in found["next"]


def test_a_container_is_told_apart_by_what_lies_beside_the_array(facts, neurodyn, tmp_path):
    path = tmp_path / "trials.npz"
    names = np.array([f"n{k}" for k in range(5)])
    np.savez(path, X=RNG.normal(size=(8, 5, 20)), t=np.arange(20) / 10 - 1, dt=0.1, ids=names, pupil=np.zeros((8, 20)))
    found = facts(path)
    assert needs(found) == ["--key X", "--axes trial,roi,time", "--fs 10"]
    recording = obeyed(neurodyn, found, tmp_path)
    assert recording["fluorescence"].shape == (160, 5) and recording.rate_hz == 10


def test_times_stand_for_a_rate_and_names_for_a_choice(facts, neurodyn, tmp_path):
    path = tmp_path / "a.npz"
    times = np.cumsum(RNG.uniform(0.09, 0.11, 50))
    np.savez(path, traces=RNG.normal(size=(4, 50)), sound=RNG.normal(size=(40, 50)), when=times)
    found = facts(path)
    assert needs(found) == ["--key traces", "--axes roi,time", "--set source.times=when"]
    np.testing.assert_array_equal(obeyed(neurodyn, found, tmp_path).time, times)


def test_two_rates_are_listed_not_chosen(facts, tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, dff=RNG.normal(size=(60, 4)), VIDEOfs=30.0, SONGfs=200.0)
    (need,) = facts(path)["needs"]
    assert need["option"] == "--fs HZ" and "VIDEOfs = 30, SONGfs = 200" in need["why"]


def test_marks_of_frames_are_told(facts, tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, movie=np.zeros((40, 20, 20), np.uint16), is_405=np.arange(40) % 2 == 1)
    found = facts(path, "--fs", "20")
    assert needs(found) == [] and found["rate"] == "20 Hz"
    assert "is_405 marks 20 of 40 frames" in found["notes"][0]


def test_a_picture_is_no_movie(facts, tmp_path):
    tifffile.imwrite(tmp_path / "mask.tif", np.ones((20, 30), np.uint8))
    found = facts(tmp_path / "mask.tif")
    assert found["format"] == "tiff, one picture" and "20 x 30 pixels" in found["notes"][0]


def test_vectors_alone_are_no_recording(facts, tmp_path):
    np.savez(tmp_path / "a.npz", position=np.arange(9.0))
    found = facts(tmp_path / "a.npz")
    assert "none can be a recording" in found["notes"][0] and "next" not in found


def test_a_damaged_file_is_an_error(neurodyn, tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK damaged")
    assert neurodyn("inspect", tmp_path / "a.npz").code == 3


TOLD = {
    "allen_excerpt/Experiment_552195520_excerpt.mat": ["--axes roi,time", "--fs HZ"],
    "flavell_worms/2022-07-27-45-data.h5": ["--key gcamp/trace_array", "--set source.times=timing/timestamp_confocal"],
    "flavell_worms/2022-08-02-31-data.h5": ["--key gcamp/trace_array", "--set source.times=timing/timestamp_confocal"],
    "minian_1p/movie_1000x128x128_uint8.tif": ["--fs HZ"],
    "neurofinder/movie_600x128x128_uint16.tif": ["--fs HZ"],
    "neurofinder/regions.json": [],
    "park_v1_gratings/230804_mrcuts27_fov3.npz": ["--key X", "--axes trial,roi,time", "--fs 16"],
    "park_v1_gratings/230809_mrcuts28_fov4.npz": ["--key X", "--axes trial,roi,time", "--fs 16"],
    "seqnmf_birdsong/MackeviciusData.mat": ["--key NEURAL", "--axes roi,time", "--fs HZ"],
    "triplett_zebrafish/zf_20170215-f3.mat": ["--key activity_matrix", "--axes roi,time", "--fs HZ"],
    "yulong_widefield/widefield_bin4_128_frames0-199.h5": ["--key green_camera", "--set source.times=frame_times_s"],
    "yulong_widefield/WholeCortexMask.tif": [],
    "zivlab_hippocampus/C8M2_spike_train.mat": ["--key spike_train/0", "--fs HZ"],
    "zivlab_hippocampus/C24M3_spike_train.mat": ["--key spike_train/15", "--fs HZ"],
    "zivlab_hippocampus/C8M2_stimulus_trace.mat": [],
    "zivlab_hippocampus/C24M3_stimulus_trace.mat": [],
}


@pytest.mark.parametrize("name", TOLD)
def test_shared_files(facts, shared_data, name):
    assert needs(facts(shared_data / name)) == TOLD[name]


def test_every_shared_file_is_understood(facts, shared_data):
    there = [
        path for path in sorted(shared_data.rglob("*")) if path.is_file() and path.stem not in ("README", "LICENSE")
    ]
    files = {(path.parent, path.suffix): path for path in there}.values()  # a folder's files are alike
    assert len(files) > len(TOLD)
    for path in files:
        found = facts(path)
        assert found.get("needs") or found.get("notes") or "rate" in found, path


def test_what_is_no_recording_is_named(facts, tmp_path):
    run = tmp_path / "runs" / "cst"
    run.mkdir(parents=True)
    for name in ("config.yaml", "status.json"):
        (run / name).write_text("{}")
    assert facts(run)["format"] == "run folder"
    (tmp_path / "scores.csv").write_text("session,model\n")
    assert facts(tmp_path / "scores.csv")["format"] == "scores"
    (tmp_path / "regions.json").write_text('[{"id": 1, "coordinates": [[0, 1], [0, 2]]}]')
    assert facts(tmp_path / "regions.json")["notes"][0].startswith("1 regions of interest")


def test_arrays_beside_a_usual_name_are_read_without_being_told(facts, tmp_path):
    np.savez(tmp_path / "a.npz", fluorescence=RNG.normal(size=(60, 4)), other=RNG.normal(size=(60, 9)))
    assert needs(facts(tmp_path / "a.npz", "--fs", "30", "--key", "other")) == []
    found = facts(tmp_path / "a.npz", "--axes", "roi,time", "--key", "other", "--fs", "2")
    assert found["fluorescence"].startswith("(time, roi) (9, 60)")


def test_what_is_told_wrongly_is_an_error(neurodyn, facts, tmp_path):
    np.savez(tmp_path / "a.npz", traces=RNG.normal(size=(60, 4)))
    for wrong in (("--key", "other"), ("--axes", "time,y,x"), ("--axes", "roi,y")):
        done = neurodyn("inspect", tmp_path / "a.npz", *wrong)
        assert done.code in (2, 3) and "Traceback" not in done.err and done.err.startswith("Error")
    assert facts(tmp_path / "a.npz", "--axes", "time roi", "--fs", "3")["fluorescence"].startswith(
        "(time, roi) (60, 4)"
    )
