"""HDF5 and numpy sources: named datasets, axes, frame times, trials."""

import h5py
import numpy as np
import pytest

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.readers.options import ReadOptions, VariablePlace
from neurodyn.readers.read import read
from neurodyn.readers.sources import View, parse_axes

RNG = np.random.default_rng(0)
TRIALS = RNG.normal(size=(6, 4, 10)).astype(np.float32)  # (trial, roi, time)


def hdf5(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


@pytest.mark.parametrize("axes", [("time", "y", "x"), ("x", "y", "time"), ("y", "time", "x")])
@pytest.mark.parametrize(("first", "every"), [(0, 1), (1, 3)])
def test_view_equals_numpy_for_any_order_and_slice(axes, first, every):
    movie = RNG.normal(size=(23, 5, 7))
    source = movie.transpose([("time", "y", "x").index(axis) for axis in axes])
    view, expected = View(source, axes, first, every), movie[first::every]
    assert view.shape == expected.shape
    for key in (np.s_[:, :, :], np.s_[2:6:2, 1, :], np.s_[3, :, 2:4], np.s_[4:4, :, :], np.s_[0, 0, 0]):
        np.testing.assert_array_equal(view[key], expected[key])


@pytest.mark.parametrize("axes", [("trial", "roi", "time"), ("roi", "time", "trial")])
def test_view_lays_trials_end_to_end(axes):
    source = TRIALS.transpose([("trial", "roi", "time").index(axis) for axis in axes])
    view, expected = View(source, axes), TRIALS.transpose(0, 2, 1).reshape(60, 4)
    for key in (np.s_[:, :], np.s_[7:43:3, 1:3], np.s_[29, :], np.s_[10:20, 2], np.s_[55:, :]):
        np.testing.assert_array_equal(view[key], expected[key])


def test_axes_are_checked():
    assert parse_axes("", 3, "dff") == ("time", "y", "x")
    assert parse_axes("roi time", 2, "dff") == ("roi", "time")
    for text, ndim in (("time,roi", 3), ("time,time", 2), ("frame,cell", 2), ("roi,y", 2), ("trial,time", 2), ("", 4)):
        with pytest.raises(DataError, match="axes do not fit"):
            parse_axes(text, ndim, "dff")


def test_trials_become_time_with_gaps_and_a_stimulus_table(tmp_path):
    path = tmp_path / "trials.npz"
    np.savez(path, X=TRIALS, direction=np.arange(6) * 45, other=np.ones((3, 3)))
    options = ReadOptions(
        fs=5.0,
        variables={"dff": VariablePlace(key="X", axes="trial,roi,time")},
        trial_onset=0.4,
        trial_stop=1.4,
        trial_gap=2.0,
        trial_columns={"direction": "direction"},
    )
    recording = read(path, options)
    np.testing.assert_array_equal(recording["dff"].values, TRIALS.transpose(0, 2, 1).reshape(60, 4))
    begins = np.arange(6) * (10 / 5 + 2.0)
    np.testing.assert_allclose(recording.time, (begins[:, None] + np.arange(10) / 5).ravel())
    np.testing.assert_allclose(recording.stimulus["start"].values, begins + 0.4)
    np.testing.assert_allclose(recording.stimulus["stop"].values, begins + 1.4)
    np.testing.assert_array_equal(recording.stimulus["direction"].values, np.arange(6) * 45)


def test_trial_mistakes_are_named(tmp_path):
    path = tmp_path / "trials.npz"
    np.savez(path, X=TRIALS, few=np.arange(5))
    good = {"fs": 5.0, "key": "X", "axes": "trial,roi,time"}
    with pytest.raises(DataError, match="one value per trial"):
        read(path, ReadOptions(**good, trial_columns={"direction": "few"}))
    with pytest.raises(DataError, match="too short to keep trials apart"):
        read(path, ReadOptions(**good, trial_gap=0.1))
    with pytest.raises(DataError, match="--fs"):
        read(path, ReadOptions(**good | {"fs": None}))
    with pytest.raises(DataError, match="stops before it starts"):
        read(path, ReadOptions(**good, trial_onset=1.5, trial_stop=1.0))
    np.savez(path, X=TRIALS[0].T)
    with pytest.raises(ConfigError, match="trial_onset: the array has no trial axis"):
        read(path, ReadOptions(fs=5.0, trial_onset=0.5))


def test_frame_times_are_dealt_to_channels_like_frames(tmp_path):
    movie = RNG.integers(0, 99, (9, 3, 4)).astype(np.uint16)
    times = np.cumsum(RNG.uniform(0.099, 0.101, 9)) + 3
    path = hdf5(tmp_path / "a.h5", red=movie, green=movie + 1, t=times)
    places = {
        "fluorescence": VariablePlace(key="red", every=2),
        "reference": VariablePlace(key="/green", first=1, every=2),
    }
    recording = read(path, ReadOptions(variables=places, times="t"))
    np.testing.assert_array_equal(recording.time, times[::2][:4])
    np.testing.assert_array_equal(recording["reference"].values, movie[1::2] + 1)
    assert recording.rate_hz == pytest.approx(5, rel=0.02)
    with pytest.raises(DataError, match="rate contradicts"):
        read(path, ReadOptions(variables=places, times="t", fs=10.0))
    hdf5(tmp_path / "b.h5", red=movie, t=times[:5])
    with pytest.raises(DataError, match="frame times do not fit"):
        read(tmp_path / "b.h5", ReadOptions(key="red", times="t"))


def test_ambiguous_or_absent_keys_list_what_there_is(tmp_path):
    path = hdf5(tmp_path / "a.h5", **{"one/a": np.ones((5, 2)), "two": np.ones((5, 3)), "t": np.ones(5)})
    with pytest.raises(DataError, match=r"one/a \(5, 2\) float64.*two \(5, 3\)"):
        read(path, ReadOptions(fs=1.0))
    with pytest.raises(DataError, match="no numeric array 'three'"):
        read(path, ReadOptions(fs=1.0, key="three"))
    assert read(path, ReadOptions(fs=1.0, key="/one/a"))["fluorescence"].shape == (5, 2)


def test_the_only_large_array_needs_no_name(tmp_path):
    path = hdf5(tmp_path / "a.h5", traces=np.ones((5, 2)), label=np.bytes_("x"), t=np.arange(5))
    assert read(path, ReadOptions(fs=1.0))["fluorescence"].shape == (5, 2)


def test_one_trace_is_a_recording_with_one_roi(tmp_path):
    path = hdf5(tmp_path / "a.h5", trace=np.arange(7.0))
    recording = read(path, ReadOptions(fs=1.0, key="trace"))
    np.testing.assert_array_equal(recording["fluorescence"].values, np.arange(7.0)[:, None])


def test_brain_mask_from_the_same_file(tmp_path):
    mask = RNG.integers(0, 2, (4, 5))
    path = hdf5(tmp_path / "a.h5", mov=np.ones((6, 4, 5)), mask=mask)
    np.testing.assert_array_equal(read(path, ReadOptions(fs=1.0, key="mov", brain="mask")).brain, mask == 1)


def test_string_columns_of_trials(tmp_path):
    path = hdf5(tmp_path / "a.h5", X=TRIALS, scene=np.array([b"a", b"b", b"c", b"a", b"b", b"c"], dtype=object))
    options = ReadOptions(fs=5.0, key="X", axes="trial,roi,time", trial_columns={"scene": "scene"})
    assert read(path, options).stimulus["scene"].values.tolist() == list("abcabc")


def test_objects_are_never_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('executed')",))

    bomb = np.empty((2, 2), dtype=object)
    bomb[:] = Bomb()
    np.save(tmp_path / "a.npy", bomb)
    np.savez(tmp_path / "a.npz", X=bomb)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(DataError):
            read(tmp_path / name, ReadOptions(fs=1.0, key="X" if name == "a.npz" else None))


def test_damage_found_while_reading_is_a_data_error(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("mov", data=RNG.integers(0, 9, (64, 8, 8)), compression="gzip", chunks=(8, 8, 8))
        offset = file["mov"].id.get_chunk_info(3)
    recording = read(path, ReadOptions(fs=1.0))
    data = bytearray(path.read_bytes())
    data[offset.byte_offset : offset.byte_offset + offset.size] = bytes(offset.size)
    path.write_bytes(data)
    assert recording["fluorescence"][:8].shape == (8, 8, 8)
    with pytest.raises(DataError, match="cannot be read"):
        recording["fluorescence"].load()


def test_real_gratings(shared_data):
    for path in sorted((shared_data / "park_v1_gratings").glob("*.npz")):
        options = ReadOptions(
            fs=16.0,
            variables={"dff": VariablePlace(key="X", axes="trial,roi,time")},
            trial_onset=1.0,
            trial_stop=3.0,
            trial_columns={"direction": "direction"},
        )
        recording = read(path, options)
        assert recording.stimulus.sizes["event"] == 128
        with np.load(path) as source:
            np.testing.assert_array_equal(recording["dff"][49 * 5 : 49 * 6].values, source["X"][5].T)
            np.testing.assert_array_equal(recording.stimulus["direction"].values, source["direction"])


def test_real_two_colour_widefield(shared_data, caplog):
    caplog.set_level("INFO")
    folder = shared_data / "yulong_widefield"
    path = next(folder.glob("*.h5"))
    places = {
        "fluorescence": VariablePlace(key="red_camera", first=0, every=2),
        "reference": VariablePlace(key="green_camera", first=1, every=2),
    }
    recording = read(path, ReadOptions(variables=places, times="frame_times_s", brain="WholeCortexMask.tif"))
    assert recording["reference"].shape == (100, 128, 128)
    assert recording.rate_hz == pytest.approx(1.0, rel=0.001)
    assert 0.2 < recording.brain.mean() < 0.6
    assert "binned 4 x 4" in caplog.text
    with h5py.File(path) as source:
        assert source["frame_is_405"][1::2].all()
        np.testing.assert_array_equal(recording["reference"][7].values, source["green_camera"][15])


def test_a_name_that_is_no_text_is_damage(tmp_path):
    path = hdf5(tmp_path / "a.h5", good=TRIALS)
    path.write_bytes(path.read_bytes().replace(b"good", b"go\xffd"))
    with pytest.raises(DataError, match="no UTF-8"):
        read(path, ReadOptions(fs=10.0))
