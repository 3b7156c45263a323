"""suite2p's folder written: read back by us, by numpy and MATLAB's reader, and by suite2p's own loading code."""

import ast
import os
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import xarray as xr

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.preprocess.suite2p import import_suite2p
from neurodyn.readers.masks import Mask, mask_columns
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.read import read
from neurodyn.readers.suite2p.writing import write_suite2p

RNG = np.random.default_rng(0)
SHAPE, FRAMES = (40, 60), 90
EVERY = ReadOptions(pickle=True, cells_only=False)


def recording(masks=True, **neural):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    disks = [np.nonzero((y - cy) ** 2 + (x - cx) ** 2 < 16) for cy, cx in ((10, 12), (12, 17), (30, 50))]
    drawn = [Mask(rows, columns, RNG.uniform(0.5, 1, rows.size)) for rows, columns in disks]
    table = {"cell": ("roi", np.array([True, False, True])), "probability": ("roi", np.array([0.9, 0.2, 0.6]))}
    table |= {"y": ("roi", np.array([10.0, 12, 30])), "x": ("roi", np.array([12.0, 17, 50]))}
    highest = np.full(SHAPE, np.nan)
    highest[3:38, 2:57] = RNG.random((35, 55))
    seen = {"mean_image": RNG.random(SHAPE).astype(np.float32), "max_projection": highest.astype(np.float32)}
    return Recording.from_arrays(
        {"fluorescence": RNG.normal(100, 5, (FRAMES, 3)).astype(np.float32)} | neural,
        rate_hz=20.0,
        session="mouse",
        rois=xr.Dataset(table | (mask_columns(drawn) if masks else {})),
        qc=xr.Dataset({name: (("y", "x"), picture) for name, picture in seen.items()}),
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    more = {name: RNG.random((FRAMES, 3)).astype(np.float32) for name in ("neuropil", "spikes")}
    whole = recording(**more)
    return whole, write_suite2p(whole, tmp_path_factory.mktemp("out") / "mouse")


def same(back, whole):
    for name in ("fluorescence", "neuropil", "spikes"):
        np.testing.assert_array_equal(back[name].values, whole[name].values)
    for name in ("cell", "probability", "mask_roi", "mask_y", "mask_x", "mask_overlap"):
        np.testing.assert_array_equal(back.table("rois")[name].values, whole.table("rois")[name].values)
    np.testing.assert_allclose(
        back.table("rois")["mask_weight"].values, whole.table("rois")["mask_weight"].values, 1e-6
    )
    for name in ("mean_image", "max_projection"):
        np.testing.assert_array_equal(back.table("qc")[name].values, whole.table("qc")[name].values)
    assert back.rate_hz == whole.rate_hz


def test_our_reader_gives_what_was_written(made):
    whole, folder = made
    same(read(folder, EVERY), whole)
    same(read(folder / "suite2p" / "plane0" / "Fall.mat", ReadOptions(cells_only=False)), whole)


def test_users_scripts_find_their_keys(made):
    whole, folder = made
    plane = folder / "suite2p" / "plane0"
    stat = np.load(plane / "stat.npy", allow_pickle=True)
    ops = np.load(plane / "ops.npy", allow_pickle=True).item()
    assert stat.shape == (3,) and np.load(plane / "F.npy").shape == (3, FRAMES)
    assert (ops["Ly"], ops["Lx"]) == SHAPE and ops["fs"] == 20.0 and ops["nframes"] == FRAMES
    assert ops["yrange"] == [3, 38] and ops["max_proj"].shape == (35, 55)
    for roi in stat:
        assert {
            "ypix",
            "xpix",
            "lam",
            "med",
            "npix",
            "radius",
            "skew",
            "std",
            "compact",
            "aspect_ratio",
            "npix_norm",
        } <= set(roi)
    assert stat[2]["med"] == [30, 50] and stat[2]["compact"] == pytest.approx(1, abs=0.05)
    assert stat[2]["aspect_ratio"] == pytest.approx(1, abs=0.02) and 3 < stat[2]["radius"] < 5
    mat = scipy.io.loadmat(plane / "Fall.mat")
    np.testing.assert_array_equal(mat["F"], whole["fluorescence"].values.T)
    assert mat["stat"].shape[1] == 3 and mat["ops"]["fs"][0, 0][0, 0] == 20.0


def own_loader(suite2p):
    """Return the function by which suite2p's window loads files, taken out of a module that cannot be imported without Qt."""
    source = (Path(suite2p.__file__).parent / "gui" / "io.py").read_text(encoding="utf-8")
    (function,) = (node for node in ast.parse(source).body if getattr(node, "name", "") == "load_files")
    names = {"np": np, "os": os}
    exec(compile(ast.Module([function], []), "io.py", "exec"), names)
    return names["load_files"]


@pytest.mark.slow
def test_suite2p_itself_loads_it(made):
    whole, folder = made
    suite2p = import_suite2p()
    stat, ops, f, *_, iscell, probability, _, _, _ = own_loader(suite2p)(
        str(folder / "suite2p" / "plane0" / "stat.npy")
    )
    assert len(stat) == 3 and ops["tau"] == 1.0 and iscell.tolist() == [True, False, True]
    np.testing.assert_array_equal(f, whole["fluorescence"].values.T)
    joined = suite2p.io.combined(str(folder / "suite2p"), save=False)
    np.testing.assert_array_equal(joined[3], f)
    assert joined[1]["meanImg"].shape == SHAPE


def test_what_is_not_known_is_told(tmp_path, caplog):
    folder = write_suite2p(recording(), tmp_path / "a")
    assert "no neuropil" in caplog.text and "no spikes" in caplog.text
    assert not np.load(folder / "suite2p" / "plane0" / "Fneu.npy").any()


def test_traces_without_masks_are_refused(tmp_path):
    with pytest.raises(DataError, match="have no masks"):
        write_suite2p(recording(masks=False), tmp_path / "a")
    bare = Recording.from_arrays({"dff": np.ones((9, 2))}, rate_hz=10.0)
    with pytest.raises(DataError, match="no fluorescence"):
        write_suite2p(bare, tmp_path / "a")
    assert not (tmp_path / "a").exists()
