"""The same cells over days: alignment, probability, identity, on fields whose cells are known."""

from itertools import combinations

import numpy as np
import pytest
import tifffile
import xarray as xr
from scipy import ndimage

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.data.regions import read_regions
from neurodyn.tracking.align import align
from neurodyn.tracking.field import fields_of
from neurodyn.tracking.identity import identities
from neurodyn.tracking.pairs import GRID, Pairs, fit_model
from neurodyn.tracking.sessions import track
from tests.tracking.simulated import Day, mouse, session, week


def precision_and_recall(tracked, seen):
    """Return both over all pairs of sessions."""
    found = {(a, cell[a], b, cell[b]) for cell in tracked.cells for a, b in combinations(cell, 2)}
    rows = [{int(cell): row for row, cell in enumerate(each)} for each in seen]
    true = {
        (a, row, b, rows[b][cell])
        for a, b in combinations(range(len(seen)), 2)
        for cell, row in rows[a].items()
        if cell in rows[b]
    }
    return len(found & true) / max(len(found), 1), len(found & true) / len(true)


def test_a_turned_and_shifted_field_is_laid_on_the_reference():
    field, day = mouse(1, 90), Day(angle=3.0, shift=(9, -14), stretch=1.008)
    one, other = fields_of([session(field, Day(), 2)[0], session(field, day, 3)[0]])
    found = align(one, other)
    places = np.random.default_rng(0).uniform(20, 236, (100, 2))
    assert found.believed
    assert found.angle == pytest.approx(3.0, abs=0.4)
    assert np.linalg.norm(found.back(day.place(places)) - places, axis=1).mean() < 0.8


@pytest.mark.parametrize(("seed", "more"), [(1, {"jitter": 1.0}), (2, {"mean": False})])
def test_cells_are_found_again(seed, more):
    recordings, seen = week(seed, days=3, count=80, **more)
    tracked = track(recordings)
    precision, recall = precision_and_recall(tracked, seen)
    assert precision >= 0.95 and recall >= 0.9
    assert abs(tracked.false_positives - (1 - precision)) < 0.05
    assert sum(len(cell) for cell in tracked.cells) == sum(each.size for each in seen)


def test_the_field_of_another_mouse_is_refused():
    recordings = [session(mouse(seed, 90), Day(), 5, name)[0] for seed, name in ((3, "monday"), (4, "stranger"))]
    with pytest.raises(DataError, match="'stranger' does not show the field of 'monday'") as refused:
        track(recordings)
    assert "mirror images" in refused.value.found


def test_without_masks_or_with_few_cells_nothing_is_guessed():
    recording, _ = session(mouse(5, 90), Day(), 6)
    bare = recording.with_groups({"rois": recording.table("rois")[["number"]]})
    with pytest.raises(DataError, match="neither ids nor masks"):
        track([recording, bare])
    few, _ = session(mouse(5, 4), Day(share=1.0), 6)
    with pytest.raises(DataError, match="too few cells"):
        track([few, few])


def made_pairs(edges):
    """Return pairs and probabilities of {(session, session): {(row, row): p}}."""
    pairs = {
        key: Pairs(*(np.array([rows[k] for rows in some]) for k in (0, 1)), np.zeros(len(some)), np.zeros(len(some)))
        for key, some in edges.items()
    }
    return pairs, {key: np.array(list(some.values())) for key, some in edges.items()}


def test_what_two_sessions_say_has_to_hold_for_the_third():
    certain = {(0, 1): {(0, 0): 0.9}, (1, 2): {(0, 0): 0.8}, (0, 2): {(0, 0): 0.7}}
    assert identities([1, 1, 1], *made_pairs(certain)) == [{0: 0, 1: 0, 2: 0}]
    denied = {(0, 1): {(0, 0): 0.9}, (1, 2): {(0, 0): 0.8}, (0, 2): {(0, 0): 0.1}}
    assert identities([1, 1, 1], *made_pairs(denied)) == [{0: 0, 1: 0}, {2: 0}]


def test_rivals_are_assigned_so_that_both_find_a_cell():
    rivals = {(0, 1): {(0, 0): 0.9, (1, 0): 0.95, (1, 1): 0.9}}
    assert identities([2, 2], *made_pairs(rivals)) == [{0: 0, 1: 0}, {0: 1, 1: 1}]


def test_the_mixture_is_that_of_the_data():
    rng = np.random.default_rng(0)
    same = rng.random(4000) < 0.3
    unlike = np.where(same, np.clip(rng.lognormal(np.log(0.2), 0.4, 4000), 0, 0.99), 1 - rng.beta(1.5, 4, 4000))
    distance = np.where(same, 0.2 * rng.random(4000), rng.uniform(0.3, 1, 4000))
    between, within = (Pairs(np.arange(n), np.arange(n), distance[s], unlike[s]) for n, s in (
        (4000, slice(None)), ((~same).sum(), ~same))
    )  # fmt: skip
    model = fit_model([between], [within])
    assert model.share == pytest.approx(0.3, abs=0.03)
    assert (np.diff(model.curve) <= 0).all() and model.curve.size == GRID.size
    belief = model.probability(between)
    for low, high in ((0.0, 0.2), (0.8, 1.0)):
        told = (belief >= low) & (belief <= high)
        assert same[told].mean() == pytest.approx(belief[told].mean(), abs=0.06)


def real_session(movie, masks, name):
    """Return a recording of masks, each shape (y, x), and of the mean of a movie."""
    places = [np.nonzero(mask > 0.5) for mask in masks]
    table = {
        "number": ("roi", np.arange(len(masks))),
        "mask_roi": ("mask", np.repeat(np.arange(len(masks)), [rows.size for rows, _ in places])),
        "mask_y": ("mask", np.concatenate([rows for rows, _ in places])),
        "mask_x": ("mask", np.concatenate([columns for _, columns in places])),
    }
    qc = {"mean_image": (("y", "x"), movie.mean(axis=0))}
    traces = np.zeros((9, len(masks)))
    time = np.arange(9) / 7
    return Recording.from_arrays(
        {"dff": traces}, rate_hz=7, time=time, session=name, rois=xr.Dataset(table), qc=xr.Dataset(qc)
    )


def test_two_halves_of_a_real_movie_one_of_them_turned(shared_data):
    movie = tifffile.imread(shared_data / "neurofinder" / "movie_600x128x128_uint16.tif").astype(np.float32)
    regions = read_regions(shared_data / "neurofinder" / "regions.json").pixels
    masks = np.zeros((len(regions), *movie.shape[1:]))
    for mask, pixels in zip(masks, regions, strict=True):
        mask[tuple(pixels.T)] = 1
    rng = np.random.default_rng(0)
    seen = [rng.permutation(len(masks))[: round(0.8 * len(masks))] for _ in range(2)]

    def turned(picture):
        return ndimage.shift(ndimage.rotate(picture, 3, reshape=False, order=1, mode="nearest"), (4, -5), order=1)

    other = np.stack([turned(mask) for mask in masks[seen[1]]])
    inside = (other > 0.5).sum(axis=(1, 2)) > 8
    seen[1], other = seen[1][inside], other[inside]
    later = real_session(turned(movie[300:].mean(axis=0))[None], other, "later")
    tracked = track([real_session(movie[:300], masks[seen[0]], "first"), later])
    precision, recall = precision_and_recall(tracked, seen)
    assert len(np.intersect1d(*seen)) > 8
    assert precision >= 0.95 and recall >= 0.9
