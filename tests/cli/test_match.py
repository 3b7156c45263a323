"""`neurodyn match`: sessions of the same cells."""

import csv
import json

import numpy as np
import pytest
import xarray as xr

from neurodyn.data.matching import rows_of_cells, with_ids
from neurodyn.data.recording import Recording
from tests.tracking.simulated import Day, mouse, session, week

RNG = np.random.default_rng(0)


def day(folder, name, cells, masks=True, **more):
    """Save a session whose traces are the numbers of its cells."""
    cells = np.array(cells)
    table = {"cell": ("roi", cells), "y": ("roi", np.arange(cells.size) * 1.0), "x": ("roi", np.zeros(cells.size))}
    if masks:
        table |= {"mask_roi": ("mask", np.repeat(np.arange(cells.size), 2)), "mask_y": ("mask", np.repeat(cells, 2))}
        table["mask_x"] = ("mask", np.tile([0, 1], cells.size))
    recording = Recording.from_arrays(
        {"dff": np.tile(cells * 1.0, (30, 1))}, rate_hz=10, session=name, rois=xr.Dataset(table), **more
    )
    return recording.save(folder / f"{name}.zarr")


def test_shared_cells_in_one_order(neurodyn, tmp_path):
    truth = xr.Dataset({"spikes": (("time", "roi"), np.tile([11.0, 12, 13, 14], (30, 1)))})
    one = day(tmp_path, "one", [11, 12, 13, 14], truth=truth)
    two = day(tmp_path, "two", [14, 15, 12])
    done = neurodyn("match", one, two, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert "2 of 5 cells" in done.err
    for name in ("one", "two"):
        found = Recording.open(tmp_path / "out" / f"{name}.zarr")
        assert found.table("rois")["cell"].values.tolist() == [12, 14]
        assert found["dff"].values[0].tolist() == [12, 14]
        assert found.table("rois")["mask_roi"].values.tolist() == [0, 0, 1, 1]
        assert found.table("rois")["mask_y"].values.tolist() == [12, 12, 14, 14]
        assert found.history[-1]["step"] == "rois"
    assert Recording.open(tmp_path / "out" / "one.zarr").table("truth")["spikes"].values[0].tolist() == [12, 14]
    rows = list(csv.reader((tmp_path / "out" / "cells.csv").read_text().splitlines()))
    assert rows == [
        ["cell", "one", "two"],
        ["11", "0", ""],
        ["12", "1", "2"],
        ["13", "2", ""],
        ["14", "3", "0"],
        ["15", "", "1"],
    ]
    assert "up to date" in neurodyn("match", one, two, "-o", tmp_path / "out").err
    assert neurodyn("match", one, two).out.splitlines()[0] == "cell,one,two"


def test_what_cannot_be_matched(neurodyn, tmp_path):
    one = day(tmp_path, "one", [1, 2])
    assert neurodyn("match", one).code == 2
    done = neurodyn("match", one, day(tmp_path, "two", [3]), "-o", tmp_path / "out")
    assert done.code == 3 and "share no cell" in done.err and not (tmp_path / "out").exists()
    done = neurodyn("match", one, day(tmp_path, "three", [3, 3]))
    assert done.code == 3 and "more than once" in done.err
    done = neurodyn("match", one, day(tmp_path, "four", [True, False], masks=False))
    assert done.code == 3 and "have no ids" in done.err
    done = neurodyn("match", one, day(tmp_path, "five", [True, False]))
    assert done.code == 3 and "too few cells" in done.err


def test_cells_without_ids_are_found_by_pictures(neurodyn, tmp_path):
    recordings, seen = week(7, days=2, count=70)
    paths = [recording.save(tmp_path / f"{recording.session}.zarr") for recording in recordings]
    done = neurodyn("match", *paths, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert "found by pictures" in done.err and "% false" in done.err
    whole = [Recording.open(tmp_path / "out" / "all" / path.name) for path in paths]
    for recording, cells in zip(whole, seen, strict=True):
        assert recording["dff"].values[0].tolist() == cells.tolist()
        assert recording.history[-1]["step"] == "match"
    ids = [recording.table("rois")["cell"].values for recording in whole]
    _, *places = np.intersect1d(*ids, return_indices=True)
    assert places[0].size > 25
    assert np.mean(seen[0][places[0]] == seen[1][places[1]]) >= 0.95  # one id, one cell
    shared = [Recording.open(tmp_path / "out" / path.name)["dff"].values[0] for path in paths]
    assert np.mean(shared[0] == shared[1]) >= 0.95
    told = json.loads((tmp_path / "out" / "matching.json").read_text())
    assert 0 <= told["false_positives"] < 0.05 and told["reference"] in ("day0", "day1")
    assert len(list((tmp_path / "out" / "aligned").glob("*.png"))) == 1
    rows = list(csv.reader((tmp_path / "out" / "cells.csv").read_text().splitlines()))
    assert rows[0] == ["cell", "day0", "day1", "p"] and float(rows[1][3] or 1) > 0.5
    again = neurodyn("match", *(tmp_path / "out" / "all" / path.name for path in paths), "--json")
    assert again.code == 0 and f'"shared": {places[0].size}' in again.out


def test_another_mouse_is_refused_and_nothing_written(neurodyn, tmp_path):
    paths = [
        session(mouse(seed, 70), Day(), 5, name)[0].save(tmp_path / f"{name}.zarr")
        for seed, name in ((3, "monday"), (4, "stranger"))
    ]
    done = neurodyn("match", *paths, "-o", tmp_path / "out")
    assert done.code == 3 and "does not show the field" in done.err and not (tmp_path / "out").exists()


def test_verdicts_stand_beside_ids():
    recording = Recording.from_arrays(
        {"dff": np.ones((9, 2))}, rate_hz=10.0, rois=xr.Dataset({"cell": ("roi", np.array([True, False]))})
    )
    table = with_ids(recording, [5, 7], np.array([0.9, np.nan]), {}).table("rois")
    assert table["cell"].values.tolist() == [5, 7] and table["accepted"].values.tolist() == [True, False]


@pytest.mark.parametrize("cells", [[12], [14, 12]])
def test_what_was_matched_can_be_matched_again(neurodyn, tmp_path, cells):
    one, two = day(tmp_path, "one", [11, 12, 14], masks=False), day(tmp_path, "two", cells, masks=False)
    assert neurodyn("match", one, two, "-o", tmp_path / "out").code == 0
    again = neurodyn("match", tmp_path / "out" / "one.zarr", tmp_path / "out" / "two.zarr", "--json")
    assert again.code == 0 and f'"shared": {len(cells)}' in again.out


def test_ids_that_are_texts_are_read_from_the_disk(tmp_path):
    places = []
    for k, cells in enumerate((["b", "a"], ["a", "c"])):
        rois = xr.Dataset({"cell": ("roi", np.array(cells))})
        recording = Recording.from_arrays({"dff": np.ones((9, 2))}, rate_hz=10.0, rois=rois)
        places.append(recording.save(tmp_path / f"{k}.zarr"))
    rows = rows_of_cells([Recording.open(place) for place in places])
    assert {str(cell): rows_ for cell, rows_ in rows.items()} == {"b": [0, None], "a": [1, 0], "c": [None, 1]}
