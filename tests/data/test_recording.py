"""Recording: errors name the field; the disk keeps everything; writes are atomic and deterministic."""

import json
import threading

import numpy as np
import pytest
import xarray as xr
import zarr

from neurodyn.core.errors import DataError
from neurodyn.core.files import sha256
from neurodyn.data import store
from neurodyn.data.recording import Recording, entry
from neurodyn.data.schema import SCHEMA_VERSION

RNG = np.random.default_rng(0)
TRACES = np.ones((20, 3), np.float32)
MOVIE = np.ones((20, 4, 5), np.uint16)
EVENTS = {"start": np.array([0.0, 1.0]), "stop": np.array([0.5, 1.5])}


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"neural": {}}, "neural"),
        ({"neural": {"dff": np.ones(5)}}, "neural/dff"),
        ({"neural": {"dff": np.ones((2, 2, 2, 2))}}, "neural/dff"),
        ({"neural": {"dff": TRACES.astype(str)}}, "neural/dff"),
        ({"neural": {"dff": xr.Variable(("roi", "time"), TRACES.T)}, "time": np.arange(3)}, "neural"),
        ({"neural": {"dff": TRACES, "spikes": TRACES[:5]}}, "share one shape"),
        ({"rate_hz": None}, "rate_hz"),
        ({"rate_hz": -1.0}, "rate_hz"),
        ({"rate_hz": np.nan}, "rate_hz"),
        ({"time": np.arange(19) / 10}, "neural"),
        ({"time": np.r_[np.arange(10), np.arange(10)] / 10}, "neural/time"),
        ({"time": np.r_[np.arange(19) / 10, np.nan]}, "neural/time"),
        ({"time": np.arange(20) / 12}, "rate_hz"),
        ({"neural": {"dff": TRACES[:0]}}, "neural/time"),
        ({"units": {"dff": ""}}, "neural/dff"),
        ({"stimulus": {"start": [0.0]}}, "stimulus"),
        ({"stimulus": {"start": [1.0], "stop": [0.5]}}, "stimulus: event 0"),
        ({"stimulus": {"start": [0.0, np.nan], "stop": [1.0, 2.0]}}, "stimulus: event 1"),
        ({"stimulus": EVENTS | {"contrast": [1.0]}}, "stimulus"),
        ({"brain": np.ones((4, 5))}, "brain"),
        ({"neural": {"dff": MOVIE}, "brain": np.ones((5, 4))}, "brain"),
        ({"neural": {"dff": MOVIE}, "brain": np.zeros((4, 5))}, "brain"),
        ({"rois": xr.Dataset({"y": ("roi", np.ones(4))})}, "rois"),
    ],
)
def test_the_broken_field_is_named(arguments, field):
    arguments = {"neural": {"dff": TRACES}, "rate_hz": 10.0} | arguments
    with pytest.raises(DataError, match=field) as caught:
        Recording.from_arrays(arguments.pop("neural"), **arguments)
    assert len(str(caught.value).splitlines()) == 3


def whole():
    behavior = xr.Dataset({"speed": ("time_wheel", RNG.normal(size=9))}, coords={"time_wheel": np.arange(9.0)})
    return Recording.from_arrays(
        {"fluorescence": RNG.integers(0, 9, (600, 70, 66)).astype(np.uint16), "dff": RNG.normal(size=(600, 70, 66))},
        time=np.cumsum(RNG.uniform(0.099, 0.101, 600)),
        session="mouse 1",
        indicator="GCaMP6f",
        stimulus=EVENTS | {"scene": np.array(["ä", "b"]), "direction": np.array([0, 45])},
        behavior=behavior,
        truth=xr.Dataset({"r": 0.7}),
        brain=RNG.normal(size=(70, 66)) > 0,
        history=[entry("simulate", {"seed": 1})],
    )


def test_the_disk_keeps_everything(tmp_path):
    recording = whole()
    again = Recording.open(recording.save(tmp_path / "a.zarr"))
    for name in recording.variables:
        assert not again[name].variable._in_memory
        np.testing.assert_array_equal(again[name].values, recording[name].values)
        assert again[name].attrs == recording[name].attrs
    for group in ("stimulus", "behavior", "truth"):
        for name, variable in recording.table(group).variables.items():
            np.testing.assert_array_equal(again.table(group)[name].values, variable.values)
    np.testing.assert_array_equal(again.brain, recording.brain)
    np.testing.assert_array_equal(again.time, recording.time)
    assert dict(again.tree.attrs) == dict(recording.tree.attrs)
    assert again.tree.attrs["schema_version"] == SCHEMA_VERSION
    assert again.history[0]["params"] == {"seed": 1}


def test_names_come_in_one_order_whatever_the_file_system_says(tmp_path):
    neural = dict.fromkeys(("spikes", "dff", "neuropil", "fluorescence"), TRACES)
    path = Recording.from_arrays(neural, rate_hz=10.0, stimulus=EVENTS | {"b": [1, 2], "a": [1, 2]}).save(
        tmp_path / "a"
    )
    again = Recording.open(path)
    assert again.variables == ["dff", "fluorescence", "neuropil", "spikes"]
    assert list(again.stimulus.data_vars) == ["a", "b", "start", "stop"]


def test_saving_twice_gives_the_same_bytes_also_through_the_disk(tmp_path):
    recording = whole()
    first = recording.save(tmp_path / "a.zarr")
    second = Recording.open(first).save(tmp_path / "b.zarr")
    assert sha256(first) == sha256(recording.save(tmp_path / "c.zarr")) == sha256(second)


def test_others_open_a_recording_without_a_warning(tmp_path):
    recording = whole()
    path = recording.save(tmp_path / "a.zarr")
    with xr.open_datatree(path, engine="zarr", chunks=None) as tree:  # a warning would be an error
        assert {name.strip("/") for name in tree.groups} == {"", *recording.tree.children}
        np.testing.assert_array_equal(tree["neural/time"].values, recording.time)


def test_saving_onto_itself_keeps_the_data(tmp_path):
    path = whole().save(tmp_path / "a.zarr")
    before = sha256(path)
    Recording.open(path).save(path)
    assert sha256(path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_a_failed_save_leaves_the_old_recording(tmp_path, monkeypatch):
    path = whole().save(tmp_path / "a.zarr")
    before = sha256(path)

    def fail(*_):
        raise RuntimeError("full")

    monkeypatch.setattr(store, "aligned_chunks", fail)
    with pytest.raises(RuntimeError, match="full"):
        whole().save(path)
    assert sha256(path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_two_writers_leave_one_whole_recording(tmp_path):
    path = tmp_path / "a.zarr"
    recordings = [Recording.from_arrays({"dff": np.full((500, 30), k)}, rate_hz=10.0) for k in range(4)]
    threads = [threading.Thread(target=recording.save, args=(path,)) for recording in recordings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    values = Recording.open(path)["dff"].values
    assert np.unique(values).size == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_chunks_end_on_borders_and_cover_everything(tmp_path):
    root = zarr.open_group(tmp_path / "a.zarr", mode="w")
    target = store.create_variable(root, "dff", (1300, 70, 66), ("time", "y", "x"), np.float32, {"units": "ΔF/F"})
    slices = store.aligned_chunks(target, chunk_bytes=1)
    assert [(s.start, s.stop) for s in slices] == [(0, 512), (512, 1024), (1024, 1300)]
    assert store.aligned_chunks(target) == [slice(0, 1300)]
    assert store.chunk_shape((1300, 70, 66)) == (512, 64, 64)
    assert store.chunk_shape((1300, 3)) == (1300, 3)


def test_names_that_are_not_there_are_answered_with_those_that_are():
    recording = Recording.from_arrays({"dff": TRACES}, rate_hz=10.0)
    with pytest.raises(DataError, match="Found: dff"):
        recording["spikes"]
    with pytest.raises(DataError, match="no stimulus table"):
        _ = recording.stimulus
    assert recording.table("truth") is None
    assert recording.brain is None


@pytest.mark.parametrize("spoil", ["session", "rate_hz", "history", "neural", "stranger", "schema"])
def test_a_spoiled_folder_is_refused(spoil, tmp_path):
    path = Recording.from_arrays({"dff": TRACES}, rate_hz=10.0).save(tmp_path / "a.zarr")
    meta = json.loads((path / "zarr.json").read_text())
    if spoil == "neural":
        (path / "neural" / "zarr.json").unlink()
    elif spoil == "stranger":
        zarr.open_group(path / "extra", mode="w")
    elif spoil == "schema":
        meta["attributes"]["rate_hz"] = "fast"
    else:
        del meta["attributes"][spoil]
    (path / "zarr.json").write_text(json.dumps(meta))
    with pytest.raises(DataError):
        Recording.open(path)


def test_units_come_from_the_field_unless_given():
    recording = Recording.from_arrays({"dff": TRACES, "odd": TRACES}, rate_hz=10.0, units={"odd": "V"})
    assert recording["dff"].attrs == {"units": "ΔF/F", "made_by": "source"}
    assert recording["odd"].attrs["units"] == "V"
