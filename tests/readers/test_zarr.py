"""Recordings as sources: options may repeat what they say, not contradict it."""

import numpy as np
import pytest
import zarr

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.read import read
from neurodyn.readers.zarr_arrays import ZarrArraysReader


@pytest.fixture
def path(tmp_path):
    recording = Recording.from_arrays(
        {"dff": np.ones((30, 3))}, rate_hz=10.0, session="mouse", indicator="GCaMP6s", units={"dff": "%"}
    )
    return recording.save(tmp_path / "mouse.zarr")


def test_agreeing_options_pass(path):
    options = ReadOptions(fs=10.001, indicator="GCaMP6s", session="mouse", units={"dff": "%"})
    assert read(path, options).session == "mouse"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"fs": 30.0}, "fs contradicts"),
        ({"indicator": "jRGECO1a"}, "indicator contradicts"),
        ({"session": "rat"}, "session contradicts"),
        ({"units": {"dff": "ΔF/F"}}, "units of dff contradicts"),
    ],
)
def test_contradicting_options_are_refused(path, options, named):
    with pytest.raises(DataError, match=named):
        read(path, ReadOptions(**options))


def test_an_indicator_that_is_not_known_may_be_told(path):
    untold = Recording.from_arrays({"dff": np.ones((30, 3))}, rate_hz=10.0).save(path.parent / "untold.zarr")
    assert read(untold, ReadOptions(indicator="GCaMP6f")).indicator == "GCaMP6f"
    assert read(untold).indicator == "unknown"


def test_a_foreign_zarr_group_is_no_recording(tmp_path):
    zarr.open_group(tmp_path / "other.zarr", mode="w").create_array("x", data=np.ones(3))
    with pytest.raises(DataError, match=r"[Nn]ot a neurodyn recording"):
        read(tmp_path / "other.zarr", reader="recording")
    with pytest.raises(DataError, match=r"which array to read"):
        read(tmp_path / "other.zarr")


def test_a_missing_chunk_is_not_read_as_darkness(path):
    zeros = Recording.from_arrays({"spikes": np.zeros((30, 3))}, rate_hz=10.0).save(path.parent / "zeros.zarr")
    assert read(zeros)["spikes"].values.sum() == 0
    chunk = next(file for file in (zeros / "neural" / "spikes" / "c").rglob("*") if file.is_file())
    chunk.unlink()
    with pytest.raises(DataError, match="neural/spikes lacks 1 of its"):
        read(zeros)


def test_a_chunk_that_asks_for_gigabytes_is_damage(tmp_path, monkeypatch):
    zarr.create_array(tmp_path / "a.zarr", data=np.ones((20, 4), np.float32))
    (array,) = ZarrArraysReader.arrays(tmp_path / "a.zarr").values()

    def refuse(*_):
        raise MemoryError

    monkeypatch.setattr(zarr.Array, "__getitem__", refuse)
    with pytest.raises(DataError, match="more than its shape"):
        array[:]
    monkeypatch.setattr("neurodyn.readers.zarr_arrays.SMALL", 8)
    with pytest.raises(MemoryError):
        array[:]
