"""QuantFormer on a session of the Allen Brain Observatory's size, and a forecast per frame: pytest -m slow -n 0 -s THIS."""

import csv
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from neurodyn.data.recording import Recording
from neurodyn.training.config import load_run_config
from neurodyn.training.devices import Devices, reproducible
from neurodyn.training.fit import fit
from neurodyn.training.run import Run, load_run
from neurodyn.training.stream import Streamer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

RATE = 30.0
TRIALS = "windows={align: events, offset: -3.2, duration: 5.333, horizon: 2.133, split: trial, stimuli: [direction]}"


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def session(path: Path, cells: int, trials: int) -> Path:
    """Transients of random cells at random times, 160 frames per trial."""
    rng = np.random.default_rng(0)
    start = np.arange(trials) * 5.4 + 4.0
    table = {"start": start, "stop": start + 2.0, "direction": rng.permutation(np.arange(trials) % 8) * 45.0}
    spikes = rng.random((round((start[-1] + 8) * RATE), cells)) < 0.02
    decayed = np.exp(-np.arange(60) / 20)
    data = np.stack([np.convolve(one, decayed)[: len(spikes)] for one in spikes.T.astype(np.float32)], axis=1)
    data += 0.1 * rng.standard_normal(data.shape)
    return Recording.from_arrays({"dff": data.astype(np.float32)}, rate_hz=RATE, stimulus=table).save(path)


def test_stage_two_on_a_session_of_171_neurons_takes_less_than_ten_minutes(tmp_path):
    path = session(tmp_path / "session.zarr", 171, 420)
    short = "stages={quantizer: {epochs: 1}}"
    config = load_run_config("quantformer", None, (TRIALS, short, "training.patience=1000", "training.threads=2"))[0]
    begun = time.perf_counter()
    run = fit(config, None, [path], tmp_path / "run", gpu="none")
    took = time.perf_counter() - begun
    with (run / "metrics.csv").open() as file:
        epochs = len(list(csv.DictReader(file)))
    print(
        f"\nstage 2, 171 neurons, 252 training trials of 160 frames, {epochs} epochs, stage 1 of 1 epoch: {took:.0f} s"
    )
    assert epochs == config.training.epochs
    assert took < 600


@pytest.fixture(scope="module")
def streamed_run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stream")
    path = session(folder / "session.zarr", 500, 20)
    short = "training={epochs: 1, steps_per_epoch: 1, batch: 2, warmup: 0}"
    config = load_run_config("quantformer", None, (TRIALS, short, "stages={quantizer: {epochs: 1}}"))[0]
    return fit(config, None, [path], folder / "run", gpu="none")


def latencies(run: Run, threads: int, frames: int = 300) -> list[float]:
    """Time forecasts as `neurodyn infer --stream` makes them, ms."""
    took, streamer = [], Streamer(run, Devices(()), threads)
    with reproducible(threads, streamer.devices):
        for frame in np.random.default_rng(1).random((95 + frames, 500)).astype(np.float32):
            begun = time.perf_counter()
            if streamer.push(frame, {"direction": 45.0}) is not None:
                took.append(1e3 * (time.perf_counter() - begun))
    return took


@pytest.mark.parametrize("threads", [1, 2])
def test_a_forecast_of_500_neurons_takes_less_than_20_ms(streamed_run, threads):
    run, repeats = load_run(streamed_run), []
    for repeat in range(5):
        load = os.getloadavg()[0]
        took = latencies(run, threads)
        assert len(took) == 300
        repeats.append(np.percentile(took[10:], [50, 99]))
        said = "median {:.1f} ms, 99 % within {:.1f} ms".format(*repeats[-1])
        print(f"\n{threads} threads, forecast of 64 frames of 500 neurons, {repeat}: {said}; load {load:.1f}")
    quietest = min(median for median, _ in repeats)
    if quietest >= 20 and os.getloadavg()[0] > (os.cpu_count() or 1) + 0.5:
        pytest.skip(f"median {quietest:.1f} ms at best, but others wait for the processors, too: {load:.1f} at a time")
    assert quietest < 20
