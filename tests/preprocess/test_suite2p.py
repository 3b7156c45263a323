"""suite2p on a small movie with planted cells, shifts and events."""

import logging

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter
from scipy.signal import lfilter

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording, entry
from neurodyn.data.regions import read_regions, regions_of
from neurodyn.data.scores import read_scores
from neurodyn.evaluate.rois import Rois, RoisConfig
from neurodyn.evaluate.run import evaluate
from neurodyn.metrics.rois import match_centres
from neurodyn.preprocess.suite2p import extract, import_suite2p, settings_for
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.read import read
from neurodyn.simulate.two_photon import TwoPhoton, TwoPhotonParams

RATE, TAU, SIDE, FRAMES = 10.0, 0.7, 128, 300
CENTRES = np.array([(y, x) for y in (20, 52, 84) for x in (20, 52, 84)])


def planted():
    """Counts, shape (time, y, x); calcium, shape (time, cell); shifts in pixels, shape (time, 2)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    events = rng.random((FRAMES, len(CENTRES))) < 0.03
    calcium = lfilter([1.0], [1.0, -np.exp(-1 / (TAU * RATE))], events.astype(float), axis=0)
    cells = np.stack([np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 24.5) for cy, cx in CENTRES])
    texture = gaussian_filter(np.abs(rng.normal(size=(SIDE, SIDE))) * 40, 1.5) * 6
    still = 200 + texture + np.tensordot(300 * calcium + 20, cells, 1)
    shifts = np.cumsum(0.4 * rng.normal(size=(FRAMES, 2)), axis=0)
    shifts = np.clip(np.round(shifts - shifts.mean(0)).astype(int), -4, 4)
    moved = np.stack([np.roll(frame, shift, (0, 1)) for frame, shift in zip(still, shifts, strict=True)])
    return moved + 12 * rng.normal(size=moved.shape), calcium, shifts


@pytest.fixture(scope="module")
def truth():
    return planted()


def recording(values, **more):
    return Recording.from_arrays({"fluorescence": values}, rate_hz=RATE, indicator="GCaMP6f", **more)


@pytest.fixture(scope="module")
def extracted(truth, tmp_path_factory):
    seen = []
    movie = recording(
        np.round(truth[0]).astype(np.int16),
        session="mouse3",
        stimulus={"start": np.array([1.0]), "stop": np.array([2.0]), "contrast": np.array([0.5])},
        behavior=xr.Dataset({"speed": ("time", np.arange(20.0))}, {"time": np.arange(20.0)}),
        history=[entry("convert", {})],
        qc=xr.Dataset({"frame_mean": ("time_qc", np.arange(float(FRAMES))), "lamp": ("other", np.ones(3))}),
        attrs={"source_path": "movie.tif"},
    )
    folder = tmp_path_factory.mktemp("suite2p")
    path = extract(movie, folder / "rois.zarr", progress=lambda stage, share: seen.append((stage, share)))
    assert [p.name for p in folder.iterdir()] == ["rois.zarr"]
    return Recording.open(path), seen


def matched(made):
    """Index of the ROI nearest to each planted cell, and its distance in pixels."""
    rois = made.table("rois")
    centres = np.stack([rois["y"].values, rois["x"].values], axis=1)
    distance = np.linalg.norm(centres[None] - CENTRES[:, None], axis=2)
    return distance.argmin(1), distance.min(1)


def test_the_planted_cells_are_found_with_their_traces(extracted, truth):
    made, _ = extracted
    found, distance = matched(made)
    assert distance.max() < 3
    assert len(set(found)) == len(CENTRES)
    corrected = made["fluorescence"].values - 0.7 * made["neuropil"].values
    for cell, roi in enumerate(found):
        assert np.corrcoef(corrected[:, roi], truth[1][:, cell])[0, 1] > 0.9
    assert made["fluorescence"].attrs["units"] == "counts"
    assert made["fluorescence"].attrs["made_by"] == "suite2p"


def test_the_shifts_that_undo_the_planted_motion_are_kept(extracted, truth):
    qc = extracted[0].table("qc")
    assert qc["motion"].dims == ("time_qc", "axis")
    for axis in range(2):
        planted = truth[2][:, axis]
        line = np.polyfit(planted, qc["motion"].values[:, axis], 1)
        assert line[0] == pytest.approx(-1, abs=0.1)
        assert np.corrcoef(planted, qc["motion"].values[:, axis])[0, 1] < -0.95
    assert not qc["bad_frame"].values.any()
    assert (qc["motion_correlation"].values > 0).all()


def test_the_pictures_are_of_the_registered_movie_in_its_unit(extracted, truth):
    qc = extracted[0].table("qc")
    moves = np.rint(qc["motion"].values).astype(int)
    still = np.mean([np.roll(frame, move, (0, 1)) for frame, move in zip(truth[0], moves, strict=True)], axis=0)
    inner = (slice(12, -12), slice(12, -12))
    assert qc["mean_image"].attrs["units"] == "counts"
    np.testing.assert_allclose(qc["mean_image"].values[inner], still[inner], atol=0.5)
    projection = qc["max_projection"].values
    background = np.nanmedian(projection)
    assert all(np.nanmax(projection[y - 5 : y + 6, x - 5 : x + 6]) > 3 * background for y, x in CENTRES)


def test_brightness_and_saturation_of_the_movie_are_kept(extracted, truth):
    qc = extracted[0].table("qc")
    np.testing.assert_allclose(qc["movie_course"].values, np.round(truth[0]).mean(axis=(1, 2)), rtol=1e-6)
    assert qc["movie_saturated"].shape == (SIDE, SIDE)
    assert not qc["movie_saturated"].values.any()


def test_what_was_seen_of_the_movie_before_is_kept(extracted):
    qc = extracted[0].table("qc")
    np.testing.assert_array_equal(qc["frame_mean"].values, np.arange(float(FRAMES)))
    assert qc["lamp"].sizes == {"other": 3}
    assert extracted[0].table("behavior")["speed"].size == 20


def test_the_roi_table_holds_masks_that_add_up(extracted):
    made, _ = extracted
    rois = made.table("rois")
    assert rois.sizes["roi"] == made["fluorescence"].shape[1]
    owner = rois["mask_roi"].values
    np.testing.assert_array_equal(np.bincount(owner), rois["npix"].values)
    np.testing.assert_allclose(np.bincount(owner, rois["mask_weight"].values), 1, rtol=1e-5)
    centre = np.bincount(owner, rois["mask_weight"].values * rois["mask_y"].values)
    np.testing.assert_allclose(centre, rois["y"].values, rtol=1e-5)
    by_activity = rois["found_by"].values == "activity"
    assert (rois["cell"].values | ~by_activity).all()
    assert (rois["probability"].values[by_activity] >= 0.5).all()
    planes = np.zeros((rois.sizes["roi"], SIDE, SIDE), bool)
    planes[owner, rois["mask_y"].values, rois["mask_x"].values] = True
    shared = planes.sum(axis=0) > 1
    assert np.abs(rois["overlap"].values - [shared[plane].mean() for plane in planes]).max() < 1e-12
    corrected = made["fluorescence"].values - 0.7 * made["neuropil"].values
    snr = 1 - 0.5 * np.diff(corrected, axis=0).var(axis=0) / corrected.var(axis=0)
    np.testing.assert_allclose(rois["snr"].values, snr, atol=1e-3)


def test_the_rest_of_the_movie_is_kept_and_the_history_says_how(extracted):
    made, _ = extracted
    assert made.session == "mouse3"
    assert made.indicator == "GCaMP6f"
    assert made.tree.attrs["source_path"] == "movie.tif"
    assert made.stimulus["contrast"].values.tolist() == [0.5]
    assert [item["step"] for item in made.history] == ["convert", "suite2p"]
    params = made.history[1]["params"]
    assert params["tau"] == 0.7
    assert params["preset"] == "fast"
    assert params["counts_per_step"] == 1.0
    assert params["suite2p"][0].isdigit()
    assert params["cells"] == "both"
    assert params["diameter_from"] == "estimated from the movie's pictures"
    assert (
        8 < params["diameter_px"] < 16
    )  # Gaussians of 3.5 pixels have no edge: 8.2 at half their height, 15 at a tenth
    assert set(made.table("rois")["found_by"].values) <= {"activity", "anatomy", "both"}


def test_progress_names_the_stages(extracted):
    stages = list(dict.fromkeys(stage for stage, _ in extracted[1]))
    assert stages[0] == "suite2p registration"
    assert "suite2p roi detection" in stages
    assert "suite2p extraction" in stages
    assert all(0 <= share <= 1 for _, share in extracted[1])
    assert not any(type(h).__name__ == "_Stages" for h in logging.getLogger("suite2p").handlers)


@pytest.mark.slow
def test_small_fractional_counts_are_scaled_to_suite2p_and_back(extracted, truth, tmp_path):
    whole = extracted[0]
    small = recording((truth[0] / 4000 - 0.5).astype(np.float32))
    made = Recording.open(extract(small, tmp_path / "rois.zarr", settings={"cells_only": False}))
    mine, theirs = matched(made)[0], matched(whole)[0]
    for name in ("fluorescence", "neuropil"):
        back = (made[name].values[:, mine] + 0.5) * 4000
        expected = whole[name].values[:, theirs]
        assert np.abs(back.mean(0) / expected.mean(0) - 1).max() < 0.05
    picture = (made.table("qc")["mean_image"].values + 0.5) * 4000
    expected = whole.table("qc")["mean_image"].values
    np.testing.assert_allclose(picture[8:-8, 8:-8].mean(), expected[8:-8, 8:-8].mean(), rtol=0.01)
    assert made.history[-1]["params"]["counts_per_step"] == pytest.approx(np.ptp(truth[0]) / 4000 / 30000, rel=1e-4)


@pytest.mark.slow
def test_a_movie_without_cells_fails_with_a_way_on(tmp_path):
    noise = np.random.default_rng(1).normal(500, 5, (60, 64, 64)).astype(np.float32)
    with pytest.raises(DataError, match="No ROI|none of them") as error:
        extract(recording(noise), tmp_path / "rois.zarr", settings={"detection": {"threshold_scaling": 5.0}})
    assert "--set" in error.value.fix
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "what", "fix"),
    [
        ({"registration": {"nonrigit": True}}, "registration.nonrigit", "registration.nonrigid"),
        ({"diametre": 8}, "diametre", "diameter"),
        ({"run": 1}, "run", ""),
    ],
)
def test_unknown_settings_are_refused(truth, tmp_path, settings, what, fix):
    movie = recording(np.round(truth[0]).astype(np.int16))
    with pytest.raises(ConfigError, match=what) as error:
        extract(movie, tmp_path / "rois.zarr", settings=settings)
    assert fix in error.value.fix


@pytest.mark.parametrize(("settings", "what"), [({"cells": "shape"}, "'shape'"), ({"diameter": [8, 0]}, "cannot be")])
def test_ways_and_diameters_that_cannot_be_are_refused(truth, tmp_path, settings, what):
    with pytest.raises(ConfigError, match=what) as error:
        extract(recording(np.round(truth[0]).astype(np.int16)), tmp_path / "rois.zarr", settings=settings)
    assert "--" in error.value.fix


def test_what_is_no_movie_is_refused(tmp_path):
    with pytest.raises(DataError, match="not a movie"):
        extract(recording(np.ones((100, 5), dtype="f4")), tmp_path / "rois.zarr")
    with pytest.raises(DataError, match="too short"):
        extract(recording(np.ones((9, 8, 8), dtype="f4")), tmp_path / "rois.zarr")


@pytest.mark.parametrize("level", [0, 7])
def test_a_constant_movie_is_refused_before_suite2p_sees_it(tmp_path, level):
    with pytest.raises(DataError, match="constant") as error:
        extract(recording(np.full((60, 32, 32), level, dtype="u2")), tmp_path / "rois.zarr")
    assert f"is {level}." in error.value.found
    assert list(tmp_path.iterdir()) == []


def test_settings_are_merged_key_by_key_and_leave_the_defaults_alone():
    suite2p = import_suite2p()
    movie = recording(np.zeros((60, 8, 8), dtype="i2"))
    before = suite2p.default_settings()
    mine = {"run": {"do_registration": 0}, "detection": {"sparsery_settings": {"spatial_scale": 1}}}
    plain, changed = (settings_for(suite2p, movie, changes, None, "default") for changes in ({}, mine))
    changed["run"]["do_registration"], changed["detection"]["sparsery_settings"]["spatial_scale"] = 1, 0
    assert changed == plain
    plain["run"]["do_deconvolution"], plain["classification"]["use_builtin_classifier"] = True, False
    assert plain == before | {"fs": RATE, "tau": 0.7}
    assert suite2p.default_settings() == before
    fast = settings_for(suite2p, movie, {}, 0.3, "fast")
    assert (fast["tau"], fast["registration"]["nonrigid"], fast["run"]["do_regmetrics"]) == (0.3, False, False)


def test_an_absent_gpu_and_an_unknown_preset_are_refused(truth, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    movie = recording(np.round(truth[0][:60]).astype(np.int16))
    with pytest.raises(ConfigError, match="cuda:3"):
        extract(movie, tmp_path / "rois.zarr", device="cuda:3")
    with pytest.raises(ConfigError, match="slow"):
        extract(movie, tmp_path / "rois.zarr", settings={"preset": "slow"})
    assert list(tmp_path.iterdir()) == []


def test_a_frame_that_is_not_finite_is_named(truth, tmp_path):
    movie = truth[0].astype("f4")
    movie[77, 3, 3] = np.nan
    with pytest.raises(DataError, match="not finite") as error:
        extract(recording(movie), tmp_path / "rois.zarr")
    assert "frame 77" in error.value.found


def simulated():
    """A minute of 60 cells with noise, neuropil and drift; the least active fire 20 times, seen as 40 % ΔF/F each."""
    params = {"cells": 60, "height": 256, "width": 256, "movie": True, "rate_hz": 10.0, "repeats": 2, "seed": 3}
    return TwoPhoton(TwoPhotonParams.model_validate(params | {"amplitude": 0.4})).make()


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["fast", "default"])
def test_sixty_of_sixty_simulated_cells_are_found(tmp_path, preset):
    movie = simulated()
    made = Recording.open(extract(movie, tmp_path / "rois.zarr", preset=preset, cells_only=False))
    pairs = match_centres(regions_of(made).centres, regions_of(movie).centres)
    assert len(pairs) == 60
    corrected = made["fluorescence"].values - 0.7 * made["neuropil"].values
    truth = movie.table("truth")
    emitted = truth["baseline"].values * (1 + truth["calcium"].values)
    assert np.median([np.corrcoef(corrected[:, f], emitted[:, m])[0, 1] for f, m in pairs]) > 0.95
    marked = movie.save(tmp_path / "movie.zarr")
    rows = {
        s.metric: s
        for s in read_scores(evaluate(Rois(RoisConfig(regions=marked)), [tmp_path / "rois.zarr"], tmp_path / "scores"))
    }
    assert rows["recall"].value == 1
    assert rows["precision"].n == made["fluorescence"].shape[1]
    assert rows["inclusion"].value > 0.5
    assert rows["recall"].decoder == f"suite2p {preset}"


@pytest.mark.slow
def test_neurofinder_by_default(shared_data, tmp_path):
    """The marked cells of a real movie, most of them dim and silent; suite2p alone found F1 = .06 of them."""
    folder = shared_data / "neurofinder"
    movie = read(folder / "movie_600x128x128_uint16.tif", ReadOptions(fs=7.0))
    made = Recording.open(extract(movie, tmp_path / "rois.zarr"))
    pairs, found = (
        match_centres(regions_of(made).centres, read_regions(folder / "regions.json").centres),
        made["fluorescence"].shape[1],
    )
    assert 2 * len(pairs) / (found + 38) >= 0.40
