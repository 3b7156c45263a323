"""A denoised recording: closer to the truth than what it was made of, blind, whole, and told as it was made."""

import tracemalloc

import numpy as np
import pytest
from scipy.ndimage import median_filter

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.training.config import load_run_config
from neurodyn.training.denoise import DenoiseConfig, denoise
from neurodyn.training.fit import fit

RATE = 10.0
LOST = slice(110, 113)
TINY = (
    "windows.duration=1.5",
    "training.epochs=1",
    "training.steps_per_epoch=4",
    "training.warmup=1",
    "model.reach=6",
)


def clean(frames: int = 300, size: int = 18) -> np.ndarray:
    """A movie of three cells, shape (time, y, x)."""
    y, x = np.mgrid[:size, :size]
    maps = np.stack([np.exp(-((y - a) ** 2 + (x - b) ** 2) / 12) for a, b in ((4, 5), (12, 8), (9, 14))])
    t = np.arange(frames)
    courses = np.stack([np.sin(t / period) for period in (5.0, 8.0, 13.0)], 1)
    return 200 + 40 * np.tensordot(courses, maps, axes=1)


def noisy(frames: int = 300) -> np.ndarray:
    truth = clean(frames)
    return (truth + np.random.default_rng(0).normal(size=truth.shape) * np.sqrt(2 * truth)).astype(np.float32)


def mse(values: np.ndarray, frames: slice = slice(None)) -> float:
    return float(((values - clean(len(values))) ** 2)[frames].mean())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A recording without three frames and with a dead pixel's stretch, and a run trained on it."""
    folder = tmp_path_factory.mktemp("denoise")
    data = noisy()
    data[40:50, 3, 3] = np.nan
    kept = np.delete(np.arange(300), np.r_[LOST])
    recording = Recording.from_arrays({"fluorescence": data[kept]}, time=kept / RATE, rate_hz=RATE, session="s")
    path = recording.save(folder / "movie.zarr")
    config, resolved = load_run_config("denoise", None, TINY)
    return path, fit(config, resolved, [path], folder / "run", gpu="none")


def test_it_is_closer_to_the_truth_than_the_recording_and_its_medians(made, tmp_path):
    source, run = made
    out = Recording.open(denoise(source, tmp_path / "out.zarr", run, DenoiseConfig()))
    values, kept = out["fluorescence"].values, np.delete(np.arange(300), np.r_[LOST])
    truth, raw = clean()[kept], noisy()[kept]
    error = [
        float(((one - truth) ** 2).mean()) for one in (values, raw, *(median_filter(raw, (k, 1, 1)) for k in (3, 5, 7)))
    ]
    assert error[0] < 0.5 * min(error[1:])
    assert np.isfinite(values).all()
    np.testing.assert_array_equal(out.time, Recording.open(source).time)


def test_what_was_done_is_told(made, tmp_path):
    source, run = made
    out = Recording.open(denoise(source, tmp_path / "out.zarr", run, DenoiseConfig()))
    told, attrs = out.history[-1], out["fluorescence"].attrs
    assert told["step"] == "denoise" and "other entries of its frame" in told["params"]["hidden"]
    assert attrs["made_by"] == "denoise" and attrs["noise_gain"] == told["params"]["noise_gain"]
    level = attrs["noise_gain"] * 200 + attrs["noise_read"]
    assert level == pytest.approx(400, rel=0.2)
    assert (out["fluorescence_sd"].values > 0).all()
    maps = out.table("qc")
    assert maps is not None
    assert float(maps["fluorescence_noise_sd"].mean()) == pytest.approx(20, rel=0.2)


def test_a_mix_lies_between_prediction_and_observation(made, tmp_path):
    source, run = made
    alone = Recording.open(denoise(source, tmp_path / "a.zarr", run, DenoiseConfig()))["fluorescence"].values
    mixed = Recording.open(denoise(source, tmp_path / "b.zarr", run, DenoiseConfig(mix=True)))["fluorescence"].values
    seen = Recording.open(source)["fluorescence"].values
    there = np.isfinite(seen)
    slack = 1e-3
    assert (mixed[there] >= np.minimum(alone, seen)[there] - slack).all()
    assert (mixed[there] <= np.maximum(alone, seen)[there] + slack).all()
    assert np.abs(mixed - alone).max() > 0
    np.testing.assert_array_equal(mixed[~there], alone[~there])


def test_frames_are_hidden_one_at_a_time_from_other_models(made, tmp_path):
    """What a frame shows does not reach what such a model says of it."""
    source, _ = made
    data = Recording.open(source)["fluorescence"].values
    paths = []
    for name, value in (("one", 0.0), ("other", 1e5)):
        spoiled = data.copy()
        spoiled[60] += value
        paths.append(
            Recording.from_arrays(
                {"fluorescence": np.nan_to_num(spoiled, nan=200.0)[:100]}, rate_hz=RATE, session="s"
            ).save(tmp_path / f"{name}.zarr")
        )
    config, resolved = load_run_config(
        "spline", None, ("windows.variable=fluorescence", "windows.duration=0.5", "windows.fractions=[0.6,0.2,0.2]")
    )
    run = fit(config, resolved, paths[:1], tmp_path / "run", gpu="none")
    outs = [
        Recording.open(denoise(path, path.with_name(f"{path.stem}-out.zarr"), run, DenoiseConfig())) for path in paths
    ]
    first, second = (out["fluorescence"].values for out in outs)
    np.testing.assert_array_equal(first[60], second[60])
    assert not np.allclose(first[61], second[61])
    assert "one frame hidden at a time" in outs[0]["fluorescence"].attrs["hidden"]


@pytest.mark.slow  # some seconds of tracing
def test_memory_does_not_grow_with_the_recording(made, tmp_path, monkeypatch):
    monkeypatch.setattr("neurodyn.training.denoise.IN_MEMORY", 2**17)
    peaks = []
    for times in (2, 6):
        path = Recording.from_arrays({"fluorescence": np.tile(noisy(600), (times, 1, 1))}, rate_hz=RATE).save(
            tmp_path / f"{times}.zarr"
        )
        tracemalloc.start()
        denoise(path, tmp_path / f"out{times}.zarr", made[1], DenoiseConfig())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_a_gap_too_long_and_a_movie_of_another_size_are_refused(made, tmp_path):
    source, run = made
    with pytest.raises(DataError, match="gap of"):
        denoise(source, tmp_path / "out.zarr", run, DenoiseConfig(longest=0.1))
    other = Recording.from_arrays({"fluorescence": np.ones((80, 5, 5), np.float32)}, rate_hz=RATE).save(
        tmp_path / "o.zarr"
    )
    with pytest.raises(DataError, match="does not fit"):
        denoise(other, tmp_path / "out.zarr", run, DenoiseConfig())
    assert not (tmp_path / "out.zarr").exists()
