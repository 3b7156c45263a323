"""`neurodyn convert`: every format in, four formats out, and broken files of each."""

import csv

import numpy as np
import pytest
import tifffile
import xarray as xr

from neurodyn.data.recording import Recording
from neurodyn.readers.read import READERS
from tests.contract.test_readers import MAKERS, truncate

MOVIE = np.random.default_rng(0).integers(0, 900, (40, 12, 10)).astype(np.uint16)


@pytest.mark.parametrize("name", READERS.names())
def test_a_truncated_file_ends_in_exit_code_3(name, tmp_path, neurodyn):
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    path, options, _ = MAKERS[name](tmp_path / "whole")
    rate = [] if options.fs is None else ["--fs", options.fs]
    outcome = neurodyn("convert", truncate(path, tmp_path / "cut"), tmp_path / "out.zarr", *rate, "--reader", name)
    lines = outcome.err.strip().splitlines()[-3:]
    assert outcome.code == 3, outcome.err
    assert lines[0].startswith("Error: ") and all(line.strip() for line in lines)
    assert not (tmp_path / "out.zarr").exists()


def test_a_movie_with_its_log_goes_through_tiff_and_csv(tmp_path, neurodyn):
    tifffile.imwrite(tmp_path / "movie.tif", MOVIE)
    (tmp_path / "log.csv").write_text("1.0,5,90\n2.0,10,45\n")
    np.savetxt(tmp_path / "times.txt", 0.25 + np.arange(40) / 10)
    outcome = neurodyn(
        *(
            "convert",
            tmp_path / "movie.tif",
            tmp_path / "a.zarr",
            "--stimulus",
            "log.csv",
            "--frame-times",
            "times.txt",
        ),
        *("--set", "source.stimulus.columns=[start,contrast]", "--set", "source.stimulus.duration=0.5"),
    )
    assert outcome.code == 0, outcome.err
    recording = Recording.open(tmp_path / "a.zarr")
    np.testing.assert_allclose(recording.time, 0.25 + np.arange(40) / 10)
    assert recording.stimulus["contrast"].values.tolist() == [5, 10]

    assert neurodyn("convert", tmp_path / "a.zarr", tmp_path / "b.tif").code == 0
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), MOVIE)
    assert neurodyn("convert", tmp_path / "a.zarr", tmp_path / "c.csv", "--variable", "stimulus").code == 0
    with (tmp_path / "c.csv").open() as file:
        assert next(csv.DictReader(file)) == {"start": "1.0", "stop": "1.5", "contrast": "5.0"}
    assert neurodyn("convert", tmp_path / "a.zarr", tmp_path / "d.csv").code == 2
    assert neurodyn("convert", tmp_path / "a.zarr", tmp_path / "d.nwb", "--variable", "fluorescence").code == 2


def test_help_tells_of_logs(neurodyn):
    outcome = neurodyn("convert", "--help")
    assert "--stimulus" in outcome.out and "--frame-times" in outcome.out and "--variable" in outcome.out


def test_a_recording_of_rois_becomes_a_suite2p_folder(neurodyn, tmp_path):
    pixels = {name: ("mask", np.array(values)) for name, values in
              (("mask_roi", [0, 0, 1, 1]), ("mask_y", [1, 2, 5, 5]), ("mask_x", [1, 1, 6, 7]))}  # fmt: skip
    rois = xr.Dataset({"cell": ("roi", np.array([True, False]))} | pixels)
    traces = np.random.default_rng(0).random((40, 2)).astype(np.float32)
    recording = Recording.from_arrays({"fluorescence": traces}, rate_hz=10.0, rois=rois, indicator="GCaMP6f")
    source = recording.save(tmp_path / "a.zarr")
    done = neurodyn("convert", source, tmp_path / "out", "--to", "suite2p")
    assert done.code == 0, done.err
    assert "zeros are written" in done.err
    back = tmp_path / "back.zarr"
    done = neurodyn("convert", tmp_path / "out", back, "-s", "source.pickle=true", "-s", "source.cells_only=false")
    assert done.code == 0, done.err
    np.testing.assert_array_equal(Recording.open(back)["fluorescence"].values, traces)
    ops = np.load(tmp_path / "out" / "suite2p" / "plane0" / "ops.npy", allow_pickle=True).item()
    assert ops["tau"] == pytest.approx(0.7, abs=0.3)
    assert neurodyn("convert", source, tmp_path / "out", "--to", "suite2p").code == 2  # it stands there already
    assert neurodyn("convert", source, tmp_path / "b.nwb", "--to", "suite2p").code == 2
    assert neurodyn("convert", source, tmp_path / "b", "--to", "suite2p", "--variable", "fluorescence").code == 2
