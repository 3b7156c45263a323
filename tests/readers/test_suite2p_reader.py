"""suite2p folders: layouts, cells, rates, and pickles that must not run."""

import datetime
import decimal
import pickle
import pickletools
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import scipy.io

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.readers.containers.unpickling import load_objects
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.questions import QuestionError
from neurodyn.readers.read import read

RNG = np.random.default_rng(0)
F = RNG.normal(100, 5, (6, 40)).astype(np.float32)
CELLS = np.array([1, 0, 1, 1, 0, 1], bool)


def make(plane: Path, *, settings: str = "ops.npy", iscell: bool = True) -> Path:
    plane.mkdir(parents=True)
    np.save(plane / "F.npy", F)
    np.save(plane / "Fneu.npy", F / 2)
    np.save(plane / "spks.npy", np.maximum(F - 100, 0))
    if iscell:
        np.save(plane / "iscell.npy", np.stack([CELLS, np.linspace(0, 1, 6)], axis=1))
    stat = [
        {"med": [k, 2 * k], "ypix": np.arange(4), "xpix": np.arange(4), "lam": np.ones(4, np.float32)}
        | {"npix": 4, "radius": np.float64(2.5)}
        for k in range(6)
    ]
    np.save(plane / "stat.npy", np.array(stat, dtype=object), allow_pickle=True)
    plain = {"fs": 30.0, "tau": 1.0, "save_path": PurePosixPath("a/b"), "meanImg": np.ones((3, 3)), "date": None}
    nested = plain | {"detection": {"nbins": np.int64(5000)}, "set": {1, 2}}
    np.save(plane / settings, np.array(nested if settings == "settings.npy" else plain, dtype=object))
    return plane


@pytest.mark.parametrize("where", ["mouse/suite2p/plane0", "mouse/suite2p", "mouse"])
def test_any_level_of_the_tree_finds_the_cells(where, tmp_path):
    make(tmp_path / "mouse" / "suite2p" / "plane0")
    recording = read(tmp_path / where, ReadOptions(fs=30.0))
    np.testing.assert_array_equal(recording["fluorescence"].values, F[CELLS].T)
    np.testing.assert_array_equal(recording["neuropil"][5:9].values, F[CELLS, 5:9].T / 2)
    assert recording["spikes"].attrs["units"] == "events, a.u."
    np.testing.assert_array_equal(recording.table("rois")["suite2p_roi"].values, np.flatnonzero(CELLS))
    assert recording.session == "mouse"


def test_without_iscell_every_roi_counts_and_files_may_be_missing(tmp_path):
    plane = make(tmp_path / "plane0", iscell=False)
    (plane / "spks.npy").unlink()
    recording = read(plane, ReadOptions(fs=30.0))
    assert recording.variables == ["fluorescence", "neuropil"]
    assert recording["fluorescence"].shape == (40, 6)


@pytest.mark.parametrize("settings", ["ops.npy", "settings.npy"])
def test_pickle_gives_rate_and_centres(settings, tmp_path):
    plane = make(tmp_path / "plane0", settings=settings)
    recording = read(plane, ReadOptions(pickle=True))
    assert recording.rate_hz == 30.0
    np.testing.assert_array_equal(recording.table("rois")["x"].values, 2 * np.flatnonzero(CELLS))
    np.testing.assert_array_equal(recording.table("rois")["radius"].values, 2.5)
    with pytest.raises(DataError, match="contradicts suite2p's settings"):
        read(plane, ReadOptions(pickle=True, fs=15.0))


def test_several_planes_are_not_guessed_from(tmp_path):
    make(tmp_path / "suite2p" / "plane0")
    make(tmp_path / "suite2p" / "plane1")
    with pytest.raises(DataError, match="2 planes"):
        read(tmp_path, ReadOptions(fs=30.0))
    assert read(tmp_path / "suite2p" / "plane1", ReadOptions(fs=30.0))["neuropil"].shape == (40, 4)


def test_damaged_tables_are_named(tmp_path):
    plane = make(tmp_path / "plane0")
    np.save(plane / "iscell.npy", np.zeros((6, 2)))
    with pytest.raises(DataError, match="leaves no cells"):
        read(plane, ReadOptions(fs=30.0))
    np.save(plane / "iscell.npy", np.ones((5, 2)))
    with pytest.raises(DataError, match="5 rows"):
        read(plane, ReadOptions(fs=30.0))
    np.save(plane / "Fneu.npy", F[:5])
    with pytest.raises(DataError, match="differ in shape"):
        read(plane, ReadOptions(fs=30.0))
    with pytest.raises(ConfigError, match="channels"):
        read(plane, ReadOptions(fs=30.0, channels=("a", "b")))


class Bomb:
    """Runs code when unpickled."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def bombs(marker: Path):
    code = f"open({str(marker)!r}, 'w').close()"
    return [
        Bomb(exec, code),
        Bomb(eval, code),
        Bomb(Path(marker).touch),
        Bomb(getattr, 1, "real"),
        Bomb(__import__, "os"),
        Bomb(np.load, str(marker)),
        Bomb(np.memmap, str(marker), "u1", "w+", 0, (1,)),
    ]


@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize("protocol", [2, 5])
def test_a_malicious_pickle_is_refused_and_does_nothing(number, protocol, tmp_path):
    plane, marker = make(tmp_path / "plane0"), tmp_path / "executed"
    payload = pickle.dumps(np.array({"fs": bombs(marker)[number]}, dtype=object), protocol)
    assert "REDUCE" in {op.name for op, _, _ in pickletools.genops(payload)}
    header = (plane / "ops.npy").read_bytes()[:128]
    (plane / "ops.npy").write_bytes(header + payload)
    with pytest.raises(DataError, match=r"ops\.npy is refused"):
        read(plane, ReadOptions(pickle=True))
    assert not marker.exists()
    assert read(plane, ReadOptions(fs=30.0)).rate_hz == 30.0  # without pickle, ops.npy is not opened


def test_plain_data_of_every_pickle_protocol_is_read(tmp_path):
    value = {"a": [1, 2.5, None, True], "b": (np.float32(3), b"bytes"), "c": np.arange(6).reshape(2, 3), "d": {1, 2}}
    value |= {"e": np.array(["x", "yy"]), "f": 1 + 2j, "g": slice(1, 2)}
    header = np.lib.format.magic(1, 0)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path = tmp_path / f"{protocol}.npy"
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
            file.write(pickle.dumps(np.array(value, dtype=object), protocol))
        assert path.read_bytes().startswith(header)
        loaded = load_objects(path).item()
        np.testing.assert_array_equal(loaded.pop("c"), value["c"])
        np.testing.assert_array_equal(loaded.pop("e"), value["e"])
        assert loaded == {key: value[key] for key in loaded}


def test_numeric_npy_needs_no_unpickler(tmp_path):
    np.save(tmp_path / "a.npy", F)
    np.testing.assert_array_equal(load_objects(tmp_path / "a.npy"), F)
    (tmp_path / "b.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match="is refused"):
        load_objects(tmp_path / "b.npy")


RANGE = {"yrange": [2, 14], "xrange": [3, 23], "Ly": 16, "Lx": 24}
MEAN, HIGHEST = RNG.random((16, 24)).astype("f4"), RNG.random((12, 20)).astype("f4")


def masks():
    return [
        {
            "ypix": np.array([k, k, k + 1]),
            "xpix": np.array([4, 5, 5]),
            "lam": np.array([2, 1, 0.5], "f4"),
            "med": [k, 5],
        }
        | {"npix": 3, "overlap": np.array([False, k % 2 == 0, True])}
        for k in range(6)
    ]


def as_written(plane: Path) -> Path:
    """What suite2p 1.1 writes: dates, time zones, numpy numbers and paths among its settings."""
    make(plane)
    now = datetime.datetime(2024, 5, 6, 7, 8, 9)
    ops = {"fs": np.float64(8), "date_proc": now, "date_utc": now.replace(tzinfo=datetime.UTC), "meanImg": MEAN}
    ops |= {"max_proj": HIGHEST, "rmin": np.int16(-3), "took": datetime.timedelta(seconds=3), "day": now.date()} | RANGE
    np.save(plane / "ops.npy", ops)
    np.save(plane / "stat.npy", np.array(masks(), dtype=object))
    return plane


def check_masks(recording, rows):
    rois = recording.table("rois")
    assert rois["mask_roi"].values.tolist() == [place for place in range(len(rows)) for _ in range(3)]
    assert rois["mask_y"].values.tolist() == [y for k in rows for y in (k, k, k + 1)]
    assert rois["mask_x"].values.tolist() == [4, 5, 5] * len(rows)
    assert rois["mask_weight"].values.tolist() == [2, 1, 0.5] * len(rows)
    assert rois["mask_overlap"].values.tolist() == [shared for k in rows for shared in (False, k % 2 == 0, True)]


def test_dates_masks_pictures_and_verdicts_of_a_folder_as_suite2p_writes_it(tmp_path):
    plane = as_written(tmp_path / "suite2p" / "plane0")
    recording = read(plane, ReadOptions(pickle=True))
    assert recording.rate_hz == 8
    check_masks(recording, np.flatnonzero(CELLS).tolist())
    seen = recording.table("qc")
    np.testing.assert_array_equal(seen["mean_image"].values, MEAN)
    np.testing.assert_array_equal(seen["max_projection"].values[2:14, 3:23], HIGHEST)
    assert np.isnan(seen["max_projection"].values).sum() == 16 * 24 - 12 * 20
    everything = read(plane, ReadOptions(pickle=True, cells_only=False))
    np.testing.assert_array_equal(everything.table("rois")["cell"].values, CELLS)
    np.testing.assert_allclose(everything.table("rois")["probability"].values, np.linspace(0, 1, 6))
    np.testing.assert_array_equal(everything["fluorescence"].values, F.T)
    check_masks(everything, list(range(6)))


def test_without_ops_the_files_of_version_1_are_joined(tmp_path):
    plane = as_written(tmp_path / "plane0")
    (plane / "ops.npy").unlink()
    np.save(plane / "settings.npy", {"fs": 12.0})
    np.save(plane / "db.npy", {"Ly": 16, "Lx": 24, "save_path": PurePosixPath("a")})
    np.save(plane / "reg_outputs.npy", {"meanImg": MEAN, "yrange": [2, 14], "xrange": [3, 23]})
    np.save(plane / "detect_outputs.npy", {"max_proj": HIGHEST})
    recording = read(plane, ReadOptions(pickle=True))
    assert recording.rate_hz == 12
    np.testing.assert_array_equal(recording.table("qc")["max_projection"].values[2:14, 3:23], HIGHEST)


def test_what_is_pickled_is_asked_for_and_planes_are(tmp_path):
    as_written(tmp_path / "suite2p" / "plane0")
    as_written(tmp_path / "suite2p" / "plane10")
    with pytest.raises(QuestionError) as question:
        read(tmp_path, ReadOptions(fs=8.0))
    assert question.value.need.option == "--set source.plane=0" and question.value.guess == {"plane": 0}
    with pytest.raises(QuestionError) as question:
        read(tmp_path, ReadOptions(plane=10))
    assert question.value.need.option == "--set source.pickle=true"
    assert read(tmp_path, ReadOptions(plane=10, pickle=True)).rate_hz == 8
    with pytest.raises(DataError, match="no plane 3"):
        read(tmp_path, ReadOptions(plane=3))


def test_an_unknown_class_is_refused_by_its_name(tmp_path):
    plane = as_written(tmp_path / "plane0")
    np.save(plane / "ops.npy", {"fs": decimal.Decimal(8)})
    with pytest.raises(DataError, match=r"decimal\.Decimal, which is not plain data"):
        read(plane, ReadOptions(pickle=True))


@pytest.mark.parametrize("count", [6, 1])
def test_fall_mat_is_the_folder_in_one_file(count, tmp_path):
    verdicts = np.stack([CELLS, np.linspace(0, 1, 6)], axis=1)[:count]
    arrays = {"F": F[:count], "Fneu": F[:count] / 2, "spks": F[:count] * 3, "iscell": verdicts, "redcell": np.array([])}
    plain = tmp_path / "Fall.mat"
    scipy.io.savemat(plain, arrays)
    cells = np.flatnonzero(verdicts[:, 0])
    with pytest.raises(QuestionError, match="frame rate"):
        read(plain, ReadOptions())
    recording = read(plain, ReadOptions(fs=5.0))
    for name, values in (("fluorescence", F), ("neuropil", F / 2), ("spikes", F * 3)):
        np.testing.assert_array_equal(recording[name].values, values[cells].T)
    np.testing.assert_array_equal(recording.table("rois")["probability"].values, verdicts[cells, 1])
    stat = np.empty(count, dtype=object)
    stat[:] = masks()[:count]
    full = tmp_path / "full.mat"
    scipy.io.savemat(full, arrays | {"ops": {"fs": 7.0, "meanImg": MEAN, "max_proj": HIGHEST} | RANGE, "stat": stat})
    recording = read(full, ReadOptions())
    assert recording.rate_hz == 7
    check_masks(recording, cells.tolist())
    np.testing.assert_array_equal(recording.table("qc")["mean_image"].values, MEAN)
    assert read(full, ReadOptions(fs=7.0, key="ops/meanImg", axes="time,roi"))["fluorescence"].shape == (16, 24)
