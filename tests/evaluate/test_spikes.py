"""Tables of spike inference: the right cells, means, paired differences."""

import numpy as np
import pytest
import xarray as xr

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.data.scores import read_scores
from neurodyn.evaluate.base import EVERY
from neurodyn.evaluate.run import evaluate
from neurodyn.evaluate.spikes import BIAS, NOISE, Spikes, SpikesConfig
from neurodyn.metrics.spike_inference import paired_bins, pearson
from tests.evaluate.recordings import with_spikes


def test_means_and_paired_differences_are_over_cells(tmp_path):
    paths = [
        with_spikes(tmp_path / "a.zarr", 0),
        with_spikes(tmp_path / "b.zarr", 1),
        with_spikes(tmp_path / "c.zarr", 2, dataset="two"),
    ]
    scores = read_scores(evaluate(Spikes(SpikesConfig()), paths, tmp_path / "out"))
    metrics = list(dict.fromkeys(score.metric for score in scores))
    assert metrics == ["r at 7.5 Hz, 200 ms", "r at 25 Hz", "r at the frame rate", "noise level"]

    def pick(session, features, fold="all"):
        return [
            s
            for s in scores
            if (s.session, s.features, s.metric) == (session, features, metrics[1])
            and (s.fold == "all") == (fold == "all")
        ]

    cells = [s.value for name in ("one", "two") for s in pick(name, "spikes", "cell")]
    assert len(cells) == 9
    (every,) = pick(EVERY, "spikes")
    assert every.n == 9
    assert every.value == pytest.approx(np.mean(cells))
    assert every.ci_low < every.value < every.ci_high
    (difference,) = pick("one", "spikes minus dff")
    assert difference.value == pytest.approx(pick("one", "spikes")[0].value - pick("one", "dff")[0].value)
    assert pick("one", "spikes")[0].value > 0.8
    assert abs(pick(EVERY, "dff")[0].value) < 0.1


def test_a_cells_value_is_the_metric_itself(tmp_path):
    path = with_spikes(tmp_path / "a.zarr", 3, rois=1)
    recording = Recording.open(path)
    scores = read_scores(evaluate(Spikes(SpikesConfig(features=("spikes",))), [path], tmp_path / "out"))
    signal, spikes = recording["spikes"].values[:, 0], recording.table("truth")["spike_time"].values
    expected = pearson([paired_bins(signal, recording.time, 1 / 50, spikes, 25.0)])
    assert next(s.value for s in scores if s.metric == "r at 25 Hz") == pytest.approx(expected)


def test_counts_per_frame_serve_where_there_are_no_spike_times(tmp_path):
    tables = [
        read_scores(
            evaluate(
                Spikes(SpikesConfig()),
                [with_spikes(tmp_path / f"{times}" / "a.zarr", 4, times=times)],
                tmp_path / f"{times}",
            )
        )
        for times in (True, False)
    ]
    assert [s.value for s in tables[0]] == pytest.approx([s.value for s in tables[1]])


def test_silent_cells_are_left_out_and_said(tmp_path):
    rng = np.random.default_rng(5)
    truth = xr.Dataset(
        {"spike_time": ("spike", np.sort(rng.uniform(0, 39, 80))), "spike_roi": ("spike", np.zeros(80, int))}
    )
    recording = Recording.from_arrays({"dff": rng.normal(size=(2000, 2))}, rate_hz=50.0, truth=truth)
    scores = read_scores(evaluate(Spikes(SpikesConfig()), [recording.save(tmp_path / "a.zarr")], tmp_path / "out"))
    pooled = next(s for s in scores if s.fold == "all")
    assert pooled.n == 1
    assert pooled.note == "1 cells have no correlation"


def test_a_recording_without_recorded_spikes_is_refused(tmp_path):
    path = Recording.from_arrays({"dff": np.zeros((50, 2))}, rate_hz=10.0).save(tmp_path / "a.zarr")
    with pytest.raises(DataError, match="no recorded spikes"):
        evaluate(Spikes(SpikesConfig()), [path], tmp_path / "out")


def expecting(path, factor, unit="spikes, expected, per frame", session="a"):
    rng = np.random.default_rng(7)
    counts = rng.poisson(0.05, (2000, 2))
    frame, roi = np.nonzero(counts)
    order = np.repeat(np.arange(frame.size), counts[frame, roi])
    truth = xr.Dataset({"spike_time": ("spike", frame[order] / 50), "spike_roi": ("spike", roi[order])})
    neural = {"spikes": (counts * factor).astype("f4"), "dff": rng.normal(size=counts.shape).astype("f4")}
    recording = Recording.from_arrays(neural, rate_hz=50.0, truth=truth, session=session)
    recording["spikes"].attrs["units"] = unit
    return recording.save(path)


def test_bias_is_in_doublings_and_noise_stands_beside(tmp_path):
    scores = read_scores(evaluate(Spikes(SpikesConfig()), [expecting(tmp_path / "a.zarr", 2)], tmp_path / "out"))
    bias = [s for s in scores if s.metric == BIAS]
    assert {s.features for s in bias} == {"spikes"}
    assert next(s.value for s in bias if s.fold == "all") == pytest.approx(1, abs=0.02)
    noise = [s for s in scores if s.metric == NOISE]
    assert [s.fold for s in noise] == ["a:0", "a:1"]
    assert noise[0].value == pytest.approx(100 * 0.6745 * np.sqrt(2 / 50), rel=0.05)
    assert noise[0].unit == "%/√Hz"


def test_only_discrete_spikes_are_matched(tmp_path):
    exact = expecting(tmp_path / "a.zarr", 1, "spikes, discrete, per frame")
    scores = read_scores(evaluate(Spikes(SpikesConfig()), [exact], tmp_path / "out"))
    assert next(s.value for s in scores if s.metric == "F1 within 100 ms" and s.fold == "all") == 1
    plain = read_scores(evaluate(Spikes(SpikesConfig()), [expecting(tmp_path / "b.zarr", 1)], tmp_path / "plain"))
    assert not any(s.metric.startswith("F1") for s in plain)


def test_cells_of_sessions_of_one_name_are_told_apart(tmp_path):
    paths = [expecting(tmp_path / f"{name}.zarr", factor) for name, factor in (("x-a", 1), ("y-a", 2))]
    scores = read_scores(evaluate(Spikes(SpikesConfig()), paths, tmp_path / "out"))
    assert {s.fold for s in scores if s.metric == NOISE} == {"x-a:0", "x-a:1", "y-a:0", "y-a:1"}
