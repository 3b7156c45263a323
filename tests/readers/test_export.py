"""TIFF and CSV written for other programs."""

import csv

import numpy as np
import pytest
import tifffile
import xarray as xr

from neurodyn.core.errors import ConfigError
from neurodyn.data.recording import Recording
from neurodyn.readers import export
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.read import read

RNG = np.random.default_rng(0)


def recording():
    stimulus = {"start": [1.0, 2.0], "stop": [1.5, 2.5], "contrast": [0.1, 1.0], "kind": ["a", "b, c"]}
    return Recording.from_arrays(
        {"dff": RNG.normal(size=(40, 3)).astype(np.float32)},
        rate_hz=7.0,
        stimulus=stimulus,
        rois=xr.Dataset({"y": ("roi", [1.0, 2.0, 3.0])}),
    )


def movies():
    shape = (30, 8, 10)
    return Recording.from_arrays(
        {"fluorescence": RNG.integers(-9, 9, shape).astype(np.int16), "dff": RNG.normal(size=shape).astype(np.float32)},
        rate_hz=20.0,
    )


@pytest.mark.parametrize("name", ["fluorescence", "dff"])
def test_tiff_round_trip_keeps_values_type_and_rate(name, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "BLOCK_BYTES", 2000)  # several blocks
    path = export.write_tiff(movies_ := movies(), tmp_path / "a.tif", name)
    again = read(path)
    np.testing.assert_array_equal(again["fluorescence"].values, movies_[name].values)
    assert again["fluorescence"].dtype == movies_[name].dtype
    assert again.rate_hz == pytest.approx(20.0)
    with tifffile.TiffFile(path) as tif:
        assert tif.is_bigtiff and tif.is_ome
    first = path.read_bytes()
    assert export.write_tiff(movies_, tmp_path / "a.tif", name).read_bytes() == first


def test_csv_keeps_every_digit(tmp_path):
    source = recording()
    path = export.write_csv(source, tmp_path / "a.csv")
    with path.open() as file:
        header, *rows = csv.reader(file)
    assert header == ["time", "roi_0", "roi_1", "roi_2"]
    values = np.array(rows, dtype=float)
    np.testing.assert_array_equal(values[:, 0], source.time)
    np.testing.assert_array_equal(values[:, 1:].astype(np.float32), source["dff"].values)


def test_tables_as_csv_are_stimulus_logs_again(tmp_path):
    source = recording()
    export.write_csv(source, tmp_path / "log.csv", "stimulus")
    source.save(tmp_path / "a.zarr")
    again = read(tmp_path / "a.zarr", ReadOptions(stimulus={"file": "log.csv"})).stimulus
    for name in ("start", "stop", "contrast", "kind"):
        np.testing.assert_array_equal(again[name].values, source.stimulus[name].values)
    assert export.write_csv(source, tmp_path / "rois.csv", "rois").read_text() == "y\n1.0\n2.0\n3.0\n"


def test_what_does_not_fit_the_format_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="Which variable"):
        export.write_tiff(movies(), tmp_path / "a.tif")
    with pytest.raises(ConfigError, match="dff is not a movie"):
        export.write_tiff(recording(), tmp_path / "a.tif", "dff")
    with pytest.raises(ConfigError, match="dff is not traces"):
        export.write_csv(movies(), tmp_path / "a.csv", "dff")
    with pytest.raises(ConfigError, match=r"takes: dff, stimulus, rois"):
        export.write_csv(recording(), tmp_path / "a.csv", "behavior")
    assert not list(tmp_path.iterdir())
