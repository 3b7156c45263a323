"""What TIFF files say of themselves: ScanImage, OME and Prairie View channels, planes and rates."""

import numpy as np
import pytest
import tifffile

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.read import read

STACK = np.random.default_rng(0).integers(-300, 4000, (6, 4, 2, 10, 8)).astype(np.int16)  # (t, z, c, y, x)
TWO = ("fluorescence", "red")


def scanimage(path, frames, **header):
    """Write frames as ScanImage does: its header in the first page's Software tag, one page per frame."""
    text = "\n".join(f"SI.{key} = {value}" for key, value in {"VERSION_MAJOR": 2020, **header}.items())
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for k, frame in enumerate(frames):
            writer.write(frame, contiguous=False, metadata=None, software=text, description=f"frameNumbers = {k + 1}")
    return path


VOLUMES = {
    "hChannels.channelSave": "[1;2]",
    "hFastZ.enable": "true",
    "hStackManager.numSlices": 3,
    "hStackManager.numFramesPerVolumeWithFlyback": 4,
    "hRoiManager.scanFrameRate": 30.0,
    "hRoiManager.scanVolumeRate": 7.5,
}


def test_scanimage_volumes_of_two_channels_with_flyback_and_negative_numbers(tmp_path):
    path = scanimage(tmp_path / "movie.tif", STACK.reshape(-1, 10, 8), **VOLUMES)
    recording = read(path, ReadOptions(channels=TWO, plane=2))
    np.testing.assert_array_equal(recording["red"].values, STACK[:, 2, 1])
    np.testing.assert_array_equal(recording["fluorescence"][1:5:2, 3].values, STACK[1:5:2, 2, 0, 3])
    assert recording["red"].dtype == np.int16
    assert recording.rate_hz == 7.5
    with pytest.raises(DataError, match="3 planes; one must be chosen"):
        read(path, ReadOptions(channels=TWO, plane=3))
    with pytest.raises(DataError, match="2 channels; each needs a name"):
        read(path, ReadOptions(plane=0))


def test_scanimage_one_plane_averaged_in_several_files_with_an_unfinished_volume(tmp_path):
    flat = STACK.reshape(-1, 10, 8)
    header = {"hChannels.channelSave": "1", "hRoiManager.scanFrameRate": 30.0, "hScan2D.logAverageFactor": 3}
    for k, part in enumerate((flat[:20], flat[20:])):
        scanimage(tmp_path / f"movie_{k:05d}.tif", part, **header)
    recording = read(tmp_path)
    np.testing.assert_array_equal(recording["fluorescence"].values, flat)
    assert recording.rate_hz == pytest.approx(10.0)
    path = scanimage(tmp_path / "cut.tif", flat[:45], **VOLUMES)
    assert read(path, ReadOptions(channels=TWO, plane=0))["red"].shape == (5, 10, 8)


def test_scanimage_3_header_in_the_description(tmp_path):
    text = "state.acq.frameRate=4\rstate.acq.savingChannel1=1\rstate.acq.savingChannel2=1\rstate.acq.numAvgFramesSave=2"
    tifffile.imwrite(tmp_path / "old.tif", STACK[:, 0].reshape(-1, 10, 8), description=text, metadata=None)
    recording = read(tmp_path / "old.tif", ReadOptions(channels=TWO))
    np.testing.assert_array_equal(recording["red"].values, STACK[:, 0, 1])
    assert recording.rate_hz == 2.0


@pytest.mark.parametrize("axes", ["TZCYX", "TCZYX", "ZCTYX", "CTZYX"])
def test_ome_axes_in_any_order(axes, tmp_path):
    stack = STACK.transpose(["TZCYX".index(axis) for axis in axes])
    metadata = {"axes": axes, "TimeIncrement": 0.1, "TimeIncrementUnit": "s"}
    tifffile.imwrite(tmp_path / "movie.ome.tif", stack, ome=True, metadata=metadata)
    recording = read(tmp_path / "movie.ome.tif", ReadOptions(channels=TWO, plane=1))
    np.testing.assert_array_equal(recording["red"].values, STACK[:, 1, 1])
    assert recording.rate_hz == pytest.approx(10.0)


def test_prairie_view_folder_of_one_file_per_frame_and_channel(tmp_path):
    for t in range(12):
        for c in (1, 2):
            name = f"TSeries-001_Cycle00001_Ch{c}_{t + 1:06d}.ome.tif"
            tifffile.imwrite(tmp_path / name, STACK.reshape(-1, 2, 10, 8)[t, c - 1], metadata=None)
    (tmp_path / "TSeries-001.xml").write_text('<PVScan><PVStateValue key="framePeriod" value="0.05" /></PVScan>')
    recording = read(tmp_path, ReadOptions(channels=TWO))
    np.testing.assert_array_equal(recording["red"].values, STACK.reshape(-1, 2, 10, 8)[:12, 1])
    assert recording.rate_hz == pytest.approx(20.0)
    with pytest.raises(DataError, match="2 channels"):
        read(tmp_path)


def test_two_cameras_side_by_side(tmp_path):
    movie = STACK.reshape(-1, 10, 8)
    tifffile.imwrite(tmp_path / "movie.tif", movie)
    recording = read(tmp_path / "movie.tif", ReadOptions(fs=5.0, channels=("fluorescence", "reference"), split="x"))
    np.testing.assert_array_equal(recording["reference"].values, movie[:, :, 4:])
    np.testing.assert_array_equal(recording["fluorescence"][7, 1:3].values, movie[7, 1:3, :4])
    assert recording.time.size == len(movie)
    with pytest.raises(ValueError, match="split needs channels"):
        ReadOptions(fs=5.0, split="x")
    with pytest.raises(ConfigError, match="split"):
        np.save(tmp_path / "F.npy", np.ones((3, 5), np.float32))
        read(tmp_path, ReadOptions(fs=5.0, channels=("a", "b"), split="x"), reader="suite2p")


def test_a_plane_that_is_not_there(tmp_path):
    tifffile.imwrite(tmp_path / "movie.tif", STACK[:, 0, 0])
    with pytest.raises(DataError, match="has 1 plane; one must be chosen"):
        read(tmp_path / "movie.tif", ReadOptions(fs=5.0, plane=1))
