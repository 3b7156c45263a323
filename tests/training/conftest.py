"""A small noisy movie of travelling waves, and configurations that train on it in seconds."""

from pathlib import Path

import numpy as np
import pytest

from neurodyn.data.recording import Recording
from neurodyn.training.config import RunConfig, load_run_config

SETTINGS = (
    "model.patch=[4,4]",
    "windows.duration=0.8",
    "training.epochs=4",
    "training.steps_per_epoch=3",
    "training.batch=4",
    "training.warmup=2",
)


@pytest.fixture(scope="session")
def movie(tmp_path_factory) -> Path:
    rng = np.random.default_rng(0)
    t, y, x = np.meshgrid(np.arange(400) / 10, np.arange(8) / 8, np.arange(8) / 8, indexing="ij")
    waves = np.sin(2 * np.pi * (0.4 * t - x)) + np.cos(2 * np.pi * (0.25 * t + y))
    brain = np.ones((8, 8), bool)
    brain[:4, :4] = False
    data = (waves + rng.normal(size=waves.shape)).astype(np.float32)
    data[30, 6, 6] = np.nan
    recording = Recording.from_arrays({"dff": data}, rate_hz=10, brain=brain, session="waves")
    return recording.save(tmp_path_factory.mktemp("data") / "movie.zarr")


@pytest.fixture(scope="session")
def traces(tmp_path_factory) -> Path:
    rng = np.random.default_rng(0)
    t = np.arange(400)[:, None] / 10
    data = np.sin(2 * np.pi * t * rng.uniform(0.1, 0.4, 5)) + 0.3 * rng.normal(size=(400, 5))
    recording = Recording.from_arrays({"dff": data.astype(np.float32)}, rate_hz=10, session="traces")
    return recording.save(tmp_path_factory.mktemp("data") / "traces.zarr")


@pytest.fixture(scope="session")
def config() -> RunConfig:
    return load_run_config("cst-tiny", None, SETTINGS)[0]
