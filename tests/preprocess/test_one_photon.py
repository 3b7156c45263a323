"""Cells of simulated one-photon movies, told from a background that is brighter than they are."""

import numpy as np
import pytest

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording
from neurodyn.data.regions import regions_of
from neurodyn.metrics.rois import match_centres
from neurodyn.preprocess.one_photon import background, find_footprints
from neurodyn.preprocess.suite2p import extract
from neurodyn.simulate.miniscope import Miniscope, MiniscopeParams

SMALL = {"cells": 14, "blurred": 4, "height": 96, "width": 96, "amplitude": 30, "duration": 50}


def simulated(seed, **changes):
    return Miniscope(MiniscopeParams.model_validate(SMALL | {"seed": seed} | changes)).make()


def test_a_flat_glow_is_all_background_and_a_small_cell_is_not():
    y, x = np.mgrid[:80, :80]
    wide, cell = (np.exp(-0.5 * ((y - 40) ** 2 + (x - 40) ** 2) / sigma**2) for sigma in (60, 3))
    inner = (0, slice(36, 45), slice(36, 45))
    np.testing.assert_allclose(background(wide[None], 8.0)[inner], wide[inner[1:]], atol=0.02)
    assert np.abs(background(cell[None], 8.0)[inner]).max() < 0.1


def test_cells_their_traces_and_no_others_are_found(tmp_path):
    truth = simulated(1)
    still = {"run": {"do_registration": 0}}  # registration takes longer than all the rest
    made = Recording.open(extract(truth, tmp_path / "cells.zarr", settings=still, one_photon=True))
    pairs = match_centres(regions_of(made).centres, regions_of(truth).centres)
    assert len(pairs) / 14 >= 0.75
    assert len(pairs) / made["fluorescence"].shape[1] >= 0.75
    calcium, found = truth.table("truth")["calcium"].values, made["fluorescence"].values
    assert np.median([np.corrcoef(found[:, f], calcium[:, m])[0, 1] for f, m in pairs]) > 0.9
    slopes = [np.polyfit(calcium[:, m], found[:, f], 1)[0] for f, m in pairs]
    assert np.median(slopes) == pytest.approx(1, abs=0.3)  # counts at the footprint's peak
    assert made.variables == ["fluorescence"]
    last = made.history[-1]
    assert last["step"] == "one_photon"
    assert last["params"]["diameter_px"] == pytest.approx(10, rel=0.3)


def test_noise_without_cells_has_no_footprints():
    noise = np.random.default_rng(0).normal(100, 5, (80, 64, 64)).astype(np.float32)
    assert find_footprints(noise, 10.0).weights.shape[1] == 0


def test_a_movie_that_does_not_show_the_size_of_cells_asks_for_it(tmp_path):
    noise = np.random.default_rng(1).normal(500, 5, (120, 64, 64)).astype(np.float32)
    movie = Recording.from_arrays({"fluorescence": noise}, rate_hz=10)
    with pytest.raises(DataError, match="how large") as error:
        extract(movie, tmp_path / "cells.zarr", one_photon=True)
    assert "--diameter" in error.value.fix
    told = {"one_photon": True, "diameter": 10, "run": {"do_registration": 0}}  # noise registers to its own reference
    with pytest.raises(DataError, match="No ROI was found"):
        extract(movie, tmp_path / "cells.zarr", settings=told)
    assert list(tmp_path.iterdir()) == []


def test_what_contradicts_one_photon_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="activity alone"):
        extract(simulated(2, duration=12), tmp_path / "cells.zarr", settings={"one_photon": True, "cells": "anatomy"})
