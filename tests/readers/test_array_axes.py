"""Axes of plain arrays: named, asked for, or told what was taken."""

import h5py
import numpy as np
import pytest
import scipy.io
import zarr

from neurodyn.data.recording import Recording
from neurodyn.readers.options import ReadOptions, VariablePlace
from neurodyn.readers.questions import QuestionError
from neurodyn.readers.read import read

RNG = np.random.default_rng(0)
FEW = RNG.random((20, 60)).astype("f4")  # 20 frames of 60 ROIs, or the other way round


def asked(path, **options):
    with pytest.raises(QuestionError) as question:
        read(path, ReadOptions(fs=10.0, **options))
    return question.value


def test_more_rois_than_frames_are_asked_about_never_taken(tmp_path):
    np.save(tmp_path / "a.npy", FEW)
    question = asked(tmp_path / "a.npy")
    assert question.need.option == "--axes roi,time" and "20 x 60" in question.found
    for axes, right in (("roi,time", FEW.T), ("time,roi", FEW)):
        recording = read(tmp_path / "a.npy", ReadOptions(fs=10.0, axes=axes))
        np.testing.assert_array_equal(recording["fluorescence"].values, right)
        assert "layout" not in recording.tree.attrs


def test_what_is_taken_is_told(tmp_path, caplog):
    np.save(tmp_path / "a.npy", FEW.T)
    recording = read(tmp_path / "a.npy", ReadOptions(fs=10.0))
    assert recording["fluorescence"].shape == (60, 20)
    assert "60 frames of 20 ROIs; else --axes roi,time" in caplog.text
    assert recording.tree.attrs["layout"] in caplog.text


@pytest.mark.parametrize("name", ["F", "spks", "F_dff"])
def test_names_that_programs_give_speak_for_roi_by_time_whatever_the_shape(name, tmp_path):
    np.save(tmp_path / f"{name}.npy", FEW.T)
    assert asked(tmp_path / f"{name}.npy").need.option == "--axes roi,time"


def test_variables_are_asked_about_one_by_one(tmp_path):
    np.savez(tmp_path / "a.npz", one=FEW, two=FEW)
    variables = {"fluorescence": VariablePlace(key="one", axes="roi,time"), "neuropil": VariablePlace(key="two")}
    question = asked(tmp_path / "a.npz", variables=variables)
    assert question.need.option == "--set source.variables.neuropil.axes=roi,time"
    recording = read(tmp_path / "a.npz", ReadOptions(fs=10.0).model_copy(update=question.guess))
    np.testing.assert_array_equal(recording["neuropil"].values, FEW.T)


@pytest.mark.parametrize("dims", [("roi", "time"), ("time", "roi"), ("Cell", "Frame"), ("unit_id", "frame")])
@pytest.mark.parametrize("version", [2, 3])
def test_zarr_arrays_with_named_axes_lie_as_they_say(dims, version, tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)
    if version == 3:
        group.create_array("traces", data=FEW, dimension_names=dims)
    else:
        group.create_array("traces", data=FEW).attrs["_ARRAY_DIMENSIONS"] = list(dims)
    recording = read(tmp_path / "a.zarr", ReadOptions(fs=10.0))
    np.testing.assert_array_equal(recording["fluorescence"].values, FEW if dims[0] == "time" else FEW.T)
    assert "as the file names them" in recording.tree.attrs["layout"]


@pytest.mark.parametrize("dims", [("roi", "time"), ("time", "roi")])
@pytest.mark.parametrize("suffix", [".h5", ".nc"])
def test_dimension_scales_name_the_axes(dims, suffix, tmp_path):
    with h5py.File(tmp_path / f"a{suffix}", "w") as file:
        file["traces"] = FEW
        for axis, name in enumerate(dims):
            file[name] = np.arange(FEW.shape[axis])
            file[name].make_scale(name)
            file["traces"].dims[axis].attach_scale(file[name])
    recording = read(tmp_path / f"a{suffix}", ReadOptions(fs=10.0))
    np.testing.assert_array_equal(recording["fluorescence"].values, FEW if dims[0] == "time" else FEW.T)


def test_a_movie_that_lies_as_matlab_has_it_is_asked_about(tmp_path):
    movie = RNG.random((32, 32, 50))
    scipy.io.savemat(tmp_path / "a.mat", {"mov": movie})
    assert asked(tmp_path / "a.mat").need.option == "--axes y,x,time"
    recording = read(tmp_path / "a.mat", ReadOptions(fs=10.0, axes="y,x,time"))
    np.testing.assert_array_equal(recording["fluorescence"].values, movie.transpose(2, 0, 1))


@pytest.mark.parametrize(("name", "attrs", "scale"), [("t", {"units": "ms"}, 1e3), ("t_ms", {}, 1e3), ("t", {}, 1.0)])
def test_times_in_the_file_say_their_unit(name, attrs, scale, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["traces"] = FEW.T
        file[name] = (0.5 + np.arange(60) / 10) * scale
        file[name].attrs.update(attrs)
    with pytest.raises(QuestionError) as question:
        read(tmp_path / "a.h5", ReadOptions())
    assert question.value.need.option == f"--set source.times={name}"
    recording = read(tmp_path / "a.h5", ReadOptions(times=name))
    np.testing.assert_allclose(recording.time, 0.5 + np.arange(60) / 10)


def test_times_without_unit_that_give_a_rare_rate_are_asked_about(tmp_path):
    np.savez(tmp_path / "a.npz", traces=FEW.T, t=np.arange(60) * 50.0)
    with pytest.raises(QuestionError) as question:
        read(tmp_path / "a.npz", ReadOptions(times="t"))
    assert question.value.need.option == "--set source.times_unit=ms"
    assert read(tmp_path / "a.npz", ReadOptions(times="t", times_unit="ms")).rate_hz == pytest.approx(20)
    for insisting in ({"times_unit": "s"}, {"fs": 0.02}):
        assert read(tmp_path / "a.npz", ReadOptions(times="t", **insisting)).rate_hz == pytest.approx(0.02)


def test_from_arrays_warns_of_fewer_frames_than_rois():
    with pytest.warns(UserWarning, match="20 x 60 is taken as 20 frames of 60 ROIs"):
        Recording.from_arrays({"fluorescence": FEW}, rate_hz=30)
    Recording.from_arrays({"fluorescence": FEW}, time=np.arange(20) / 30)
