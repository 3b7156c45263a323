"""Masks lie over the pixels whose traces they gave: not turned, not moved by a crop, in every form they are kept in."""

import shutil
import warnings

import numpy as np
import pytest

from neurodyn.data.recording import Recording
from neurodyn.preprocess.suite2p import import_suite2p
from neurodyn.readers.masks import Mask, mask_columns
from neurodyn.readers.nwb import reading
from neurodyn.readers.nwb.writing import write_nwb
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.read import read
from tests.readers import makers
from tests.readers.suite2p_run import run_suite2p

EVERY = ReadOptions(pickle=True, cells_only=False)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return run_suite2p(tmp_path_factory.mktemp("suite2p"))


def likeness(recording, movie, alone=True):
    """Return the correlation of each trace with the weighted mean of the movie under its mask.

    Parameters
    ----------
    alone
        Leave out pixels that several ROIs share, as suite2p does.
    """
    table = recording.table("rois")
    owner, y, x, weight = (table[name].values for name in ("mask_roi", "mask_y", "mask_x", "mask_weight"))
    found = []
    for roi, trace in enumerate(recording["fluorescence"].values.T):
        mine = (owner == roi) & ~(alone & table["mask_overlap"].values)
        mean = movie[:, y[mine], x[mine]] @ weight[mine] / weight[mine].sum()
        found.append(np.corrcoef(mean, trace)[0, 1])
    return np.array(found)


def test_masks_of_a_suite2p_folder(ran, tmp_path):
    recording = read(ran.plane, EVERY)
    assert recording["fluorescence"].shape[1] >= 5
    assert likeness(recording, ran.movie).min() >= 0.98
    assert likeness(Recording.open(recording.save(tmp_path / "a.zarr")), ran.movie).min() >= 0.98
    mean = recording.table("qc")["mean_image"].values
    assert np.corrcoef(mean.ravel(), ran.movie.mean(axis=0).ravel())[0, 1] > 0.98
    assert recording.table("qc")["correlation_image"].shape == mean.shape


def test_planes_that_suite2p_put_together_keep_masks_and_number(ran, tmp_path):
    for plane in ("plane0", "plane1"):
        shutil.copytree(ran.plane, tmp_path / plane, ignore=shutil.ignore_patterns("data.bin", "Fall.mat"))
    import_suite2p().io.combined(str(tmp_path), save=True)
    recording = read(tmp_path / "combined", EVERY)
    count = read(ran.plane, EVERY)["fluorescence"].shape[1]
    assert recording.table("rois")["plane"].values.tolist() == [0] * count + [1] * count
    beside = np.concatenate([ran.movie, ran.movie], axis=2)
    assert likeness(recording, beside).min() >= 0.98
    assert recording.table("qc")["mean_image"].shape == beside.shape[1:]


def test_masks_of_fall_mat(ran):
    assert likeness(read(ran.plane / "Fall.mat", ReadOptions(cells_only=False)), ran.movie).min() >= 0.98


def test_masks_of_nwb_as_ours_and_as_any_other(ran, tmp_path, monkeypatch):
    path = write_nwb(read(ran.plane, EVERY), tmp_path / "a.nwb")
    assert likeness(read(path, ReadOptions()), ran.movie).min() >= 0.98
    monkeypatch.setattr(reading, "_own", lambda _: {})  # as of a program that leaves no list of parts
    recording = read(path, ReadOptions())
    assert "mask_overlap" in recording.table("rois")
    assert likeness(recording, ran.movie).min() >= 0.98


def test_masks_of_caiman(tmp_path):
    rng = np.random.default_rng(0)
    movie = rng.gamma(2.0, 1.0, (50, 10, 12))  # as makers.caiman has its frames
    footprints = np.zeros((10, 12, 5))
    for k in range(5):
        footprints[k : k + 4, 2 * k : 2 * k + 4, k] = rng.uniform(0.2, 1, (4, 4))
    flat = footprints.reshape(-1, 5, order="F")
    traces = (movie.reshape(50, -1, order="F") @ flat / flat.sum(axis=0)).T
    path = makers.caiman(tmp_path / "a.hdf5", traces, footprints=flat, YrA=np.zeros_like(traces))
    recording = read(path, ReadOptions())
    assert likeness(recording, movie, alone=False).min() >= 0.98
    assert recording.table("rois")["mask_overlap"].values.sum() == 2 * 4 * (4 - 1) * (4 - 2)


def test_shared_pixels_are_found_where_the_source_does_not_say():
    one = Mask(np.array([0, 0]), np.array([0, 1]), np.ones(2))
    two = Mask(np.array([0, 5]), np.array([1, 5]), np.ones(2))
    columns = mask_columns([one, two, Mask(np.empty(0), np.empty(0), np.empty(0))])
    assert columns["mask_overlap"][1].tolist() == [False, True, True, False]
    assert columns["overlap"][1].tolist() == [0.5, 0.5, 0.0]
    told = Mask(one.y, one.x, one.weight, np.array([True, True]))
    assert mask_columns([told])["mask_overlap"][1].tolist() == [True, True]
    assert mask_columns([])["mask_roi"][1].size == 0
