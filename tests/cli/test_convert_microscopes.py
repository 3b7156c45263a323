"""`neurodyn convert` and `inspect` on TIFF files as microscopes write them: what comes out, value by value."""

import json

import numpy as np
import pytest
import tifffile

from neurodyn.data.recording import Recording

RNG = np.random.default_rng(0)
LEVELS = (100, 300, 900)


@pytest.fixture
def converted(neurodyn, tmp_path):
    def run(source, *more):
        done = neurodyn("convert", source, tmp_path / "out.zarr", "--existing", "overwrite", *more)
        assert done.code == 0, done.err
        return Recording.open(tmp_path / "out.zarr")

    return run


@pytest.fixture
def refused(neurodyn, tmp_path):
    def run(source, *more, code=3):
        done = neurodyn("convert", source, tmp_path / "none.zarr", *more)
        assert done.code == code and not (tmp_path / "none.zarr").exists(), done.err
        return " ".join(done.err.split())

    return run


@pytest.fixture
def inspected(neurodyn):
    def run(source, *more):
        done = neurodyn("inspect", source, "--json", *more)
        assert done.code == 0, done.err
        return json.loads(done.out)

    return run


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "movie").mkdir()
    return tmp_path / "movie"


def needs(found):
    return [need["option"] for need in found.get("needs", [])]


def constant(value):
    return np.full((16, 24), value, "u2")


def test_imagejs_single_headers_of_large_stacks_are_read_in_a_folder(folder, converted, inspected):
    movie = RNG.integers(0, 99, (50, 16, 24)).astype("u2")
    for k in range(2):
        part = movie[25 * k : 25 * k + 25]
        tifffile.imwrite(
            folder / f"{k}.tif", part, imagej=True, truncate=True, metadata={"axes": "TYX", "finterval": 0.1}
        )
    recording = converted(folder)
    np.testing.assert_array_equal(recording["fluorescence"].values, movie)
    assert recording.rate_hz == pytest.approx(10)
    np.testing.assert_allclose(recording.time, np.arange(50) / 10)
    assert needs(inspected(folder)) == []
    assert "2 files" in recording.tree.attrs["layout"] and "ImageJ" in recording.tree.attrs["layout"]


def test_hyperstacks_in_a_folder_ask_for_the_plane_as_one_file_does(folder, converted, refused, inspected):
    movie = np.zeros((6, 3, 16, 24), "u2") + np.array(LEVELS, "u2")[None, :, None, None]
    for k in range(2):
        tifffile.imwrite(folder / f"{k}.tif", movie, imagej=True, metadata={"axes": "TZYX", "finterval": 0.25})
    assert "3 planes; one must be chosen" in refused(folder)
    assert "3 planes; one must be chosen" in refused(folder / "0.tif")
    assert needs(inspected(folder)) == needs(inspected(folder / "0.tif")) == ["--set source.plane=0"]
    for plane, level in enumerate(LEVELS):
        recording = converted(folder, "--set", f"source.plane={plane}")
        np.testing.assert_array_equal(recording["fluorescence"].values, np.full((12, 16, 24), level))
        assert recording.rate_hz == pytest.approx(4)


def test_a_prairie_view_series_of_volumes(folder, converted, refused, inspected):
    for c in range(6):
        for z in range(3):
            tifffile.imwrite(folder / f"TSeries-1_Cycle{c + 1:05d}_Ch2_{z + 1:06d}.ome.tif", constant(LEVELS[z] + c))
    sequences = "".join(f'<Sequence type="TSeries ZSeries Element" cycle="{c + 1}"/>' for c in range(6))
    shard = '<PVStateShard><PVStateValue key="framePeriod" value="0.0333"/></PVStateShard>'
    (folder / "TSeries-1.xml").write_text(f"<PVScan>{shard}{sequences}</PVScan>")
    assert "3 planes" in refused(folder)
    assert needs(inspected(folder)) == ["--set source.plane=0"]
    recording = converted(folder, "--set", "source.plane=1")
    np.testing.assert_array_equal(recording["fluorescence"].values[:, 0, 0], 300 + np.arange(6))
    assert recording.rate_hz == pytest.approx(10.01, abs=0.01)
    assert "Prairie View" in recording.tree.attrs["layout"]
    (folder / "TSeries-1_Cycle00006_Ch2_000003.ome.tif").unlink()  # stopped in its last volume
    assert "18 frames, 17 are here" in refused(folder, "--set", "source.plane=1")
    recording = converted(folder, "--set", "source.plane=1", "--set", "source.incomplete=true")
    assert recording["fluorescence"].shape == (5, 16, 24)


def test_thorimages_channels(folder, converted, refused, inspected):
    for c, letter in enumerate("AB"):
        for k in range(6):
            tifffile.imwrite(folder / f"Chan{letter}_0001_0001_0001_{k + 1:04d}.tif", constant(100 + 500 * c + k))
    tifffile.imwrite(folder / "ChanA_Preview.tif", np.zeros((8, 8), "u1"))
    assert "2 channels; each needs a name" in refused(folder, "--fs", 10)
    recording = converted(folder, "--fs", 10, "--channels", "green,red")
    np.testing.assert_array_equal(recording["green"].values[:, 3, 5], 100 + np.arange(6))
    np.testing.assert_array_equal(recording["red"].values[:, 3, 5], 600 + np.arange(6))
    assert needs(inspected(folder)) == ["--channels fluorescence,reference", "--fs HZ"]
    (folder / "Experiment.xml").write_text(
        '<ThorImageExperiment><LSM frameRate="30"/><Timelapse timepoints="8"/></ThorImageExperiment>'
    )
    assert "promises 16 frames, 12 are here" in refused(folder, "--channels", "green,red")
    recording = converted(folder, "--channels", "green,red", "--set", "source.incomplete=true")
    assert recording.rate_hz == 30 and recording["red"].shape == (6, 16, 24)


def scanimage(path, frames, header, stamps=None, artist=None):
    head = {"VERSION_MAJOR": 2020, "hChannels.channelSave": 1, "hRoiManager.scanFrameRate": 30} | header
    software = "\n".join(f"SI.{name} = {value}" for name, value in head.items())
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for k, frame in enumerate(frames):
            text = None if stamps is None else f"frameNumbers = {k + 1}\nframeTimestamps_sec = {stamps[k]:.9f}"
            tags = [] if artist is None else [("Artist", "s", 0, artist, True)]
            writer.write(frame, software=software, metadata=None, contiguous=False, description=text, extratags=tags)
    return path


SLICES = {"hStackManager.enable": "true", "hStackManager.framesPerSlice": 2, "hStackManager.numSlices": 2}


def test_several_frames_per_slice_keep_their_true_times(tmp_path, converted, refused):
    pages = [constant(100 * (z + 1) + 10 * v + k).astype("i2") for v in range(3) for z in range(2) for k in range(2)]
    path = scanimage(tmp_path / "fps.tif", pages, SLICES)
    assert "2 planes" in refused(path)
    for plane in range(2):
        recording = converted(path, "--set", f"source.plane={plane}")
        expected = [100 * (plane + 1) + 10 * v + k for v in range(3) for k in range(2)]
        np.testing.assert_array_equal(recording["fluorescence"].values[:, 0, 0], expected)
        np.testing.assert_allclose(recording.time, (np.array([0, 1, 4, 5, 8, 9]) + 2 * plane) / 30)
        assert recording.rate_hz == pytest.approx(30)
    assert "2 frames per slice" in recording.tree.attrs["layout"]


def fields():
    frames = []
    for k in range(6):
        frame = np.zeros((36, 24), "i2")
        frame[:16], frame[20:] = 100 + k, 1000 + k
        frames.append(frame)
    return frames


def test_fields_of_unknown_size_are_cut_out_by_rows(tmp_path, converted, refused, inspected):
    path = scanimage(tmp_path / "mroi.tif", fields(), {"hRoiManager.mroiEnable": "true"})
    told = refused(path)
    assert "stacked above each other" in told and "source.rows=" in told
    found = inspected(path)
    assert needs(found) == ["--set source.rows=0:36"]
    recording = converted(path, "--set", "source.rows=20:36", "--set", "source.columns=4:24")
    np.testing.assert_array_equal(
        recording["fluorescence"].values, np.ones((6, 16, 20)) * (1000 + np.arange(6))[:, None, None]
    )
    assert converted(path, "--set", "source.rows=0:36")["fluorescence"].shape == (6, 36, 24)
    assert "no field 0" in refused(path, "--set", "source.field=0")
    for rows in ("-4:16", "16:16", "20:37", "5"):
        refused(path, "--set", f"source.rows={rows}", code=2 if rows in ("-4:16", "5") else 3)


def test_fields_whose_sizes_the_header_gives_are_chosen_by_number(tmp_path, converted, refused, inspected):
    rois = [
        {"zs": 0, "scanfields": {"pixelResolutionXY": [24, 16]}},
        {"zs": 0, "scanfields": [{"pixelResolutionXY": [20, 16]}]},
    ]
    artist = json.dumps({"RoiGroups": {"imagingRoiGroup": {"rois": rois}}})
    path = scanimage(tmp_path / "mroi.tif", fields(), {"hRoiManager.mroiEnable": 1}, artist=artist)
    assert "2 fields" in refused(path)
    assert needs(inspected(path)) == ["--set source.field=0"]
    np.testing.assert_array_equal(
        converted(path, "--set", "source.field=0")["fluorescence"].values[:, 15, 23], 100 + np.arange(6)
    )
    recording = converted(path, "--set", "source.field=1", "--set", "source.rows=0:8")
    np.testing.assert_array_equal(
        recording["fluorescence"].values, np.ones((6, 8, 20)) * (1000 + np.arange(6))[:, None, None]
    )
    assert "no field 2" in refused(path, "--set", "source.field=2")


def test_a_stopped_acquisition_gives_the_frames_it_has(tmp_path, converted, refused, inspected):
    movie = RNG.integers(0, 99, (10, 16, 24)).astype("u2")
    path = tmp_path / "short.ome.tif"
    tifffile.imwrite(path, movie, metadata={"axes": "TYX"}, ome=True)
    path.write_bytes(path.read_bytes().replace(b'SizeT="10"', b'SizeT="30"'))
    told = refused(path, "--fs", 10)
    assert "promises 30 frames, 10 are here" in told and "stopped" in told and "source.incomplete=true" in told
    assert needs(inspected(path)) == ["--set source.incomplete=true", "--fs HZ"]
    recording = converted(path, "--fs", 10, "--set", "source.incomplete=true")
    np.testing.assert_array_equal(recording["fluorescence"].values, movie)
    assert "10 of 30 frames are here, 20 are lost" in recording.tree.attrs["layout"]
    assert recording.history[0]["params"]["incomplete"] is True


@pytest.mark.parametrize("kind", ["plain", "imagej", "pages", "compressed"])
def test_a_tiff_cut_in_its_last_frame_gives_the_frames_before(kind, tmp_path, converted, refused, inspected):
    movie, path = RNG.integers(0, 60000, (10, 16, 24)).astype("u2"), tmp_path / "cut.tif"
    if kind in ("plain", "imagej"):
        tifffile.imwrite(
            path, movie, imagej=kind == "imagej", **({"metadata": {"axes": "TYX"}} if kind == "imagej" else {})
        )
        with tifffile.TiffFile(path) as tif:
            end = tif.series[0].dataoffset + movie[:9].nbytes + 100
    else:
        with tifffile.TiffWriter(path) as writer:
            for frame in movie:
                writer.write(
                    frame, contiguous=False, metadata=None, compression="zlib" if kind == "compressed" else None
                )
        end = path.stat().st_size - 100
    path.write_bytes(path.read_bytes()[:end])
    assert "truncated" in refused(path, "--fs", 10)
    assert needs(inspected(path))[0] == "--set source.incomplete=true"
    recording = converted(path, "--fs", 10, "--set", "source.incomplete=true")
    np.testing.assert_array_equal(recording["fluorescence"].values, movie[:9])
