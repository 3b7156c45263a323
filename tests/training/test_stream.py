"""Forecasts frame by frame are those of whole windows, and say how late they are."""

import io
import json
import threading
import time

import numpy as np
import pytest
import xarray as xr
import zarr

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.recording import Recording
from neurodyn.training.config import load_run_config
from neurodyn.training.fit import fit
from neurodyn.training.infer import infer
from neurodyn.training.stream import Streamer, frames_of_lines, growing_frames, stream_forecasts

WINDOWS = (
    "windows={align: events, offset: -1.0, duration: 1.8, horizon: 0.8, split: trial, stimuli: [image], baseline: 0.5}"
)


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Recording:
    rng = np.random.default_rng(0)
    start = np.arange(30) * 2.0 + 1.0
    table = {"start": start, "stop": start + 1, "image": np.array(["a", "b", "c"])[rng.permutation(30) % 3]}
    data = 5 + rng.random((640, 3)).astype(np.float32)
    data[100, 1] = np.nan
    made = Recording.from_arrays({"dff": data}, rate_hz=10, stimulus=table, session="one")
    return Recording.open(made.save(tmp_path_factory.mktemp("data") / "one.zarr"))


@pytest.fixture(scope="module")
def run(recording, tmp_path_factory):
    config = load_run_config("ridge-ar", None, (WINDOWS,))[0]
    return fit(config, None, [recording], tmp_path_factory.mktemp("runs") / "run", gpu="none")


def lines(recording, last: int, image: str) -> list[str]:
    frames = [[None if np.isnan(v) else float(v) for v in row] for row in recording["dff"].values[: last + 1]]
    return [json.dumps({"frame": frame, "stimulus": {"image": image}}) + "\n" for frame in frames]


def test_a_stream_forecasts_what_infer_forecasts(run, recording):
    prediction = xr.open_zarr(infer(run, gpu="none"), consolidated=False).load()
    streamer, out = Streamer.open(run, "none"), io.StringIO()
    onset = int(prediction["trial"][0])
    last = int(prediction["first"][0]) + 9
    image = recording.stimulus["image"].values[onset]
    latency = stream_forecasts(streamer, frames_of_lines(lines(recording, last, image), streamer), out)
    said = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [one["frame"] for one in said] == list(range(9, last + 1))
    np.testing.assert_allclose(said[-1]["forecast"], prediction["mean"].values[0, 10:], rtol=1e-4, atol=1e-5)
    assert len(latency.each) == len(said)
    assert 0 < np.median(latency.each) < 1e3
    assert "99 %" in latency.said


def test_a_recording_that_grows_is_followed_to_its_end(run, recording, tmp_path):
    path = recording.save(tmp_path / "growing.zarr")
    array = zarr.open_array(path, path="neural/dff", mode="r+")
    whole = array[:]
    whole[15] = np.nan  # a frame that was dropped
    array[15] = array[20:] = np.nan
    array.resize((20, 3))

    def grow():
        time.sleep(0.3)
        array.resize((30, 3))
        time.sleep(0.1)
        array[20:29] = whole[20:29]

    writer = threading.Thread(target=grow)
    writer.start()
    streamer = Streamer.open(run, "none")
    found = list(growing_frames(path, streamer, patience=1.0))
    writer.join()
    np.testing.assert_array_equal([frame.values for frame in found], whole[:29])


@pytest.mark.parametrize("line", ["", "[1, 2", '{"stimulus": 3}', '["a", 1, 2]'])
def test_a_line_that_is_no_frame_is_named(run, line):
    streamer = Streamer.open(run, "none")
    with pytest.raises(DataError, match="Line 2 is not a frame"):
        list(frames_of_lines(["[1, 2, 3]\n", line], streamer))


def test_what_does_not_fit_is_refused(run, recording, tmp_path):
    streamer = Streamer.open(run, "none")
    with pytest.raises(DataError, match="does not fit"):
        streamer.push(np.zeros(4))
    for _ in range(9):
        assert streamer.push(np.ones(3), {"image": "a"}) is None
    with pytest.raises(DataError, match="lacks image"):
        streamer.push(np.ones(3), {"picture": "a"})
    with pytest.raises(DataError, match=r"holds no neural/dff"):
        next(growing_frames(tmp_path / "nothing.zarr", streamer))
    filling = load_run_config("linear", None, ("windows.duration=1.0",))[0]
    other = fit(filling, None, [recording], tmp_path / "linear", gpu="none")
    with pytest.raises(ConfigError, match="cannot forecast a stream"):
        Streamer.open(other, "none")
