"""Holes in recordings: named, filled, and nothing observed changed."""

import numpy as np
import pytest
import tifffile

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording
from neurodyn.training.config import load_run_config
from neurodyn.training.fit import fit
from neurodyn.training.holes import HoleConfig, with_holes
from neurodyn.training.impute import Filler, impute

DROPPED = [50, 51, 120]
NAN = (slice(30, 33), slice(0, 5), slice(0, 4))


def clean() -> np.ndarray:
    """A movie of rank 3, 200 frames at 10 Hz."""
    t, maps = np.arange(200) / 10, np.random.default_rng(0).normal(size=(3, 12, 10))
    courses = np.stack([np.sin(2 * np.pi * f * t) for f in (0.2, 0.5, 0.9)], axis=1)
    return np.tensordot(courses, maps, axes=1).astype(np.float32)


@pytest.fixture(scope="module")
def holed(tmp_path_factory):
    """The movie without three frames, with a block of NaN, pixels outside the brain and noise."""
    data = clean() + 0.1 * np.random.default_rng(1).normal(size=(200, 12, 10)).astype(np.float32)
    data[NAN] = np.nan
    brain = np.ones((12, 10), bool)
    brain[0, 7:] = False
    data[:, ~brain] = np.nan
    kept = np.delete(np.arange(200), DROPPED)
    stimulus = {"start": [1.0, 9.0], "stop": [2.0, 10.0], "contrast": [0.1, 1.0]}
    recording = Recording.from_arrays(
        {"dff": data[kept]}, rate_hz=10, time=kept / 10, session="s", brain=brain, stimulus=stimulus
    )
    return recording.save(tmp_path_factory.mktemp("holes") / "holed.zarr")


def holes(**given) -> HoleConfig:
    return HoleConfig.model_validate(given)


def untrained(name: str, *sets: str) -> Filler:
    return Filler.untrained(load_run_config(name, None, sets)[0])


def test_the_clock_is_made_regular_and_missing_frames_are_nan(holed):
    recording = with_holes(Recording.open(holed), holes(reject=[(8.0, 8.3)]))
    np.testing.assert_allclose(recording.time, np.arange(200) / 10, atol=1e-9)
    values = recording["dff"].values
    lost = np.isnan(values[:, 6, 6])
    assert np.flatnonzero(lost).tolist() == [*DROPPED[:2], 80, 81, 82, DROPPED[2]]
    source = Recording.open(holed)["dff"].values
    kept = np.delete(np.arange(200), [*DROPPED, 80, 81, 82])
    np.testing.assert_array_equal(values[kept], np.delete(source, [78, 79, 80], axis=0))
    np.testing.assert_array_equal(recording["dff"][49:53, 5].values, values[49:53, 5])
    assert with_holes(Recording.open(holed), holes(gaps=False)).time.size == 197


def test_gaps_too_long_and_masks_that_do_not_fit_are_refused(holed, tmp_path):
    with pytest.raises(DataError, match=r"gap of 0\.2 s after 4\.9 s"):
        with_holes(Recording.open(holed), holes(longest=0.15))
    tifffile.imwrite(tmp_path / "bad.tif", np.zeros((5, 5), np.uint8))
    with pytest.raises(DataError, match="does not fit"):
        with_holes(Recording.open(holed), holes(pixels=str(tmp_path / "bad.tif")))
    with pytest.raises(DataError, match="no mask nowhere.tif"):
        with_holes(Recording.open(holed), holes(pixels="nowhere.tif"))


@pytest.mark.parametrize(("model", "most"), [("linear", 0.9), ("svd", 0.1)])
def test_observed_entries_stay_and_missing_ones_are_filled(holed, tmp_path, model, most):
    components = () if model == "linear" else ("model.components=3",)
    bad = np.zeros((12, 10), np.uint8)
    bad[6, 6] = 1
    tifffile.imwrite(tmp_path / "bad.tif", bad)
    given = holes(reject=[(8.0, 8.3)], pixels=str(tmp_path / "bad.tif"))
    impute(holed, tmp_path / "out.zarr", untrained(model, *components), given, "r")
    before, after = with_holes(Recording.open(holed), given), Recording.open(tmp_path / "out.zarr")
    values, mask = after["dff"].values, after["dff_imputed"].values
    seen = np.isfinite(before["dff"].values)
    np.testing.assert_array_equal(values[seen], before["dff"].values[seen])
    assert (mask == ~seen & after.brain).all()
    assert np.isfinite(values[:, after.brain]).all()
    assert np.isnan(values[:, ~after.brain]).all()
    inner = np.zeros_like(mask)
    inner[NAN] = True
    inner &= mask
    error = np.sqrt(np.mean((values - clean())[inner] ** 2))
    assert error < most * np.sqrt(np.mean(clean()[inner] ** 2))
    assert ("dff_sd" in after.variables) == (model == "svd")
    assert after.history[-1]["params"] == {"model": model}
    assert after.stimulus.sizes["event"] == 2
    if model == "svd":
        sd = after["dff_sd"].values
        assert (sd[~mask] == 0).all()
        assert 0.05 < np.median(sd[inner]) < 0.2  # noise of 0.1


def test_a_trained_model_fills_in_what_it_would_predict(holed, tmp_path):
    sets = (
        "windows={duration: 1.0, stride: 0.2, gap: 0.0, fractions: [0.5, 0.2, 0.3]}",
        "training={epochs: 1, steps_per_epoch: 2, batch: 4, warmup: 0}",
        "model.patch=[4,4]",
    )
    run = fit(load_run_config("cst-tiny", None, sets)[0], None, [holed], tmp_path / "run", gpu="none")
    impute(holed, tmp_path / "out.zarr", Filler.of_run(run), holes(), "r")
    after = Recording.open(tmp_path / "out.zarr")
    assert np.isfinite(after["dff"].values[:, after.brain]).all()
    assert after.history[-1]["params"]["run"] == str(run)
    small = Recording.from_arrays({"dff": np.zeros((40, 4, 4), np.float32)}, rate_hz=10).save(tmp_path / "small.zarr")
    with pytest.raises(DataError, match="does not fit the model"):
        impute(small, tmp_path / "never.zarr", Filler.of_run(run), holes(), "r")
    assert not (tmp_path / "never.zarr").exists()


def test_models_that_need_training_and_recordings_that_miss_nothing_are_refused(holed, tmp_path):
    with pytest.raises(ConfigError, match="fills nothing without training"):
        impute(holed, tmp_path / "out.zarr", untrained("cst-tiny"), holes(), "r")
    whole = Recording.from_arrays({"dff": clean()}, rate_hz=10).save(tmp_path / "whole.zarr")
    with pytest.raises(DataError, match="Nothing is missing"):
        impute(whole, tmp_path / "out.zarr", untrained("linear"), holes(), "r")
    assert list(tmp_path.iterdir()) == [tmp_path / "whole.zarr"]


def test_traces_are_filled_too(tmp_path):
    t = np.arange(300)[:, None] / 10
    data = np.sin(2 * np.pi * 0.1 * t + np.arange(6)).astype(np.float32)
    truth = data.copy()
    data[100:104, 2] = np.nan
    source = Recording.from_arrays({"dff": data}, rate_hz=10).save(tmp_path / "traces.zarr")
    impute(source, tmp_path / "out.zarr", untrained("linear"), holes(), "r")
    np.testing.assert_allclose(Recording.open(tmp_path / "out.zarr")["dff"].values, truth, atol=0.05)
