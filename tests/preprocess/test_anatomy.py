"""Somata of known size and place in simulated mean images."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from neurodyn.metrics.rois import match_centres
from neurodyn.preprocess.anatomy import estimate_diameter, find_somata
from neurodyn.preprocess.detected import joined, of_a_cells_size
from neurodyn.simulate.somata import Somata, SomataParams


def field(diameter, seed, **changes):
    """Mean image, shape (y, x), and the cells' centres, shape (cell, 2)."""
    params = {"diameter": diameter, "height": 128, "width": 128, "active": 0, "specks": 30, "seed": seed}
    params |= {"silent": int(1800 / diameter**2), "holes": 4, "silent_brightness": 0.8, "duration": 12}
    made = Somata(SomataParams.model_validate(params | changes)).make()
    rois = made.table("rois")
    return made["fluorescence"].values.mean(axis=0), np.stack([rois["y"].values, rois["x"].values], axis=1)


@pytest.mark.parametrize(("diameter", "seed"), [(7, 1), (11, 2), (18, 3)])
def test_the_diameter_of_somata_is_estimated_from_their_picture(diameter, seed):
    image, _ = field(diameter, seed)
    size = estimate_diameter([image])
    assert size is not None
    assert size.diameter == pytest.approx(diameter, rel=0.2)
    offset = estimate_diameter([3 * image - 500])  # whatever the detector's gain and offset
    assert offset is not None and offset.diameter == pytest.approx(size.diameter, rel=0.02)


@pytest.mark.parametrize("smoothing", [0.0, 0.8, 1.5])
def test_noise_has_no_somata(smoothing):
    noise = gaussian_filter(np.random.default_rng(4).normal(100, 5, (128, 128)), smoothing)
    assert estimate_diameter([noise]) is None


def test_silent_cells_are_found_by_their_shape_with_few_false_ones():
    found, marked, pairs, shares = 0, 0, 0, []
    for seed in (11, 12, 13):
        image, centres = field(11, seed)
        somata = find_somata(image, 11)
        hits = match_centres(np.array([pixels.mean(axis=0) for pixels in somata]), centres)
        found, marked, pairs = found + len(somata), marked + len(centres), pairs + len(hits)
        shares += [len(somata[k]) / (np.pi * 5.5**2) for k, _ in hits]
    assert pairs / found > 0.8
    assert pairs / marked > 0.5
    assert 0.7 < np.median(shares) < 1.3


def disc(y, x, radius):
    rows, columns = np.mgrid[:60, :60]
    return np.argwhere((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)


def active(pixels):
    return {"ypix": pixels[:, 0], "xpix": pixels[:, 1], "lam": np.ones(len(pixels)), "med": [0, 0]}


def test_a_cell_found_by_both_is_there_once_with_the_mask_that_fits():
    fits, small, alone = disc(20, 20, 5), disc(40, 40, 3), disc(20, 45, 5)
    somata = [disc(21, 20, 5), disc(40, 41, 5), disc(50, 10, 5)]
    cells = joined([active(fits), active(small), active(alone)], somata, 10)
    assert [cell["found_by"] for cell in cells] == ["both", "both", "activity", "anatomy"]
    assert cells[0]["ypix"] is not None and len(cells[0]["ypix"]) == len(fits)
    assert len(cells[1]["ypix"]) == len(somata[1])  # 3 pixels in radius disagree with 5
    np.testing.assert_array_equal(np.stack([cells[3]["ypix"], cells[3]["xpix"]], axis=1), somata[2])


def test_pieces_of_neurites_and_patches_are_no_cells():
    kept = of_a_cells_size([active(disc(30, 30, radius)) for radius in (2, 5, 12)], 10)
    assert [len(roi["ypix"]) for roi in kept] == [len(disc(30, 30, 5))]
