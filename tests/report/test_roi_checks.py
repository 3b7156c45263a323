"""Checks of ROIs pass for the true somata of a simulated field, and fail for ROIs that disagree with its picture."""

import numpy as np
import pytest
import xarray as xr

from neurodyn.data.recording import Recording, entry
from neurodyn.report.roi_checks import roi_checks
from neurodyn.simulate.somata import Somata, SomataParams

OVERLAP = "pixels of ROIs that another ROI has, too, share"
DARK = "ROIs no brighter than the ring around them, share"
NOTHING = "ROIs that stand out no more than moved copies of them, share"
SIZE = "ROI diameter, median, share of the cells' in the pictures"


@pytest.fixture(scope="module")
def field():
    """Mean image of somata 10 pixels wide, shape (y, x), and their pixels."""
    params = {"diameter": 10, "height": 128, "width": 128, "active": 0, "silent": 22, "duration": 12, "seed": 5}
    made = Somata(SomataParams.model_validate(params | {"filled": 0.8, "silent_brightness": 0.8})).make()
    prints = made.table("truth")["footprint"].values
    return made["fluorescence"].values.mean(axis=0), [np.argwhere(print_) for print_ in prints]


def flags(image, masks, history=()):
    owner = np.repeat(np.arange(len(masks)), [len(mask) for mask in masks])
    places = np.concatenate(masks)
    table = xr.Dataset(
        {"mask_roi": ("mask", owner), "mask_y": ("mask", places[:, 0]), "mask_x": ("mask", places[:, 1])}
    )
    table["npix"] = ("roi", np.bincount(owner))
    qc = xr.Dataset({"mean_image": (("y", "x"), image, {"units": "counts"})})
    traces = {"fluorescence": np.ones((100, len(masks)))}
    made = Recording.from_arrays(traces, rate_hz=10, rois=table, qc=qc, history=list(history))
    found = {check.name: check for check in roi_checks(made, qc)}
    assert {OVERLAP, DARK, NOTHING, SIZE} <= set(found)
    return {name for name, check in found.items() if check.raised}


def test_true_somata_pass_every_check(field):
    assert flags(*field) == set()


def test_pieces_of_cells_are_flagged_by_their_size(field):
    image, masks = field
    pieces = [mask[np.linalg.norm(mask - mask.mean(axis=0), axis=1) < 2.5] for mask in masks]
    assert SIZE in flags(image, pieces)
    told = [entry("suite2p", {"diameter_px": 5.0, "diameter_from": "told"})]
    assert SIZE in flags(image, pieces, told)  # the picture counts, not what the extraction was told


def test_rois_on_nothing_are_flagged(field):
    image, masks = field
    rng = np.random.default_rng(0)
    moved = [(mask + rng.integers(0, 128, 2)) % 128 for mask in masks]
    assert {DARK, NOTHING} <= flags(image, moved)


def test_cells_that_were_found_twice_are_flagged(field):
    image, masks = field
    assert flags(image, [*masks, *(np.clip(mask + [0, 1], 0, 127) for mask in masks)]) == {OVERLAP}
