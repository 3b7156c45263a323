"""TIFF in all its dress: values, rates, channels, folders, and every way to be cut off."""

import gc
import warnings

import numpy as np
import pytest
import tifffile

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.readers.options import ReadOptions, VariablePlace
from neurodyn.readers.read import read

MOVIE = np.random.default_rng(0).integers(0, 60000, (20, 16, 12)).astype(np.uint16)


def _loose_pages(path):
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for frame in MOVIE:
            writer.write(frame, contiguous=False, metadata=None)


WRITERS = {
    "plain": lambda path: tifffile.imwrite(path, MOVIE),
    "big-endian": lambda path: tifffile.imwrite(path, MOVIE, byteorder=">"),
    "bigtiff": lambda path: tifffile.imwrite(path, MOVIE, bigtiff=True),
    "imagej": lambda path: tifffile.imwrite(path, MOVIE, imagej=True, metadata={"axes": "TYX", "finterval": 0.05}),
    "ome": lambda path: tifffile.imwrite(
        path, MOVIE, ome=True, metadata={"axes": "TYX", "TimeIncrement": 50.0, "TimeIncrementUnit": "ms"}
    ),
    "compressed": lambda path: tifffile.imwrite(path, MOVIE, compression="zlib"),
    "pages": _loose_pages,
}


TRAILING = {"plain", "big-endian", "imagej"}  # the writer ends these with padding


@pytest.mark.parametrize("kind", WRITERS)
def test_every_dialect_gives_the_same_frames(kind, tmp_path):
    path = tmp_path / "movie.tif"
    WRITERS[kind](path)
    recording = read(path, ReadOptions(fs=20.0))
    np.testing.assert_array_equal(recording["fluorescence"].values, MOVIE)
    np.testing.assert_array_equal(recording["fluorescence"][3:17:5, 4].values, MOVIE[3:17:5, 4])


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_rate_is_taken_from_metadata_that_says_it_clearly(kind, tmp_path, caplog):
    path = tmp_path / "movie.tif"
    WRITERS[kind](path)
    assert read(path).rate_hz == pytest.approx(20.0)
    assert read(path, ReadOptions(fs=30.0)).rate_hz == 30.0
    assert "says 20 Hz; the given 30 Hz is used" in caplog.text


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.95, 0.999])
@pytest.mark.parametrize("kind", WRITERS)
def test_a_cut_file_is_refused_before_any_frame_is_read(kind, share, tmp_path):
    path = tmp_path / "movie.tif"
    WRITERS[kind](path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    if share == 0.999 and kind in TRAILING:
        np.testing.assert_array_equal(read(path, ReadOptions(fs=20.0))["fluorescence"].values, MOVIE)
        return
    with pytest.raises(DataError, match=r"truncated|cannot be read"):
        read(path, ReadOptions(fs=20.0))


def test_interleaved_channels(tmp_path):
    tifffile.imwrite(tmp_path / "movie.tif", MOVIE)
    recording = read(tmp_path / "movie.tif", ReadOptions(fs=10.0, channels=("fluorescence", "reference")))
    np.testing.assert_array_equal(recording["fluorescence"].values, MOVIE[::2])
    np.testing.assert_array_equal(recording["reference"][2:5].values, MOVIE[5:11:2])
    np.testing.assert_allclose(recording.time, np.arange(10) / 10)


def test_a_frame_too_many_is_not_dealt_to_channels(tmp_path):
    tifffile.imwrite(tmp_path / "movie.tif", MOVIE[:19])
    with pytest.raises(DataError, match="19 frames cannot be 2 interleaved channels"):
        read(tmp_path / "movie.tif", ReadOptions(fs=10.0, channels=("fluorescence", "reference")))


def test_first_and_every_pick_frames_and_a_lone_last_frame_is_dropped_with_a_warning(tmp_path, caplog):
    tifffile.imwrite(tmp_path / "movie.tif", MOVIE[:19])
    places = {"fluorescence": VariablePlace(first=0, every=2), "reference": VariablePlace(first=1, every=2)}
    recording = read(tmp_path / "movie.tif", ReadOptions(fs=10.0, variables=places))
    assert recording["fluorescence"].shape[0] == recording["reference"].shape[0] == 9
    assert "has no partner" in caplog.text
    places["reference"] = VariablePlace(first=1, every=3)
    with pytest.raises(DataError, match="same number of frames"):
        read(tmp_path / "movie.tif", ReadOptions(fs=10.0, variables=places))


def test_imagej_hyperstack_with_channels(tmp_path):
    stack = MOVIE.reshape(10, 2, 16, 12)
    tifffile.imwrite(tmp_path / "movie.tif", stack, imagej=True, metadata={"axes": "TCYX"})
    recording = read(tmp_path / "movie.tif", ReadOptions(fs=10.0, channels=("fluorescence", "reference")))
    np.testing.assert_array_equal(recording["reference"].values, stack[:, 1])
    with pytest.raises(DataError, match="2 channels; each needs a name"):
        read(tmp_path / "movie.tif", ReadOptions(fs=10.0))


def test_folder_in_natural_order_with_one_or_many_frames_per_file(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for name, part in (("f1", MOVIE[:1]), ("f2", MOVIE[1:8]), ("f10", MOVIE[8:9]), ("f11", MOVIE[9:])):
        tifffile.imwrite(folder / f"{name}.tif", part, compression="zlib" if name == "f2" else None)
    recording = read(folder, ReadOptions(fs=20.0))
    np.testing.assert_array_equal(recording["fluorescence"].values, MOVIE)
    np.testing.assert_array_equal(recording["fluorescence"][6:12].values, MOVIE[6:12])
    assert recording.session == "frames"


def test_folder_with_a_stranger_or_a_truncated_file(tmp_path):
    for k in range(4):
        tifffile.imwrite(tmp_path / f"{k}.tif", MOVIE[k])
    whole = (tmp_path / "2.tif").read_bytes()
    (tmp_path / "2.tif").write_bytes(whole[:-100])
    with pytest.raises(DataError, match=r"2\.tif"):
        read(tmp_path, ReadOptions(fs=20.0))
    tifffile.imwrite(tmp_path / "2.tif", MOVIE[2, :8])
    with pytest.raises(DataError, match=r"2\.tif does not match"):
        read(tmp_path, ReadOptions(fs=20.0))


@pytest.mark.parametrize(
    ("array", "how"),
    [
        (np.zeros((5, 16, 12, 3), np.uint8), {"photometric": "rgb"}),
        (np.zeros((5, 4, 16, 12), np.uint8), {"photometric": "minisblack", "metadata": {"axes": "RTYX"}}),
        (np.zeros((5, 16, 12), np.complex64), {}),
    ],
)
def test_colour_volumes_and_complex_numbers_are_refused(array, how, tmp_path):
    tifffile.imwrite(tmp_path / "movie.tif", array, **how)
    with pytest.raises(DataError, match="not a stack of grey frames"):
        read(tmp_path / "movie.tif", ReadOptions(fs=20.0))


def test_open_files_are_closed_with_the_recording(tmp_path):
    WRITERS["compressed"](tmp_path / "movie.tif")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recording = read(tmp_path / "movie.tif", ReadOptions(fs=20.0))
        assert recording["fluorescence"][3].values.any()
        del recording
        gc.collect()
    assert not caught


def test_brain_mask_beside_the_movie_is_binned_by_majority(tmp_path, caplog):
    caplog.set_level("INFO")
    tifffile.imwrite(tmp_path / "movie.tif", MOVIE)
    fine = np.zeros((32, 24), np.uint8)
    fine[:16, :12] = 255
    fine[16, :12] = 255  # one of two rows: a tie counts as inside
    fine[20, 0] = 255
    tifffile.imwrite(tmp_path / "mask.tif", fine)
    recording = read(tmp_path / "movie.tif", ReadOptions(fs=20.0, brain="mask.tif"))
    expected = np.zeros((16, 12), bool)
    expected[:9, :6] = True
    np.testing.assert_array_equal(recording.brain, expected)
    assert "binned 2 x 2" in caplog.text


def test_brain_mask_that_does_not_fit(tmp_path):
    tifffile.imwrite(tmp_path / "movie.tif", MOVIE)
    np.save(tmp_path / "mask.npy", np.ones((16, 13)))
    with pytest.raises(DataError, match="does not fit"):
        read(tmp_path / "movie.tif", ReadOptions(fs=20.0, brain="mask.npy"))
    with pytest.raises(DataError, match="there is no mask"):
        read(tmp_path / "movie.tif", ReadOptions(fs=20.0, brain="absent.tif"))


def test_axes_make_no_sense_for_tiff(tmp_path):
    tifffile.imwrite(tmp_path / "movie.tif", MOVIE)
    with pytest.raises(ConfigError, match="axes"):
        read(tmp_path / "movie.tif", ReadOptions(fs=20.0, axes="y,x,time"))


def test_real_movies(shared_data):
    for path, rate in (
        ("neurofinder/movie_600x128x128_uint16.tif", 7.0),
        ("minian_1p/movie_1000x128x128_uint8.tif", 15.0),
    ):
        movie = read(shared_data / path, ReadOptions(fs=rate))["fluorescence"]
        frames = int(path.split("_")[-2].split("x")[0])
        assert movie.shape == (frames, 128, 128)
        np.testing.assert_array_equal(movie[100:103].values, tifffile.imread(shared_data / path)[100:103])


def test_a_description_beyond_any_offset_is_damage_and_no_fault_of_ours(tmp_path):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, np.zeros((4, 8, 8), np.uint16), bigtiff=True, description="x" * 50, photometric="minisblack")
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        at = file.pages[0].tags["ImageDescription"].offset + 12
    data[at : at + 8] = b"\xff" * 8
    path.write_bytes(data)
    with pytest.raises(DataError, match="movie.tif"):
        read(path, ReadOptions(fs=10))
