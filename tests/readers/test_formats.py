"""What each foreign format has of its own: axes, channels, planes, rates, units, and how it breaks."""

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
import zarr

from neurodyn.core.errors import DataError
from neurodyn.readers.nwb.writing import write_nwb
from neurodyn.readers.options import ReadOptions, VariablePlace
from neurodyn.readers.read import read
from tests.readers import makers

RNG = np.random.default_rng(0)
MOVIE = RNG.integers(0, 60000, (24, 10, 8)).astype(np.uint16)
PAIR = RNG.integers(0, 60000, (12, 10, 8, 2)).astype(np.uint16)
TRACES = RNG.normal(size=(5, 24)).astype(np.float32)
TWO = ("fluorescence", "reference")
FRAMES_OF_PIXELS = ("roi,time", "time,roi")


def version_73(path, **arrays):
    """Write arrays as MATLAB's -v7.3 does: HDF5 after a 512-byte header, axes reversed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = np.asarray(array).T
            file[name].attrs["MATLAB_class"] = np.bytes_(
                {"f8": "double", "f4": "single"}.get(array.dtype.str[1:], "uint16")
            )
        cells = file.create_dataset("#refs#/a", data=np.ones((3, 3)))
        cells.attrs["MATLAB_class"] = np.bytes_("double")
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    return path


@pytest.mark.parametrize("write", [lambda path, **a: scipy.io.savemat(path, a) or path, version_73])
def test_both_matlab_versions_have_matlabs_axes(write, tmp_path):
    times = np.arange(24.0)[:, None] / 4
    path = write(tmp_path / "a.mat", movie=MOVIE.transpose(1, 2, 0), t=times, mask=np.ones((10, 8)))
    recording = read(path, ReadOptions(key="movie", axes="y,x,time", times="t", brain="mask"))
    np.testing.assert_array_equal(recording["fluorescence"].values, MOVIE)
    np.testing.assert_array_equal(recording["fluorescence"][3:9:2, 4, 1:].values, MOVIE[3:9:2, 4, 1:])
    assert (recording.rate_hz, recording.brain.all()) == (4.0, True)
    with pytest.raises(DataError, match=r"movie \(10, 8, 24\)"):
        read(path, ReadOptions(fs=4.0))


@pytest.mark.parametrize("write", [lambda path, **a: scipy.io.savemat(path, a) or path, version_73])
@pytest.mark.parametrize("axes", FRAMES_OF_PIXELS)
def test_frames_kept_as_columns_of_pixels(write, axes, tmp_path):
    pixels = MOVIE.transpose(0, 2, 1).reshape(24, 80)  # down the columns first, as MATLAB's reshape does
    path = write(tmp_path / "a.mat", raw_mov=pixels.T if axes == "roi,time" else pixels)
    recording = read(path, ReadOptions(fs=4.0, axes=axes, frame=(10, 8)))
    np.testing.assert_array_equal(recording["fluorescence"].values, MOVIE)
    np.testing.assert_array_equal(recording["fluorescence"][5, 2:7, ::3].values, MOVIE[5, 2:7, ::3])
    with pytest.raises(DataError, match="9 rows of 8 pixels"):
        read(path, ReadOptions(fs=4.0, axes=axes, frame=(9, 8)))


def test_fields_of_structs_and_cells(tmp_path):
    cells = np.empty((1, 2), object)
    cells[0, :] = [TRACES, TRACES * 2]
    scipy.io.savemat(
        tmp_path / "a.mat", {"data": {"dff": TRACES, "deep": {"x": TRACES + 1}}, "day": cells}, do_compression=True
    )
    for key, expected in (("data/dff", TRACES), ("data/deep/x", TRACES + 1), ("day/1", TRACES * 2)):
        recording = read(tmp_path / "a.mat", ReadOptions(fs=1.0, axes="roi,time", key=key))
        np.testing.assert_array_equal(recording["fluorescence"].values, expected.T)
    with pytest.raises(DataError, match=r"data/dff \(5, 24\)"):
        read(tmp_path / "a.mat", ReadOptions(fs=1.0))


def test_real_matlab_files(shared_data):
    path = shared_data / "triplett_zebrafish" / "zf_20170215-f3.mat"
    recording = read(path, ReadOptions(fs=2.0, key="activity_matrix", axes="roi,time"))
    expected = scipy.io.loadmat(path)["activity_matrix"]
    np.testing.assert_array_equal(recording["fluorescence"].values, expected.T)


def test_hdf5_usual_names_need_no_key(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["mov"], file["other"] = MOVIE, MOVIE[:3]
    np.testing.assert_array_equal(read(tmp_path / "a.h5", ReadOptions(fs=4.0))["fluorescence"].values, MOVIE)


def test_wfield_binary_of_two_channels(tmp_path):
    path = tmp_path / "frames_2_10_8_uint16.dat"
    PAIR.transpose(0, 3, 1, 2).tofile(path)
    recording = read(path, ReadOptions(fs=15.0, channels=TWO))
    np.testing.assert_array_equal(recording["reference"].values, PAIR[..., 1])
    with pytest.raises(DataError, match="2 channels; each needs a name"):
        read(path, ReadOptions(fs=15.0))
    wrong = path.rename(tmp_path / "frames_2_10_9_uint16.dat")
    with pytest.raises(DataError, match="its name is wrong"):
        read(wrong, ReadOptions(fs=15.0, channels=TWO))


def test_wfield_results_are_components(tmp_path):
    u, v = RNG.normal(size=(10, 8, 5)), RNG.normal(size=(5, 24))
    np.save(tmp_path / "U.npy", u)
    np.save(tmp_path / "SVT.npy", v)
    np.save(tmp_path / "frames_average.npy", RNG.normal(size=(2, 10, 8)))
    recording = read(tmp_path, ReadOptions(fs=15.0, channels=TWO))
    spatial = recording.table("components")["svd"]
    movie = np.einsum("kyx,tk->tyx", spatial.values, recording["svd_reference"].values)
    np.testing.assert_allclose(movie, np.einsum("yxk,kt->tyx", u, v)[1::2])
    assert recording["svd_fluorescence"].dims == ("time", "component")
    np.save(tmp_path / "SVTcorr.npy", v[:, ::2])
    np.testing.assert_array_equal(read(tmp_path, ReadOptions(fs=15.0))["svd"].values, v[:, ::2].T)
    again = read(write_nwb(read(tmp_path, ReadOptions(fs=15.0)), tmp_path / "a.nwb"))
    np.testing.assert_array_equal(again["svd"].values, v[:, ::2].T)
    np.testing.assert_array_equal(again.table("components")["svd"].values, spatial.values)
    np.save(tmp_path / "SVTcorr.npy", v[:4])
    with pytest.raises(DataError, match="do not belong together"):
        read(tmp_path, ReadOptions(fs=15.0))


def test_caiman_components_it_accepted(tmp_path):
    quality = {"SNR_comp": np.arange(5.0), "idx_components": np.array([0, 3])}
    path = makers.caiman(tmp_path / "a.hdf5", TRACES, YrA=TRACES * 0.5, S=TRACES + 1, F_dff=TRACES - 1, **quality)
    recording = read(path)
    np.testing.assert_allclose(recording["fluorescence"].values, TRACES[[0, 3]].T * 1.5)
    np.testing.assert_array_equal(recording["dff"].values, TRACES[[0, 3]].T - 1)
    np.testing.assert_array_equal(recording["spikes"].values, TRACES[[0, 3]].T + 1)
    rois = recording.table("rois")
    assert rois["snr"].values.tolist() == [0.0, 3.0]
    assert (rois["y"].values.tolist(), rois["x"].values.tolist()) == ([0.0, 3.0], [0.0, 0.0])
    assert recording.rate_hz == 20.0
    assert rois["mask_y"].values.tolist() == [0, 3] and rois["mask_x"].values.tolist() == [0, 0]
    assert rois["mask_roi"].values.tolist() == [0, 1] and rois["mask_weight"].values.tolist() == [1.0, 1.0]
    with pytest.raises(DataError, match="differ in shape"):
        read(makers.caiman(tmp_path / "b.hdf5", TRACES, S=TRACES[:, 1:]))
    with pytest.raises(DataError, match="accepted no component"):
        read(makers.caiman(tmp_path / "c.hdf5", TRACES, idx_components=np.array([], dtype=int)))


def test_footprints_of_caiman_run_down_the_columns_first(tmp_path):
    pictures = RNG.random((3, 10, 12)) * (RNG.random((3, 10, 12)) > 0.8)
    path = makers.caiman(tmp_path / "a.hdf5", TRACES[:3], idx_components=np.array([0, 2]))
    matrix = scipy.sparse.csc_matrix(_down_the_columns(pictures))
    with h5py.File(path, "r+") as file:
        for name in ("data", "indices", "indptr", "shape"):
            del file[f"estimates/A/{name}"]
            file[f"estimates/A/{name}"] = getattr(matrix, name)
    rois = read(path).table("rois")
    found = np.zeros((2, 10, 12))
    found[rois["mask_roi"].values, rois["mask_y"].values, rois["mask_x"].values] = rois["mask_weight"].values
    np.testing.assert_array_equal(found, pictures[[0, 2]])


def _down_the_columns(pictures):
    return np.stack([picture.ravel(order="F") for picture in pictures], axis=1)


@pytest.mark.parametrize(("part", "value"), [("indices", 9999), ("indptr", 126)])
def test_footprints_of_caiman_that_point_outside_their_picture(tmp_path, part, value):
    path = makers.caiman(tmp_path / "a.hdf5", TRACES)
    with h5py.File(path, "r+") as file:
        file[f"estimates/A/{part}"][1] = value
    with pytest.raises(DataError, match="cannot be read"):
        read(path)


@pytest.mark.parametrize("version", [2, 3])
def test_ome_zarr_says_its_axes_and_rate(version, tmp_path):
    stack = PAIR.transpose(0, 3, 1, 2)[:, :, None]  # (t, c, z, y, x)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)
    group.create_array("0", data=np.ascontiguousarray(stack), chunks=(4, 1, 1, 10, 8))
    group.create_array("1", data=np.ascontiguousarray(stack[..., ::2, ::2]), chunks=(4, 1, 1, 5, 4))
    axes = [{"name": n} for n in "tczyx"]
    axes[0] |= {"type": "time", "unit": "millisecond"}
    scale = [{"type": "scale", "scale": [50.0, 1, 1, 1, 1]}]
    images = [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}, {"path": "1"}]}]
    group.attrs.update({"multiscales": images} if version == 2 else {"ome": {"version": "0.5", "multiscales": images}})
    recording = read(tmp_path / "a.zarr", ReadOptions(channels=TWO))
    np.testing.assert_array_equal(recording["reference"].values, PAIR[..., 1])
    assert recording.rate_hz == 20.0
    images[0]["axes"] = axes[1:]
    group.attrs.update({"multiscales": images} if version == 2 else {"ome": {"multiscales": images}})
    with pytest.raises(DataError, match="no OME-Zarr movie"):
        read(tmp_path / "a.zarr", ReadOptions(channels=TWO))


def test_a_group_of_zarr_arrays_and_a_damaged_chunk(tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("green/movie", data=MOVIE, chunks=(8, 10, 8))
    group.create_array("red", data=MOVIE + 1, chunks=(8, 10, 8))
    places = {"fluorescence": VariablePlace(key="green/movie"), "reference": VariablePlace(key="red")}
    recording = read(tmp_path / "a.zarr", ReadOptions(fs=4.0, variables=places))
    np.testing.assert_array_equal(recording["reference"].values, MOVIE + 1)
    (tmp_path / "a.zarr" / "red" / "c" / "1" / "0" / "0").write_bytes(b"not a chunk")
    with pytest.raises(DataError, match="cannot be read"):
        _ = read(tmp_path / "a.zarr", ReadOptions(fs=4.0, key="red"))["fluorescence"].values


@pytest.mark.parametrize(("scanmode", "rate"), [(1, 20.0), (0, 20.0)])
def test_scanbox_channels_one_and_both_ways(scanmode, rate, tmp_path):
    recording = read(makers.scanbox(tmp_path / "a.sbx", PAIR, scanmode=scanmode), ReadOptions(channels=TWO))
    np.testing.assert_array_equal(recording["reference"].values, PAIR[..., 1])
    assert recording.rate_hz == rate


def test_scanbox_planes_and_its_missing_half(tmp_path):
    path = makers.scanbox(tmp_path / "a.sbx", MOVIE[:23], volscan=1, otwave=np.arange(4.0))
    recording = read(path, ReadOptions(plane=2))
    np.testing.assert_array_equal(recording["fluorescence"].values, MOVIE[2:20:4])
    assert recording.rate_hz == 5.0
    whole = path.with_suffix(".mat").read_bytes()
    for broken in (whole[:300], b"garbage" * 99, None):
        path.with_suffix(".mat").unlink()
        if broken:
            path.with_suffix(".mat").write_bytes(broken)
        else:
            scipy.io.savemat(path.with_suffix(".mat"), {"info": {"sz": [10, 8]}})
        with pytest.raises(DataError, match="does not|a.mat cannot be read"):
            read(path)


@pytest.mark.parametrize("zip_", [False, True])
@pytest.mark.parametrize("loops", [(("T", 4), ("Z", 3)), (("Z", 3), ("T", 4))])
def test_nd2_channels_and_planes(loops, zip_, tmp_path):
    path = makers.nd2(tmp_path / "a.nd2", PAIR, 50.0, loops, zip_)
    recording = read(path, ReadOptions(channels=TWO, plane=1))
    mine = PAIR[1::3, ..., 1] if loops[0][0] == "T" else PAIR[4:8, ..., 1]
    np.testing.assert_array_equal(recording["reference"].values, mine)
    np.testing.assert_array_equal(recording["reference"][1:4:2, 3].values, mine[1:4:2, 3])
    assert recording.rate_hz == 20.0


def test_nd2_stopped_early_has_the_frames_taken(tmp_path):
    path = makers.nd2(tmp_path / "a.nd2", PAIR[:10, ..., :1], 50.0, (("T", 12),))
    np.testing.assert_array_equal(read(path)["fluorescence"].values, PAIR[:10, ..., 0])


@pytest.mark.parametrize(
    ("name", "codec", "tolerance"), [("a.avi", "FFV1", 0), ("a.avi", "Y800", 0), ("a.mp4", "mp4v", 30)]
)
def test_video_frames_in_any_order(name, codec, tolerance, tmp_path):
    smooth = np.cumsum(np.cumsum(RNG.normal(size=(30, 48, 64)), 1), 2)
    grey = np.clip((smooth - smooth.min()) / np.ptp(smooth) * 255, 0, 255).astype(np.uint8)
    recording = read(makers.video(tmp_path / name, grey, codec))
    fluorescence, whole = recording["fluorescence"], recording["fluorescence"].values
    assert np.abs(whole.astype(int) - grey).max() <= tolerance
    for key in (np.s_[20:5:-3], np.s_[7], np.s_[3:9, 5], np.s_[[9, 2, 28]]):
        np.testing.assert_array_equal(fluorescence[key].values, whole[key])
    assert recording.rate_hz == pytest.approx(20.0)


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "FFV1"), ("a.mp4", "mp4v")])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.7, 0.97])
def test_a_cut_video_is_refused(name, codec, share, tmp_path):
    path = makers.video(tmp_path / name, (MOVIE.repeat(8, 1).repeat(8, 2) >> 8).astype(np.uint8), codec)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DataError, match=r"truncated|cannot be read as video"):
        read(path)


@pytest.mark.parametrize("user_block", [0, 512])
def test_a_heap_of_texts_that_hdf5_would_look_through_for_ever(tmp_path, user_block):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=user_block) as file:
        file["dff"] = TRACES
        file["names"] = ["one", "two", "three"]
    assert read(path, ReadOptions(fs=20.0, key="dff", axes="roi,time"))["fluorescence"].shape == (24, 5)
    data = bytearray(path.read_bytes())
    free = data.index(b"GCOL") + 16 + 3 * 24  # after three entries of 16 bytes and a text in eight
    assert data[free : free + 2] == b"\0\0" and any(data[free + 8 : free + 16])
    data[free + 8 : free + 16] = bytes(8)
    path.write_bytes(data)
    with pytest.raises(DataError, match="cannot be read") as caught:
        read(path, ReadOptions(fs=20.0, key="dff", axes="roi,time"))
    assert "free space without a size" in caught.value.found
