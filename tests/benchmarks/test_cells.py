"""Cells that extraction finds by default in simulated two-photon movies, 6 to 24 pixels wide, and in one-photon ones.

Thresholds were chosen on other seeds (100 to 115) than those scored here.
"""

import numpy as np
import pytest

from neurodyn.data.recording import Recording
from neurodyn.data.regions import regions_of
from neurodyn.metrics.rois import match_centres
from neurodyn.preprocess.suite2p import extract
from neurodyn.simulate.miniscope import Miniscope, MiniscopeParams
from neurodyn.simulate.somata import Somata, SomataParams

DIAMETERS = [6, 7, 8, 10, 12, 14, 16, 18, 20, 24, 9, 11]


def movie(seed):
    """A field whose density, noise and brightness are drawn, too."""
    rng, diameter = np.random.default_rng(seed), DIAMETERS[seed]
    side = int(np.clip(14 * diameter, 128, 256))
    cells = max(6, int(rng.uniform(0.04, 0.1) * side**2 / (np.pi * diameter**2 / 4)))
    params = {"diameter": diameter, "height": side, "width": side, "active": cells, "silent": cells, "seed": seed}
    params |= {"holes": int(0.3 * cells), "specks": 2 * cells, "photons": float(rng.choice([2, 4, 8]))}
    return Somata(SomataParams.model_validate(params | {"silent_brightness": rng.uniform(0.4, 1)})).make()


def scores(seed, folder):
    """Recall of active and of silent cells, precision, and estimated over true diameter."""
    truth = movie(seed)
    made = Recording.open(extract(truth, folder / f"{seed}.zarr"))
    cells = truth.table("rois")
    pairs = match_centres(regions_of(made).centres, regions_of(truth).centres, max(3.0, 0.5 * DIAMETERS[seed]))
    hit = np.isin(np.arange(cells.sizes["roi"]), pairs[:, 1])
    active = cells["active"].values
    size = made.history[-1]["params"]["diameter_px"] / DIAMETERS[seed]
    return hit[active].mean(), hit[~active].mean(), len(pairs) / made["fluorescence"].shape[1], size


def test_one_simulated_movie(tmp_path):
    active, silent, precision, size = scores(2, tmp_path)
    assert active >= 0.8 and silent >= 0.4 and precision >= 0.8
    assert size == pytest.approx(1, abs=0.15)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twelve_simulated_movies(tmp_path):
    rows = np.array([scores(seed, tmp_path) for seed in range(12)])
    for seed, row in enumerate(rows):
        print(
            f"{DIAMETERS[seed]:3d} px  active {row[0]:.2f}  silent {row[1]:.2f}  precision {row[2]:.2f}  size {row[3]:.2f}"
        )
    print("mean: active {:.3f}, silent {:.3f}, precision {:.3f}, size {:.3f}".format(*rows.mean(axis=0)))
    assert rows[:, 0].mean() >= 0.85
    assert rows[:, 2].mean() >= 0.85
    assert np.abs(rows[:, 3] - 1).max() < 0.2


def miniscope(seed):
    """A one-photon field whose size of cells, density, brightness and glow are drawn, too."""
    rng = np.random.default_rng(seed)
    diameter = float(rng.choice([7, 10, 14]))
    side = 128 if diameter < 12 else 160
    params = {"diameter": diameter, "height": side, "width": side, "duration": 60, "seed": seed}
    params |= {"cells": int(rng.uniform(0.12, 0.3) * side**2 / (np.pi * diameter**2 / 4))}
    params |= {"amplitude": rng.uniform(15, 35), "glow": rng.uniform(0.04, 0.1)}
    return Miniscope(MiniscopeParams.model_validate(params)).make(), diameter


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_eight_simulated_one_photon_movies(tmp_path):
    rows = []
    for seed in range(8):
        truth, diameter = miniscope(seed)
        made = Recording.open(extract(truth, tmp_path / f"{seed}.zarr", one_photon=True))
        centres = regions_of(truth).centres
        pairs = match_centres(regions_of(made).centres, centres, max(3.0, 0.5 * diameter))
        rows.append((len(pairs) / len(centres), len(pairs) / made["fluorescence"].shape[1]))
        print(f"{diameter:3.0f} px  recall {rows[-1][0]:.2f}  precision {rows[-1][1]:.2f}")
    recall, precision = np.mean(rows, axis=0)
    print(f"mean: recall {recall:.3f}, precision {precision:.3f}")
    assert 2 * recall * precision / (recall + precision) >= 0.80
