"""A small noisy movie of travelling waves and curves with known truth between frames, and models that train in seconds."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from neurodyn.data.recording import Recording
from neurodyn.runs.config import RunConfig
from neurodyn.simulate import SIMULATORS
from neurodyn.training.config import load_run_config
from neurodyn.training.fit import fit
from neurodyn.training.infer import infer

SETTINGS = (
    "model.patch=[4,4]",
    "windows.duration=0.8",
    "training.epochs=4",
    "training.steps_per_epoch=3",
    "training.batch=4",
    "training.warmup=2",
)
CURVES = (
    "model.width=16",
    "model.layers=2",
    "model.query=joint",
    "windows={variable: position, align: events, duration: 1.12, split: column, condition: part}",
    "training.epochs=2",
    "training.steps_per_epoch=20",
    "training.batch=16",
    "training.warmup=5",
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


@pytest.fixture(scope="session")
def curves(tmp_path_factory) -> Path:
    simulator = SIMULATORS.get("spirals")
    recording = simulator(simulator.Params(trials=60)).make()
    return recording.save(tmp_path_factory.mktemp("data") / "curves.zarr")


@pytest.fixture(scope="session")
def curves_run(curves, tmp_path_factory) -> Path:
    config, _ = load_run_config("cst-traces", None, CURVES)
    folder = fit(config, None, [curves], tmp_path_factory.mktemp("runs") / "run", gpu="none")
    infer(folder, gpu="none", at="truth", maps=("layer", "head"), few=30)
    return folder


@pytest.fixture(scope="session")
def curves_prediction(curves_run) -> xr.Dataset:
    return xr.open_zarr(curves_run / "prediction.zarr", consolidated=False).load()
