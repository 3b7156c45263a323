"""suite2p on a small movie with planted cells, shifts and events."""

import logging

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter
from scipy.signal import lfilter

from neurodyn.core.errors import ConfigError, DataError, WorkError
from neurodyn.data.recording import Recording, entry
from neurodyn.preprocess.suite2p import extract

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


def test_the_planted_shifts_are_measured_on_an_axis_of_their_own(extracted, truth):
    behavior = extracted[0].table("behavior")
    for axis, name in enumerate("yx"):
        shift = behavior[f"motion_{name}"]
        assert shift.dims == ("motion_time",)
        assert np.corrcoef(shift.values, truth[2][:, axis])[0, 1] > 0.95
    np.testing.assert_allclose(behavior["motion_time"].values, extracted[0].time)
    assert behavior["speed"].size == 20


def test_the_roi_table_holds_masks_that_add_up(extracted):
    made, _ = extracted
    rois = made.table("rois")
    assert rois.sizes["roi"] == made["fluorescence"].shape[1]
    owner = rois["mask_roi"].values
    np.testing.assert_array_equal(np.bincount(owner), rois["npix"].values)
    np.testing.assert_allclose(np.bincount(owner, rois["mask_weight"].values), 1, rtol=1e-5)
    centre = np.bincount(owner, rois["mask_weight"].values * rois["mask_y"].values)
    np.testing.assert_allclose(centre, rois["y"].values, rtol=1e-5)
    assert rois["cell"].values.all()
    assert (rois["probability"].values >= 0.5).all()


def test_the_rest_of_the_movie_is_kept_and_the_history_says_how(extracted):
    made, _ = extracted
    assert made.session == "mouse3"
    assert made.indicator == "GCaMP6f"
    assert made.tree.attrs["source_path"] == "movie.tif"
    assert made.stimulus["contrast"].values.tolist() == [0.5]
    assert [item["step"] for item in made.history] == ["convert", "suite2p"]
    params = made.history[1]["params"]
    assert params["tau"] == 0.7
    assert params["fast"] is True
    assert params["suite2p"][0].isdigit()


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
    assert made.table("behavior")["motion_y"].dims == ("time",)


@pytest.mark.slow
def test_a_movie_without_cells_fails_with_a_way_on(tmp_path):
    noise = np.random.default_rng(1).normal(500, 5, (60, 64, 64)).astype(np.float32)
    with pytest.raises(WorkError) as error:
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


def test_what_is_no_movie_is_refused(tmp_path):
    with pytest.raises(DataError, match="not a movie"):
        extract(recording(np.ones((100, 5), dtype="f4")), tmp_path / "rois.zarr")
    with pytest.raises(DataError, match="too short"):
        extract(recording(np.ones((20, 8, 8), dtype="f4")), tmp_path / "rois.zarr")


def test_a_frame_that_is_not_finite_is_named(truth, tmp_path):
    movie = truth[0].astype("f4")
    movie[77, 3, 3] = np.nan
    with pytest.raises(DataError, match="not finite") as error:
        extract(recording(movie), tmp_path / "rois.zarr")
    assert "frame 77" in error.value.found
