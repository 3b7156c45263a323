"""One value per window, from stimulus or behaviour, and clear errors where there is none."""

import numpy as np
import pytest
import xarray as xr

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.data.circle import Circle
from neurodyn.data.recording import Recording
from neurodyn.data.window_config import WindowConfig
from neurodyn.data.windows import Windows
from neurodyn.decode.settings import DecodeConfig
from neurodyn.decode.source import Source
from neurodyn.decode.targets import make_labels
from tests.report.fake_run import movie, traces

STREAM = WindowConfig(duration=1.0, stride=0.1)
EVENTS = WindowConfig(duration=3.0, align="events", offset=-1.0)


def labels_of(recording, windows, **settings):
    source = Source(Windows.cut([recording], windows), None)
    labels, rows = make_labels(source, DecodeConfig(**settings))
    return labels, source.take(rows)


def test_stream_windows_take_the_stimulus_on_at_their_last_frame():
    recording = traces(trials=8)
    labels, source = labels_of(recording, STREAM, target="contrast")
    events = recording.stimulus
    for value, start in zip(labels.target, source.windows.start, strict=True):
        last = start + 0.9
        on = (events["start"].values <= last + 1e-9) & (events["stop"].values > last + 1e-9)
        assert value == (events["contrast"].values[on][0] if on.any() else 0.0)
    assert (labels.target == 0).any()
    assert labels.task == "regress"


def test_windows_of_one_trial_share_no_frame_with_another_trial():
    labels, source = labels_of(traces(trials=8), STREAM, target="contrast")
    owners = {}
    for group, first in zip(labels.groups, source.windows.first, strict=True):
        for frame in range(first, first + source.windows.frames):
            assert owners.setdefault(frame, group) == group
    assert "lie in no one of the trials" in labels.note


def test_an_unsorted_stimulus_table_gives_the_same_labels():
    recording = traces(trials=8)
    order = np.random.default_rng(0).permutation(8)
    columns = {str(name): column.values[order] for name, column in recording.stimulus.data_vars.items()}
    mixed = Recording.from_arrays({"dff": recording["dff"].values}, rate_hz=10.0, stimulus=columns)
    for windows in (STREAM, EVENTS):
        expected, _ = labels_of(recording, windows, target="contrast")
        found, _ = labels_of(mixed, windows, target="contrast")
        np.testing.assert_array_equal(found.target, expected.target)


def test_events_take_their_own_value_modulo_180():
    recording = traces(trials=8)
    columns = {str(name): column.values for name, column in recording.stimulus.data_vars.items()}
    columns["direction"] = np.arange(8) * 45
    recording = Recording.from_arrays({"dff": recording["dff"].values}, rate_hz=10.0, stimulus=columns)
    labels, _ = labels_of(recording, EVENTS, target="direction%180")
    assert (labels.task, labels.circle) == ("circular", Circle(180, 180))
    assert labels.target.tolist() == [0, 45, 90, 135, 0, 45, 90, 135]
    assert labels.groups.tolist() == list(range(8))


def test_classes_leave_blank_windows_out():
    labels, _ = labels_of(traces(trials=8), STREAM, target="orientation%180", task="classify")
    assert set(labels.target) == {0, 45, 90, 135}
    assert "end outside any stimulus" in labels.note


def test_sqrt_runs_from_minus_one_to_one():
    labels, _ = labels_of(traces(trials=8), STREAM, target="contrast", transform="sqrt")
    plain, _ = labels_of(traces(trials=8), STREAM, target="contrast")
    np.testing.assert_allclose(labels.target, 2 * np.sqrt(plain.target) - 1)
    assert (labels.target.min(), labels.target.max()) == (-1, 1)
    paper, _ = labels_of(traces(trials=8), STREAM, target="contrast", protocol="paper")
    np.testing.assert_array_equal(paper.target, labels.target)


def test_behaviour_is_interpolated_and_grouped_in_segments():
    labels, source = labels_of(movie(trials=10), STREAM, target="pupil")
    np.testing.assert_allclose(labels.target, np.sin(source.last / 9), atol=1e-3)
    assert labels.unit == "segments"
    assert np.unique(labels.groups).size > 10


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"target": "speed"}, DataError, "stimulus: contrast, orientation; behavior: pupil"),
        ({"target": "contrast%x"}, ConfigError, "a number is expected"),
        ({"target": "pupil", "transform": "sqrt"}, DataError, "no square root"),
        ({}, ConfigError, "stimulus columns: contrast, orientation"),
    ],
)
def test_what_cannot_be_decoded_is_named(settings, error, message):
    with pytest.raises(error, match=message):
        labels_of(movie(trials=10), STREAM, **settings)


def test_a_constant_target_is_refused():
    recording = traces(trials=8)
    columns = {str(name): column.values for name, column in recording.stimulus.data_vars.items()}
    flat = Recording.from_arrays(
        {"dff": recording["dff"].values}, rate_hz=10.0, stimulus=columns | {"contrast": np.ones(8)}
    )
    with pytest.raises(DataError, match="constant"):
        labels_of(flat, EVENTS, target="contrast")


def test_names_are_classes_also_when_read_from_disk(tmp_path):
    recording = traces(trials=8)
    columns = {str(name): column.values for name, column in recording.stimulus.data_vars.items()}
    columns["scene"] = np.resize(["fox", "owl"], 8)
    saved = Recording.from_arrays({"dff": recording["dff"].values}, rate_hz=10.0, stimulus=columns)
    saved = Recording.open(saved.save(tmp_path / "a.zarr"))
    labels, _ = labels_of(saved, EVENTS, target="scene")
    assert labels.task == "classify"
    assert labels.target.tolist() == ["fox", "owl"] * 4
    stream, _ = labels_of(saved, STREAM, target="scene")
    assert set(stream.target) == {"fox", "owl"}


def test_missing_values_are_left_out_and_counted():
    recording = traces(trials=8)
    columns = {str(name): column.values for name, column in recording.stimulus.data_vars.items()}
    columns["score"] = np.array([1.0, 2, np.nan, 4, 5, 6, np.nan, 8])
    recording = Recording.from_arrays({"dff": recording["dff"].values}, rate_hz=10.0, stimulus=columns)
    labels, _ = labels_of(recording, EVENTS, target="score")
    assert labels.target.tolist() == [1, 2, 4, 5, 6, 8]
    assert labels.note.startswith("2 windows left out")


def test_blanks_are_zero_for_contrast_alone():
    recording = traces(trials=8)
    columns = {str(name): column.values for name, column in recording.stimulus.data_vars.items()}
    columns |= {"speed": np.linspace(1, 8, 8), "image": np.resize([0, 1], 8)}
    recording = Recording.from_arrays({"dff": recording["dff"].values}, rate_hz=10.0, stimulus=columns)
    for target, lowest in {"contrast": 0, "speed": 1, "image": 0, "orientation": 0}.items():
        labels, source = labels_of(recording, STREAM, target=target)
        last = source.last
        on = [((columns["start"] <= t + 1e-9) & (columns["stop"] > t + 1e-9)).any() for t in last]
        assert all(on) == (target != "contrast")
        assert labels.target.min() == lowest
    labels, _ = labels_of(recording, STREAM, target="contrast")
    assert "windows between stimuli count as 0, left out by --set blank=drop" in labels.note
    dropped, _ = labels_of(recording, STREAM, target="contrast", blank="drop")
    assert dropped.target.min() == 0.02
    assert "count as 0" not in dropped.note


def with_behavior(values, fs=20.0):
    time = np.arange(len(values)) / fs
    table = xr.Dataset({"heading": ("b", values)}, coords={"b": time})
    return Recording.from_arrays({"dff": np.zeros((400, 3), np.float32)}, rate_hz=10.0, behavior=table)


def test_behaviour_on_a_circle_is_interpolated_the_short_way():
    heading = (37.3 * np.arange(800) / 20) % 360
    labels, source = labels_of(with_behavior(heading), STREAM, target="heading")
    assert labels.task == "circular"
    apart = np.abs((labels.target - 37.3 * source.last + 180) % 360 - 180)
    assert apart.max() < 1e-6


@pytest.mark.parametrize("values", [np.repeat(["run", "sit"], 400), np.repeat([True, False], 400)])
def test_behaviour_of_names_is_held_until_the_next_sample(values):
    labels, source = labels_of(with_behavior(values), STREAM, target="heading")
    assert labels.task == "classify"
    expected = [str(values[0] if t < 20 - 1e-6 else values[-1]) for t in source.last]
    assert labels.target.tolist() == expected
