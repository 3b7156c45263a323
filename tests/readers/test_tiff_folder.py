"""Folders of TIFF files are the sum of their files: layouts by names, XML and OME, and all that is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from neurodyn.core.errors import DataError
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.questions import QuestionError
from neurodyn.readers.read import read
from tests.readers import makers
from tests.readers.test_tiff_layout import scanimage

STACK = np.random.default_rng(0).integers(0, 4000, (6, 3, 2, 10, 8)).astype(np.uint16)  # (t, z, c, y, x)
TWO = ("fluorescence", "red")


def write(folder, frames, name):
    """Write frames by index, one file each, called as `name` says."""
    for place in np.ndindex(frames.shape[:-2]):
        tifffile.imwrite(folder / name(*place), frames[place], metadata=None)


def ome(planes, size, order="XYCZT", more=""):
    """Return OME-XML of a set of files: (file, page, t, z, c) for each plane."""
    t, z, c = size
    data = "".join(
        f'<TiffData IFD="{page}" FirstT="{a}" FirstZ="{b}" FirstC="{k}" PlaneCount="1">'
        f'<UUID FileName="{file}">urn:uuid:{file}</UUID></TiffData>'
        for file, page, a, b, k in planes
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Image ID="Image:0"><Pixels DimensionOrder="{order}" SizeT="{t}" SizeZ="{z}" SizeC="{c}" SizeX="8" SizeY="10"'
        f' Type="uint16" TimeIncrement="100" TimeIncrementUnit="ms">{data}{more}</Pixels></Image></OME>'
    )


def ome_set(folder, times, present=2):
    """Write two files whose planes one header describes, time points promised as said; the second holds the last three."""
    planes = [(f"s_{t // 3}.ome.tif", (t % 3) * 6 + z * 2 + c, t, z, c) for t, z, c in np.ndindex(6, 3, 2)]
    for k in range(present):
        with tifffile.TiffWriter(folder / f"s_{k}.ome.tif", ome=False) as writer:
            for n, frame in enumerate(STACK[3 * k : 3 * k + 3].reshape(-1, 10, 8)):
                text = ome(planes, (times, 3, 2)) if n == 0 else None
                writer.write(frame, contiguous=False, metadata=None, description=text)


def test_an_ome_header_tells_the_planes_of_several_files(tmp_path):
    ome_set(tmp_path, 6)
    recording = read(tmp_path, ReadOptions(channels=TWO, plane=1))
    np.testing.assert_array_equal(recording["red"].values, STACK[:, 1, 1])
    assert recording.rate_hz == pytest.approx(10)
    assert "OME" in recording.tree.attrs["layout"]
    with pytest.raises(DataError, match="lie in other files"):
        read(tmp_path / "s_0.ome.tif", ReadOptions(channels=TWO, plane=1))


def test_an_ome_set_without_its_last_file_is_a_stopped_acquisition(tmp_path):
    ome_set(tmp_path, 6, present=1)
    with pytest.raises(QuestionError, match="fewer frames") as error:
        read(tmp_path, ReadOptions(channels=TWO, plane=1))
    assert "promises 36 frames, 18 are here" in error.value.found
    recording = read(tmp_path, ReadOptions(channels=TWO, plane=1, incomplete=True))
    np.testing.assert_array_equal(recording["fluorescence"].values, STACK[:3, 1, 0])


def test_ome_times_of_planes_are_the_recordings(tmp_path):
    times = np.array([0, 0.1, 0.21, 0.3, 0.4, 0.52])
    more = "".join(
        f'<Plane TheT="{t}" TheZ="0" TheC="0" DeltaT="{1000 * s + 7}" DeltaTUnit="ms"/>' for t, s in enumerate(times)
    )
    text = ome([], (6, 1, 1), more=more).replace("TimeIncrement=", "Other=")
    tifffile.imwrite(tmp_path / "a.tif", STACK[:, 0, 0], metadata=None, description=text)
    recording = read(tmp_path / "a.tif")
    np.testing.assert_allclose(recording.time, times)
    np.testing.assert_array_equal(recording["fluorescence"].values, STACK[:, 0, 0])


@pytest.mark.parametrize("order", ["XYCZT", "XYZCT", "XYTCZ", "XYZTC"])
def test_the_order_of_dimensions_in_ome_is_obeyed(order, tmp_path):
    loops = ["TZC".index(axis) for axis in order[:1:-1]]
    pages = STACK.transpose(*loops, 3, 4).reshape(-1, 10, 8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for n, frame in enumerate(pages):
            writer.write(
                frame, contiguous=False, metadata=None, description=ome([], (6, 3, 2), order) if n == 0 else None
            )
    recording = read(tmp_path / "a.tif", ReadOptions(channels=TWO, plane=2))
    np.testing.assert_array_equal(recording["red"].values, STACK[:, 2, 1])


def test_files_that_differ_are_refused_by_name(tmp_path):
    for k, rate in enumerate((0.1, 0.1, 0.2)):
        tifffile.imwrite(
            tmp_path / f"m_{k}.tif", STACK[:, 0, 0], imagej=True, metadata={"axes": "TYX", "finterval": rate}
        )
    with pytest.raises(DataError, match=r"m_2\.tif does not match the other files"):
        read(tmp_path)
    tifffile.imwrite(tmp_path / "m_2.tif", STACK[:, :, 0], imagej=True, metadata={"axes": "TZYX", "finterval": 0.1})
    with pytest.raises(DataError, match=r"m_2\.tif does not match the other files"):
        read(tmp_path)


def test_files_of_one_size_and_two_types_are_told_apart(tmp_path):
    for k, kind in enumerate(("u2", "u2", "i2")):
        tifffile.imwrite(tmp_path / f"m_{k}.tif", STACK[k, 0, 0].astype(kind))
    with pytest.raises(DataError, match=r"m_2\.tif does not match"):
        read(tmp_path, ReadOptions(fs=10))


@pytest.mark.parametrize("names", [("green_001", "red_001"), ("green_001", "green_002", "red_001"), ("a", "b")])
def test_movies_of_several_names_are_not_mixed(names, tmp_path):
    for name in names:
        tifffile.imwrite(tmp_path / f"{name}.tif", STACK[:, 0, 0])
    with pytest.raises(DataError, match="several names"):
        read(tmp_path, ReadOptions(fs=10))


def test_two_numbers_that_mean_nothing_known_are_refused(tmp_path):
    write(tmp_path, STACK[:, :, 0], lambda t, z: f"img_{t}_{z}.tif")
    with pytest.raises(DataError, match="several numbers") as error:
        read(tmp_path, ReadOptions(fs=10))
    assert "img_# from 0 to 5" in error.value.found


def test_planes_and_channels_by_letters_before_numbers(tmp_path):
    write(tmp_path, STACK, lambda t, z, c: f"img_ch{c + 1}_t{t:03}_z{z}.tif")
    recording = read(tmp_path, ReadOptions(fs=10, channels=TWO, plane=2))
    np.testing.assert_array_equal(recording["red"].values, STACK[:, 2, 1])
    assert recording["red"].dtype == np.uint16


def test_whole_movies_of_channels_by_names(tmp_path):
    for c in range(2):
        tifffile.imwrite(tmp_path / f"movie_ch{c}.tif", STACK[:, 0, c])
    recording = read(tmp_path, ReadOptions(fs=10, channels=TWO))
    np.testing.assert_array_equal(recording["red"].values, STACK[:, 0, 1])


def test_a_first_file_without_a_number_and_a_counter_beside_a_date(tmp_path):
    for k, name in enumerate(("rec", "rec 2", "rec 10")):
        tifffile.imwrite(tmp_path / f"{name}.tif", STACK[2 * k : 2 * k + 2, 0, 0])
    np.testing.assert_array_equal(read(tmp_path, ReadOptions(fs=10))["fluorescence"].values, STACK[:, 0, 0])
    (tmp_path / "b").mkdir()
    for k, name in enumerate(("d_115959_1", "d_120000_2", "d_120000_10")):
        tifffile.imwrite(tmp_path / "b" / f"{name}.tif", STACK[2 * k : 2 * k + 2, 0, 0])
    np.testing.assert_array_equal(read(tmp_path / "b", ReadOptions(fs=10))["fluorescence"].values, STACK[:, 0, 0])


def prairie(folder, frames, sequence, times=None, name="T-1"):
    """Write a Prairie View series, shape (cycle, frame, channel, y, x), with each frame listed in the XML."""
    write(folder, frames, lambda t, z, c: f"{name}_Cycle{t + 1:05}_Ch{c + 1}_{z + 1:06}.ome.tif")
    listed = ""
    for t in range(frames.shape[0]):
        inside = ""
        for z in range(frames.shape[1]):
            files = "".join(
                f'<File channel="{c + 1}" page="1" filename="{name}_Cycle{t + 1:05}_Ch{c + 1}_{z + 1:06}.ome.tif"/>'
                for c in range(frames.shape[2])
            )
            at = "" if times is None else f'relativeTime="{times[t, z]}"'
            inside += f'<Frame {at} index="{z + 1}">{files}</Frame>'
        listed += f'<Sequence type="{sequence}" cycle="{t + 1}" bidirectionalZ="{"turned" in name}">{inside}</Sequence>'
    shard = '<PVStateShard><PVStateValue key="framePeriod" value="0.05"/></PVStateShard>'
    (folder / f"{name}.xml").write_text(f'<?xml version="1.0" encoding="utf-8"?><PVScan>{shard}{listed}</PVScan>')


def test_prairie_view_volumes_with_times_that_show_the_flyback(tmp_path):
    times = np.arange(6)[:, None] * 0.2 + np.arange(3) * 0.05  # 3 planes of 50 ms, 50 ms to fly back
    prairie(tmp_path, STACK, "TSeries ZSeries Element", times)
    recording = read(tmp_path, ReadOptions(channels=TWO, plane=2))
    np.testing.assert_array_equal(recording["red"].values, STACK[:, 2, 1])
    np.testing.assert_allclose(recording.time, times[:, 2])
    assert recording.rate_hz == pytest.approx(5)


def test_prairie_view_stretches_of_time_follow_each_other(tmp_path):
    prairie(tmp_path, STACK, "TSeries Timed Element")
    recording = read(tmp_path, ReadOptions(channels=TWO))
    np.testing.assert_array_equal(recording["red"].values, STACK[:, :, 1].reshape(-1, 10, 8))
    assert recording.rate_hz == pytest.approx(20)
    (tmp_path / "T-1.xml").unlink()
    with pytest.raises(DataError, match="volumes or stretches of time"):
        read(tmp_path, ReadOptions(channels=TWO, fs=20))


def test_prairie_view_volumes_scanned_to_and_fro(tmp_path):
    name = "turned"
    scanned = STACK[:, :, :1].copy()
    scanned[1::2] = scanned[1::2, ::-1]
    prairie(tmp_path, scanned, "TSeries ZSeries Element", name=name)
    recording = read(tmp_path, ReadOptions(plane=0))
    np.testing.assert_array_equal(recording["fluorescence"].values, STACK[:, 0, 0])
    np.testing.assert_allclose(recording.time, np.array([0, 5, 6, 11, 12, 17]) * 0.05)
    assert "scanned backwards" in recording.tree.attrs["layout"]


def test_prairie_view_volumes_with_the_pages_of_one_file(tmp_path):
    for t in range(6):
        tifffile.imwrite(tmp_path / f"T_Cycle{t + 1:05}_Ch1_000001.ome.tif", STACK[t, :, 0], metadata=None)
    sequences = "".join(f'<Sequence type="TSeries ZSeries Element" cycle="{t + 1}"/>' for t in range(6))
    (tmp_path / "T.xml").write_text(f'<PVScan><PVStateValue key="framePeriod" value="0.05"/>{sequences}</PVScan>')
    recording = read(tmp_path, ReadOptions(plane=1))
    np.testing.assert_array_equal(recording["fluorescence"].values, STACK[:, 1, 0])
    assert recording.rate_hz == pytest.approx(1 / 0.15)


def test_thorimages_planes_and_rate(tmp_path):
    write(tmp_path, STACK, lambda t, z, c: f"Chan{'AC'[c]}_001_001_{z + 1:03}_{t + 1:03}.tif")
    (tmp_path / "Experiment.xml").write_text(
        '<T><LSM frameRate="30" averageMode="0" averageNum="4"/><ZStage steps="3"/>'
        '<Streaming zFastEnable="1" flybackFrames="2"/><Timelapse timepoints="6"/></T>'
    )
    recording = read(tmp_path, ReadOptions(channels=TWO, plane=2))
    np.testing.assert_array_equal(recording["red"].values, STACK[:, 2, 1])
    assert recording.rate_hz == pytest.approx(6)


def test_micro_managers_pictures_and_their_times(tmp_path):
    write(tmp_path, STACK, lambda t, z, c: f"img_channel{c:03}_position000_time{t:09}_z{z:03}.tif")
    times = np.array([0, 100, 205, 300, 400, 500])
    told = {
        f"Metadata-Default/img_channel{c:03}_position000_time{t:09}_z{z:03}.tif": {
            "ElapsedTime-ms": float(times[t] + 20 * z)
        }
        for t, z, c in np.ndindex(6, 3, 2)
    }
    (tmp_path / "metadata.txt").write_text(json.dumps({"Summary": {"Interval_ms": 100.0}} | told))
    recording = read(tmp_path, ReadOptions(channels=TWO, plane=1))
    np.testing.assert_array_equal(recording["red"].values, STACK[:, 1, 1])
    np.testing.assert_allclose(recording.time, (times + 20) / 1000)
    tifffile.imwrite(tmp_path / "img_channel000_position001_time000000000_z000.tif", STACK[0, 0, 0])
    with pytest.raises(DataError, match="not one Micro-Manager series"):
        read(tmp_path, ReadOptions(channels=TWO, plane=1))


VOLUMES = {
    "hStackManager.enable": "true",
    "hStackManager.stackMode": "'fast'",
    "hStackManager.numSlices": 2,
    "hStackManager.numFramesPerVolumeWithFlyback": 3,
    "hRoiManager.scanFrameRate": 30.0,
}


def numbered(path, frames, first, header, rate=30.0, clock=0):
    text = "\n".join(f"SI.{key} = {value}" for key, value in {"VERSION_MAJOR": 2020, **header}.items())
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for k, frame in enumerate(frames):
            said = f"frameNumbers = {first + k}\nframeTimestamps_sec = {(clock + k) / rate:.9f}"
            writer.write(frame, contiguous=False, metadata=None, software=text, description=said)


def test_scanimage_volumes_go_on_from_file_to_file(tmp_path):
    flat = STACK[:, :, 0].reshape(-1, 10, 8)  # 6 volumes of 3 frames, the last of which flies back
    for k, (a, b) in enumerate(((0, 7), (7, 18))):
        numbered(tmp_path / f"f_00001_{k + 1:05}.tif", flat[a:b], a + 1, VOLUMES, clock=a)
    recording = read(tmp_path, ReadOptions(plane=1))
    np.testing.assert_array_equal(recording["fluorescence"].values, STACK[:, 1, 0])
    np.testing.assert_allclose(recording.time, (np.arange(6) * 3 + 1) / 30)
    assert recording.rate_hz == pytest.approx(10)


def test_scanimage_acquisitions_end_to_end_leave_out_unfinished_volumes(tmp_path, caplog):
    flat = STACK[:, :, 0].reshape(-1, 10, 8)
    numbered(tmp_path / "f_00001.tif", flat[:8], 1, VOLUMES)
    numbered(tmp_path / "f_00002.tif", flat[9:18], 1, VOLUMES)
    recording = read(tmp_path, ReadOptions(plane=0))
    np.testing.assert_array_equal(recording["fluorescence"].values, STACK[[0, 1, 3, 4, 5], 0, 0])
    assert (np.diff(recording.time) > 0).all() and recording.rate_hz == pytest.approx(10)
    assert "the last volume was not finished, its 2 frames are left out" in caplog.text


def test_scanimage_averages_within_slices(tmp_path):
    header = {"hStackManager.enable": "true", "hStackManager.framesPerSlice": 4, "hStackManager.numSlices": 3}
    flat = STACK[:, :, 0].reshape(-1, 10, 8)
    path = scanimage(
        tmp_path / "a.tif", flat, **header, **{"hScan2D.logAverageFactor": 4, "hRoiManager.scanFrameRate": 24}
    )
    recording = read(path, ReadOptions(plane=1))
    np.testing.assert_array_equal(recording["fluorescence"].values, STACK[:, 1, 0])
    assert recording.rate_hz == pytest.approx(2)
    header |= {"hScan2D.logAverageFactor": 3}
    with pytest.raises(DataError, match="does not tell how its frames make up slices") as error:
        read(scanimage(tmp_path / "b.tif", flat, **header), ReadOptions(plane=1))
    assert "framesPerSlice" in error.value.found


def test_a_cut_file_between_others_leaves_a_gap_in_time(tmp_path):
    for k in range(3):
        tifffile.imwrite(
            tmp_path / f"m_{k}.tif", STACK[:, k, 0], imagej=True, metadata={"axes": "TYX", "finterval": 0.1}
        )
    path = tmp_path / "m_1.tif"
    with tifffile.TiffFile(path) as tif:
        end = tif.series[0].dataoffset + STACK[:4, 0, 0].nbytes + 5
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(QuestionError, match=r"m_1\.tif is truncated"):
        read(tmp_path)
    recording = read(tmp_path, ReadOptions(incomplete=True))
    np.testing.assert_array_equal(
        recording["fluorescence"].values[:, 0, 0], np.r_[STACK[:, 0, 0], STACK[:4, 1, 0], STACK[:, 2, 0]][:, 0, 0]
    )
    np.testing.assert_allclose(recording.time, np.r_[0:10, 12:18] / 10)
    assert "16 of 18 frames are here, 2 are lost" in recording.tree.attrs["layout"]


def test_a_cut_picture_among_single_ones(tmp_path):
    for k in range(6):
        tifffile.imwrite(tmp_path / f"m_{k}.tif", STACK[k, 0, 0])
    for k, left in ((5, -50), (2, 10)):
        path = tmp_path / f"m_{k}.tif"
        if k == 5:
            path.write_bytes(path.read_bytes()[:left])
            recording = read(tmp_path, ReadOptions(fs=10, incomplete=True))
            np.testing.assert_array_equal(recording["fluorescence"].values, STACK[:5, 0, 0])
        else:
            path.write_bytes(b"")
            with pytest.raises(DataError, match=r"m_2\.tif"):
                read(tmp_path, ReadOptions(fs=10, incomplete=True))


def test_imagejs_header_that_does_not_fit_the_pages(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", STACK[:, 0, 0], imagej=True, metadata={"axes": "TYX"})
    data = (tmp_path / "m.tif").read_bytes()
    (tmp_path / "few.tif").write_bytes(data.replace(b"images=6", b"images=4").replace(b"frames=6", b"frames=4"))
    with pytest.raises(DataError, match="ImageJ's header does not fit"):
        read(tmp_path / "few.tif", ReadOptions(fs=10))
    (tmp_path / "many.tif").write_bytes(data.replace(b"images=6", b"images=9").replace(b"frames=6", b"frames=9"))
    with pytest.raises(QuestionError, match="fewer frames") as error:
        read(tmp_path / "many.tif", ReadOptions(fs=10))
    assert "promises 9 frames, 6 are here" in error.value.found
    recording = read(tmp_path / "many.tif", ReadOptions(fs=10, incomplete=True))
    np.testing.assert_array_equal(recording["fluorescence"].values, STACK[:, 0, 0])


def test_frames_written_one_by_one_are_one_movie(tmp_path):
    with tifffile.TiffWriter(tmp_path / "m.tif") as writer:
        for frame in STACK[:, 0, 0]:
            writer.write(frame)
    np.testing.assert_array_equal(read(tmp_path / "m.tif", ReadOptions(fs=10))["fluorescence"].values, STACK[:, 0, 0])


def test_a_cut_scanbox_movie_gives_its_whole_frames(tmp_path, caplog):
    path = Path(makers.scanbox(tmp_path / "a.sbx", STACK[:, 0, 0]))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(QuestionError, match="truncated"):
        read(path)
    recording = read(path, ReadOptions(incomplete=True))
    np.testing.assert_array_equal(recording["fluorescence"].values, STACK[:5, 0, 0])
    assert "5 whole frames are here" in caplog.text
