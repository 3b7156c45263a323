"""Stimulus logs, photodiode onsets and camera pulses brought into a recording."""

import csv

import h5py
import numpy as np
import pytest
import scipy.io

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.readers.columns import read_columns
from neurodyn.readers.options import ReadOptions
from neurodyn.readers.questions import QuestionError
from neurodyn.readers.read import read
from neurodyn.readers.signals import FrameTimes, Signal, pulses
from neurodyn.readers.stimulus import StimulusLog

RNG = np.random.default_rng(0)
FRAMES, RATE, SAMPLES = 600, 10.0, 5000.0
TRIALS = 8
ONSETS = 3.0 + 7.0 * np.arange(TRIALS)
CONTRAST = np.resize([5, 10, 20, 50, 100], TRIALS).astype(float)


def source(folder):
    np.save(folder / "traces.npy", RNG.normal(size=(FRAMES, 3)))
    return folder / "traces.npy"


def table(path, rows, header=(), delimiter=","):
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([list(header), *rows] if header else rows)
    return path.name


def headerless(folder):
    """Twelve columns without names, contrast first, as the widefield lab writes them."""
    rows = [[c, 90, 0.04, 2, 2, 0, 0, 0, 1, 1, 0, k] for k, c in enumerate(CONTRAST)]
    return table(folder / "log.csv", rows)


def square(starts, stops, length, rise=0.0):
    """Return a trace in volts, high from start to stop, at SAMPLES per second."""
    trace = np.zeros(int(length * SAMPLES))
    for start, stop in zip(starts, stops, strict=True):
        trace[round(start * SAMPLES) : round(stop * SAMPLES)] = 3.0
    return trace + rise + 0.02 * RNG.normal(size=trace.size)


def with_log(path, **log):
    return read(path, ReadOptions(fs=RATE, stimulus=StimulusLog(**log))).stimulus


def test_headerless_log_timed_by_a_photodiode(tmp_path):
    np.save(tmp_path / "diode.npy", square(ONSETS, ONSETS + 2, 60))
    onsets = Signal(file="diode.npy", fs=SAMPLES)
    events = with_log(source(tmp_path), file=headerless(tmp_path), columns=("contrast", "-", "sf"), onsets=onsets)
    assert set(events.data_vars) == {"start", "stop", "contrast", "sf"}
    np.testing.assert_allclose(events["start"], ONSETS, atol=1 / SAMPLES)
    np.testing.assert_allclose(events["stop"], ONSETS + 2, atol=1 / SAMPLES)
    np.testing.assert_array_equal(events["contrast"], CONTRAST)


def test_a_count_that_differs_names_both(tmp_path):
    np.save(tmp_path / "diode.npy", square(ONSETS[:-1], ONSETS[:-1] + 2, 60))
    onsets = Signal(file="diode.npy", fs=SAMPLES)
    with pytest.raises(DataError, match=r"8 rows in log.csv and 7 onsets in diode.npy"):
        with_log(source(tmp_path), file=headerless(tmp_path), columns=("contrast",), onsets=onsets)


@pytest.mark.parametrize(("unit", "scale"), [("s", 1.0), ("ms", 1e3), ("frame", RATE)])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".mat", ".h5"])
def test_logs_that_know_their_times(suffix, unit, scale, tmp_path):
    start, stop = ONSETS * scale, (ONSETS + 2) * scale
    path = tmp_path / f"log{suffix}"
    if suffix == ".mat":
        trials = {"onset": start, "end": stop, "contrast": CONTRAST}
        scipy.io.savemat(path, {"trials": trials, "note": "x"})
    elif suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, column in (("onset", start), ("end", stop), ("contrast", CONTRAST)):
                file[f"trials/{name}"] = column
    else:
        rows = zip(start, stop, CONTRAST, strict=True)
        table(path, rows, ("onset", "end", "contrast"), "\t" if suffix == ".tsv" else ",")
    key = "trials" if suffix in (".mat", ".h5") else None
    events = with_log(source(tmp_path), file=path.name, key=key, unit=unit)
    np.testing.assert_allclose(events["start"], ONSETS)
    np.testing.assert_allclose(events["stop"], ONSETS + 2)
    np.testing.assert_array_equal(events["contrast"], CONTRAST)
    assert set(events.data_vars) == {"start", "stop", "contrast"}


def test_an_array_of_structs_and_a_list_of_onsets(tmp_path):
    kinds = np.array([(c, f"g{k}") for k, c in enumerate(CONTRAST)], dtype=[("contrast", object), ("name", object)])
    scipy.io.savemat(tmp_path / "log.mat", {"trials": kinds})
    np.savetxt(tmp_path / "onsets.txt", ONSETS)
    onsets = Signal(file="onsets.txt")
    events = with_log(source(tmp_path), file="log.mat", key="trials", onsets=onsets, duration=1.5, offset=0.25)
    np.testing.assert_allclose(events["start"], ONSETS + 0.25)
    np.testing.assert_allclose(events["stop"], ONSETS + 1.75)
    assert events["name"].values.tolist() == [f"g{k}" for k in range(TRIALS)]


def test_events_outside_the_recording(tmp_path, caplog):
    name = table(tmp_path / "log.csv", zip([*ONSETS, 59.5], [*(ONSETS + 2), 61], strict=True), ("start", "stop"))
    assert with_log(source(tmp_path), file=name).sizes["event"] == TRIALS
    assert "1 of 9 events lie outside" in caplog.text
    assert with_log(source(tmp_path), file=name, outside="keep").sizes["event"] == TRIALS + 1
    with pytest.raises(DataError, match="outside the recording"):
        with_log(source(tmp_path), file=name, outside="refuse")
    with pytest.raises(DataError, match="outside the recording"):
        with_log(source(tmp_path), file=name, offset=100.0)


@pytest.mark.parametrize(
    ("text", "log", "message"),
    [
        ("1,2\n3,4\n", {}, "has no header"),
        ("a,b\n1,2\n", {}, "does not say when"),
        ("start,b\n1,2\n", {}, "how long the events last"),
        ("start,stop\n1,2\n3\n", {}, "no whole table"),
        ("start,stop\nsoon,later\n", {}, "is not numbers"),
        ("start,stop\n", {}, "has no rows"),
        ("", {}, "no whole table"),
        ("1,2\n", {"columns": ("start", "stop", "x")}, "fewer columns than names"),
        ("start,stop\n3,900\n", {"unit": "frame"}, "names frames that are not there"),
        ("start,stop\n5,4\n", {}, "stops before it starts"),
        ("start,b\n1,2\n", {"duration": "c"}, "has no column c"),
    ],
)
def test_bad_logs_are_named(text, log, message, tmp_path):
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        with_log(source(tmp_path), file="log.csv", **log)


def test_missing_and_binary_logs(tmp_path):
    path = source(tmp_path)
    with pytest.raises(DataError, match="no file none.csv"):
        with_log(path, file="none.csv")
    (tmp_path / "log.csv").write_bytes(bytes(range(256)) * 9)
    with pytest.raises(DataError, match="cannot be read as a table"):
        with_log(path, file="log.csv")
    with pytest.raises(DataError, match="no table that neurodyn reads"):
        (tmp_path / "log.xlsx").write_text("x")
        with_log(path, file="log.xlsx")
    with pytest.raises(ValueError, match="give file, onsets, or both"):
        StimulusLog()


def test_pulses_ignore_noise_flicker_blips_and_cut_off_pulses(caplog):
    starts, stops = ONSETS, ONSETS + 2
    trace = square([0.0, *starts, 59.0], [1.0, *stops, 60.0], 60)
    trace[int(4.0 * SAMPLES) : int(4.01 * SAMPLES)] = 0.0  # the screen's flicker
    trace[int(6.0 * SAMPLES) : int(6.0 * SAMPLES) + 5] = 3.0  # a blip
    signal = Signal(file="x", fs=SAMPLES, join=0.02, shortest=0.1)
    for level in (trace, -trace + 7):
        found = pulses(level, signal.model_copy(update={"invert": level is not trace}))
        np.testing.assert_allclose(found, (starts, stops), atol=2 / SAMPLES)
    assert "2 pulse(s) cut off" in caplog.text
    with pytest.raises(DataError, match="no pulses"):
        pulses(trace, signal.model_copy(update={"threshold": 5.0}))
    with pytest.raises(DataError, match="not finite"):
        pulses(np.r_[trace, np.nan], signal)


def test_hysteresis_counts_a_noisy_edge_once():
    ramp = np.r_[np.zeros(100), np.linspace(0, 1, 1000), np.ones(100), np.zeros(100)] + RNG.normal(0, 0.03, 1300)
    assert len(pulses(ramp, Signal(file="x", fs=1.0, hysteresis=0.4))[0]) == 1
    assert len(pulses(ramp, Signal(file="x", fs=1.0, hysteresis=0.0))[0]) > 1


@pytest.mark.parametrize(("at", "shift"), [("middle", 0.01), ("rising", 0.0), ("falling", 0.02)])
def test_camera_pulses_time_the_frames_of_each_channel(at, shift, tmp_path):
    exposures = 0.5 + np.arange(2 * FRAMES) / (2 * RATE)
    np.save(tmp_path / "ttl.npy", square(exposures, exposures + 0.02, 61))
    movie = RNG.integers(0, 99, (2 * FRAMES, 4, 5)).astype(np.uint16)
    np.save(tmp_path / "movie.npy", movie)
    pulse = {"file": "ttl.npy", "fs": SAMPLES, "at": at}
    options = ReadOptions(channels=("fluorescence", "reference"), frame_times=pulse)
    recording = read(tmp_path / "movie.npy", options)
    np.testing.assert_allclose(recording.time, exposures[::2] + shift, atol=1 / SAMPLES)
    assert recording.rate_hz == pytest.approx(RATE, rel=1e-3)
    np.testing.assert_array_equal(recording["reference"].values, movie[1::2])
    np.save(tmp_path / "movie.npy", movie[:-2])
    with pytest.raises(DataError, match="1200 times; the source has 599 frames"):
        read(tmp_path / "movie.npy", options)
    with pytest.raises(DataError, match="rate contradicts"):
        np.save(tmp_path / "movie.npy", movie)
        read(tmp_path / "movie.npy", options.model_copy(update={"fs": 25.0}))


def test_a_log_can_be_added_to_a_recording(tmp_path, caplog):
    stimulus = {"start": [1.0], "stop": [2.0]}
    recording = Recording.from_arrays({"dff": np.ones((FRAMES, 2))}, rate_hz=RATE, stimulus=stimulus)
    path = recording.save(tmp_path / "a.zarr")
    name = table(tmp_path / "log.csv", zip(ONSETS, CONTRAST, strict=True), ("start", "contrast"))
    again = read(path, ReadOptions(stimulus=StimulusLog(file=name, duration=2)))
    np.testing.assert_allclose(again.stimulus["stop"], ONSETS + 2)
    assert again.history[-1]["step"] == "stimulus"
    assert "gives way" in caplog.text
    saved = Recording.open(again.save(tmp_path / "b.zarr"))
    np.testing.assert_array_equal(saved.stimulus["contrast"], CONTRAST)


def test_columns_with_gaps_and_text(tmp_path):
    (tmp_path / "a.csv").write_text("# made by hand\nx;kind\n1;up\n;down\n")
    columns = read_columns(tmp_path / "a.csv")
    np.testing.assert_array_equal(columns["x"], [1, np.nan])
    assert columns["kind"].tolist() == ["up", "down"]


HEADERS = {
    "Time Stamp (ms)": 1e3, "time [ms]": 1e3, "time_ms": 1e3, "time (s)": 1.0, "Time (\u00b5s)": 1e6, "t_us": 1e6,
    "timestamp [min]": 1 / 60, "time in milliseconds": 1e3, "time": 1.0,
}  # fmt: skip


def timed(path, **times):
    fs = times.pop("rate", None)
    return read(path, ReadOptions(fs=fs, frame_times=FrameTimes(**times)))


@pytest.mark.parametrize("header", HEADERS)
def test_frame_times_are_in_the_unit_of_their_header(header, tmp_path):
    frames = 0.037 + np.arange(FRAMES) / 20
    rows = zip(range(FRAMES), frames * HEADERS[header], [0] * FRAMES, strict=True)
    name = table(tmp_path / "times.csv", rows, ("Frame Number", header, "Buffer Index"))
    recording = timed(source(tmp_path), file=name)
    np.testing.assert_allclose(recording.time, frames)
    assert recording.rate_hz == pytest.approx(20)


def test_an_option_counts_before_the_header_and_the_contradiction_is_said(tmp_path, caplog):
    name = table(tmp_path / "times.csv", [[t] for t in np.arange(FRAMES) / 20], ("time (ms)",))
    assert timed(source(tmp_path), file=name, unit="s").rate_hz == pytest.approx(20)
    assert "says ms; it is read in s, as told" in caplog.text


@pytest.mark.parametrize(("step", "unit"), [(50.0, "ms"), (5e4, "us"), (0.05 / 60, None), (1e-4, "min")])
def test_a_rare_rate_is_asked_about(step, unit, tmp_path):
    np.savetxt(tmp_path / "times.txt", np.arange(FRAMES) * step)
    path = source(tmp_path)
    if unit is None:  # 1200 Hz: minutes cannot be told from voltage imaging
        assert timed(path, file="times.txt").rate_hz == pytest.approx(1200)
        return
    with pytest.raises(QuestionError) as question:
        timed(path, file="times.txt")
    assert question.value.need.option == f"--set source.frame_times.unit={unit}"
    told = read(path, ReadOptions().model_copy(update=question.value.guess))
    assert 0.5 <= told.rate_hz <= 2000
    for insisting in ({"unit": "s"}, {"rate": 1 / step}):
        assert timed(path, file="times.txt", **insisting).rate_hz == pytest.approx(1 / step)


def test_columns_of_a_log_say_their_units(tmp_path):
    rows = zip(ONSETS * 1e3, ONSETS + 2, CONTRAST, strict=True)
    name = table(tmp_path / "log.csv", rows, ("Onset (ms)", "stop_s", "contrast"))
    events = with_log(source(tmp_path), file=name)
    np.testing.assert_allclose(events["start"], ONSETS)
    np.testing.assert_allclose(events["stop"], ONSETS + 2)
    assert set(events.data_vars) == {"start", "stop", "contrast"}


@pytest.mark.parametrize(("scale", "unit"), [(1e3, "ms"), (RATE, "frame")])
def test_onsets_beyond_the_recording_are_asked_about(scale, unit, tmp_path):
    rows = zip(ONSETS * scale, (ONSETS + 2) * scale, strict=True)
    name = table(tmp_path / "log.csv", rows, ("start", "stop"))
    with pytest.raises(QuestionError) as question:
        with_log(source(tmp_path), file=name)
    assert question.value.need.option == f"--set source.stimulus.unit={unit}"
    np.testing.assert_allclose(with_log(source(tmp_path), file=name, unit=unit)["start"], ONSETS)
