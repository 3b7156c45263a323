"""suite2p folders: layouts, cells, rates, and pickles that must not run."""

import pickle
import pickletools
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.readers import ReadOptions, read
from neurodyn.data.suite2p import load_objects

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
