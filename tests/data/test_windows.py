"""Windows: none crosses a gap, no part shares frames with another, invalid data is masked."""

import itertools

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from neurodyn.core.errors import DataError
from neurodyn.data.recording import Recording
from neurodyn.data.stimulus_code import StimulusCode
from neurodyn.data.window_config import WindowConfig
from neurodyn.data.windows import Windows

RNG = np.random.default_rng(0)
RATE = 10.0


def recording(frames=700, *, time=None, events=10, shuffle=False, movie=False, **more):
    """A recording whose value at frame f is f; event k starts at 7 k + 2.5 s, lasts 2 s and has level k % 3."""
    time = np.arange(frames) / RATE if time is None else time
    shape = (frames, 4, 5) if movie else (frames, 3)
    values = np.broadcast_to(np.arange(frames, dtype=np.float32).reshape(-1, *[1] * (len(shape) - 1)), shape)
    order = RNG.permutation(events) if shuffle else np.arange(events)
    start = order * 7.0 + 2.5
    stimulus = {"start": start, "stop": start + 2, "level": order % 3, "number": order} if events else None
    return Recording.from_arrays({"dff": values.copy()}, time=time, rate_hz=RATE, stimulus=stimulus, **more)


def cut(recordings, **config):
    recordings = recordings if isinstance(recordings, list) else [recordings]
    return Windows.cut(recordings, WindowConfig(**config))


def frames_of(windows):
    """Return {(session, frame)} of all windows."""
    return {
        (int(s), int(f) + k) for s, f in zip(windows.session, windows.first, strict=True) for k in range(windows.frames)
    }


def test_stream_windows_tile_the_recording():
    windows = cut(recording(), duration=1.0)
    assert (len(windows), windows.frames, windows.space) == (70, 10, (3,))
    np.testing.assert_allclose(windows.start, np.arange(70))
    values, mask = windows.values(np.array([3, 5]))
    np.testing.assert_array_equal(values[1, :, 0], np.arange(50, 60))
    assert mask.all()
    assert values.dtype == np.float32


def test_stride_shorter_than_the_window_overlaps():
    windows = cut(recording(), duration=1.0, stride=0.3)
    np.testing.assert_array_equal(np.diff(windows.first), 3)
    assert windows.first[-1] + 10 <= 700


def test_no_window_crosses_a_gap_or_a_short_pause():
    time = np.arange(700) / RATE
    time[203:] += 5.0
    time[500:] += 0.09  # just under a missing frame: 1.9 frames apart
    windows = cut(recording(time=time), duration=1.0, stride=0.1)
    for first in windows.first:
        assert np.diff(time[first : first + 10]).max() < 1.5 / RATE
    assert {203 - 10, 203, 500 - 10, 500} <= set(windows.first.tolist())
    assert not {194, 202, 491, 499} & set(windows.first.tolist())


def test_trial_is_the_event_a_window_lies_in_entirely():
    windows = cut(recording(), duration=1.0, stride=0.5)
    last = windows.start + 0.9
    for start, end, trial in zip(windows.start, last, windows.trial, strict=True):
        before, after = np.floor((np.array([start, end]) + 1e-9 - 2.5) / 7)
        assert trial == (before if before == after and before >= 0 else -1)


@pytest.mark.parametrize("shuffle", [False, True])
def test_columns_follow_the_trial_even_in_an_unsorted_table(shuffle):
    one = recording(shuffle=shuffle)
    stream = cut(one, duration=1.0)
    inside = stream.take(np.flatnonzero(stream.trial >= 0))
    np.testing.assert_array_equal(inside.column("number"), np.floor((inside.start - 2.5) / 7))
    with pytest.raises(DataError, match="windows in no trial"):
        stream.column("number")
    with pytest.raises(DataError, match="no stimulus column 'contrast'"):
        inside.column("contrast")


def test_event_windows_start_at_the_offset():
    windows = cut(recording(shuffle=True), duration=3.0, align="events", offset=-0.5)
    np.testing.assert_allclose(windows.start, np.arange(10) * 7 + 2.0, atol=1e-9)
    np.testing.assert_array_equal(windows.column("number"), np.arange(10))
    np.testing.assert_allclose(windows.times, np.arange(30) / 10 - 0.5)


def test_event_windows_outside_the_recording_or_in_a_gap_are_left_out():
    time = np.arange(700) / RATE
    time[300:] += 20.0
    windows = cut(recording(time=time), duration=3.0, align="events", offset=-3.0)
    # event 0 would begin before the recording; those of events 4 to 7 touch the gap from 30 to 50 s
    assert windows.column("number").tolist() == [1, 2, 3, 8, 9]


@pytest.mark.parametrize("gap", [None, 0.0, 3.0])
@pytest.mark.parametrize("fractions", [(0.6, 0.1, 0.3), (0.5, 0.0, 0.5), (0.0, 0.3, 0.7)])
def test_blocked_parts_are_contiguous_and_a_guard_gap_apart(gap, fractions):
    windows = cut([recording(), recording(500)], duration=1.0, stride=0.1, gap=gap, fractions=fractions)
    parts = [part for part in windows.split().values() if len(part)]
    guard = 1.0 if gap is None else gap
    for session in (0, 1):
        spans = []
        for part in parts:
            starts = np.sort(part.start[part.session == session])
            np.testing.assert_allclose(np.diff(starts), 0.1)
            spans.append((starts[0], starts[-1] + 0.9))
        for (_, end), (begin, _) in itertools.pairwise(spans):
            assert begin - end >= max(guard, 0.1) - 1e-6
    assert sum(len(frames_of(part)) for part in parts) == len(set().union(*map(frames_of, parts)))


def test_repeated_blocks_take_turns_along_the_recording():
    windows = cut([recording(7000, events=0)], duration=1.0, stride=0.5, gap=2.0, blocks=3)
    parts = windows.split()
    assert sum(len(frames_of(part)) for part in parts.values()) == len(set().union(*map(frames_of, parts.values())))
    spans = [(start, start + 0.9, name) for name, part in parts.items() for start in part.start]
    turns = [name for name, _ in itertools.groupby(name for _, _, name in sorted(spans))]
    assert turns == ["train", "valid", "test"] * 3
    for (_, end, before), (begin, _, after) in itertools.pairwise(sorted(spans)):
        assert before == after or begin - end >= 2.0 - 1e-6


def test_blocked_shares_follow_the_fractions():
    parts = cut(recording(7000, events=0), duration=1.0).split()
    shares = np.array([len(part) for part in parts.values()]) / 700
    np.testing.assert_allclose(shares, [0.6, 0.1, 0.3], atol=0.01)


def test_trial_split_shares_no_trial():
    windows = cut([recording(), recording()], duration=1.0, stride=0.5, split="trial", fractions=(0.5, 0.2, 0.3))
    parts = windows.split()
    keys = [set(zip(part.session.tolist(), part.trial.tolist(), strict=True)) for part in parts.values()]
    assert [len(k) for k in keys] == [10, 4, 6]
    assert len(set().union(*keys)) == 20
    assert all((part.trial >= 0).all() for part in parts.values())


def test_trial_split_is_decided_by_the_seed():
    firsts = [cut(recording(), duration=1.0, split="trial", seed=s).split()["train"].first.tolist() for s in (0, 0, 1)]
    assert firsts[0] == firsts[1] != firsts[2]


def test_overlapping_event_windows_cannot_be_split_by_trial():
    long = {"duration": 8.0, "align": "events", "split": "trial"}
    with pytest.raises(DataError, match="would share frames"):
        cut(recording(), **long).split()
    assert len(cut(recording(), **long | {"split": "random"}).split()["train"])


def test_condition_split_holds_out_whole_conditions():
    windows = cut(recording(), duration=1.0, split="condition", condition="level", fractions=(0.34, 0.33, 0.33))
    levels = [set(part.column("level").tolist()) for part in windows.split().values()]
    assert sorted(map(len, levels)) == [1, 1, 1]
    assert set().union(*levels) == {0, 1, 2}


def in_parts(parts):
    """Ten trials of 2 s, 1 s apart, whose column `part` says what each is for."""
    time = (np.arange(10)[:, None] * 3.0 + np.arange(20) / RATE).ravel()
    values = np.broadcast_to(np.arange(200, dtype=np.float32)[:, None], (200, 3))
    stimulus = {"start": time[::20], "stop": time[19::20] + 0.1, "part": np.array(parts, dtype=object)}
    return Recording.from_arrays({"dff": values.copy()}, time=time, rate_hz=RATE, stimulus=stimulus)


PARTS_OF_TEN = ["test", "train", "train", "valid", "train", "train", "test", "valid", "train", "train"]


@pytest.mark.parametrize("more", [{"align": "events"}, {}, {"stride": 0.3}])
def test_column_split_follows_the_named_parts(more, tmp_path):
    for one in (in_parts(PARTS_OF_TEN), Recording.open(in_parts(PARTS_OF_TEN).save(tmp_path / "a.zarr"))):
        duration = 2.0 if more.get("align") else 1.0
        parts = cut(one, duration=duration, split="column", condition="part", fractions=(0, 0, 1), **more).split()
        for name, part in parts.items():
            assert set(part.trial.tolist()) == {k for k, value in enumerate(PARTS_OF_TEN) if value == name}
    windows = cut(in_parts(PARTS_OF_TEN), duration=2.0, split="column", condition="part", align="events")
    assert (len(windows), windows.first.tolist()) == (10, list(range(0, 200, 20)))


def test_column_split_may_have_no_test_trials_but_needs_the_others():
    config = {"duration": 2.0, "align": "events", "split": "column", "condition": "part"}
    parts = cut(in_parts(["train"] * 8 + ["valid"] * 2), **config).split()
    assert [len(part) for part in parts.values()] == [8, 2, 0]
    with pytest.raises(DataError, match="No window is in a trial of part 'valid'"):
        cut(in_parts(["train"] * 8 + ["test"] * 2), **config).split()


def test_column_split_refuses_other_values_and_absent_columns():
    config = {"duration": 2.0, "align": "events", "split": "column"}
    with pytest.raises(DataError, match="does not name parts") as caught:
        cut(in_parts(["training"] * 8 + ["valid"] * 2), **config, condition="part").split()
    assert "Found training; expected train, valid, test" in str(caught.value)
    with pytest.raises(DataError, match="no stimulus column 'role'"):
        cut(in_parts(PARTS_OF_TEN), **config, condition="role").split()
    with pytest.raises(DataError, match="no stimulus"):
        cut(recording(events=0), duration=2.0, split="column", condition="part").split()


def test_random_split_takes_every_window_and_needs_its_name():
    windows = cut(recording(), duration=1.0, stride=0.1, split="random")
    parts = windows.split()
    assert sum(map(len, parts.values())) == len(windows)
    assert frames_of(parts["train"]) & frames_of(parts["test"])  # overlapping windows do leak: that is why it is named
    assert WindowConfig().split == "blocked"


def test_empty_parts_and_windows_that_fit_nowhere_are_errors():
    with pytest.raises(DataError, match="No window of 80 s fits"):
        cut(recording(), duration=80.0)
    with pytest.raises(DataError, match="valid part of the blocked split is empty"):
        cut(recording(), duration=10.0).split()
    with pytest.raises(DataError, match="no stimulus table"):
        cut(recording(events=0), align="events")


def test_nan_and_pixels_outside_the_brain_are_masked_to_zero():
    brain = np.zeros((4, 5), bool)
    brain[1:3, 1:4] = True
    one = recording(movie=True, brain=brain)
    one["dff"].values[5, 2, 2] = np.nan
    one["dff"].values[6, 1, 1] = np.inf
    other = recording(movie=True, brain=np.eye(4, 5) > 0)
    values, mask = cut(one, duration=1.0).values(slice(0, 1))
    assert not mask[0, 5, 2, 2]
    assert not mask[0, 6, 1, 1]
    assert mask[0, 4].sum() == 6
    assert (values[~mask] == 0).all()
    assert np.isfinite(values).all()
    np.testing.assert_array_equal(cut([one, other], duration=1.0).brain, brain & (np.eye(4, 5) > 0))


def test_recordings_must_be_alike():
    with pytest.raises(DataError, match="do not share one shape and rate"):
        cut([recording(), recording(movie=True)])
    with pytest.raises(DataError, match="has no variable 'spikes'"):
        cut(recording(), variable="spikes")


def test_windows_on_disk_are_read_when_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("neurodyn.data.window_view.IN_MEMORY_BYTES", 0)
    opened = Recording.open(recording().save(tmp_path / "a.zarr"))
    windows = cut(opened, duration=1.0)
    values, _ = windows.values(np.array([0, 69]))
    np.testing.assert_array_equal(values[:, :, 1], [np.arange(10), np.arange(690, 700)])
    assert not opened["dff"].variable._in_memory


class Guarded:
    """An array on disk of which some frames must not be read."""

    def __init__(self, values, forbidden):
        self.array, self.forbidden = values, forbidden
        self.shape, self.ndim, self.nbytes = values.shape, values.ndim, values.nbytes
        self.encoding = {"chunks": (7, *values.shape[1:])}

    def __getitem__(self, frames):
        assert not self.forbidden[frames].any(), "a test frame was read"
        return self.array[frames]

    @property
    def values(self):
        return self[:].values


@pytest.mark.parametrize("in_memory", [2**31, 0])
@pytest.mark.parametrize(
    "split",
    [{"blocks": 2}, {"split": "trial"}, {"split": "condition", "condition": "level", "fractions": (0.34, 0.33, 0.33)}],
)
def test_frames_that_only_the_part_left_out_needs_are_never_read(monkeypatch, split, in_memory):
    monkeypatch.setattr("neurodyn.data.window_view.IN_MEMORY_BYTES", in_memory)
    one, config = recording(), {"duration": 1.0, "align": "events" if "split" in split else "stream"}
    whole = cut(one, **config, **split).split()
    needed = {frame for name in ("train", "valid") for _, frame in frames_of(whole[name])}
    guarded = Guarded(one["dff"].variable, np.array([frame not in needed for frame in range(700)]))
    monkeypatch.setattr("neurodyn.data.window_view.signal", lambda recording, name: guarded)
    with pytest.raises(AssertionError, match="a test frame was read"):
        cut(one, **config, **split).split()["test"].values()
    parts = cut(one, **config, **split).split(without="test")
    assert set(parts) == {"train", "valid"}
    for name, windows in parts.items():
        for found, expected in zip(windows.values(), whole[name].values(), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "config",
    [
        {"fractions": (0.5, 0.5, 0.5)},
        {"fractions": (1.2, -0.1, -0.1)},
        {"split": "condition"},
        {"split": "column"},
        {"condition": "level"},
        {"duration": 0.0},
        {"stride": -1.0},
        {"split": "shuffled"},
        {"duration": 1.0, "horizon": 1.0},
        {"duration": 1.0, "baseline": 0.5},
        {"duration": 1.0, "horizon": 0.5, "baseline": 0.6},
        {"durations": 1.0},
    ],
)
def test_nonsense_is_refused(config):
    with pytest.raises(ValidationError):
        WindowConfig(**config)


def test_a_target_is_another_variable_of_the_same_windows():
    source = recording()
    clean = Recording.from_arrays({"dff": source["dff"].values, "clean": source["dff"].values + 0.5}, rate_hz=RATE)
    windows = cut(clean, target="clean")
    values, _ = windows.values()
    wanted, known = windows.targets.values()
    np.testing.assert_array_equal(wanted, values + 0.5)
    assert known.all()
    np.testing.assert_array_equal(windows.take(np.array([3])).targets.values()[0], wanted[[3]])


def test_irregular_frames_keep_their_times_and_end_with_the_next_event():
    own = np.sort(RNG.uniform(0, 1, (4, 6)), axis=1)
    own[:, 0] = 0.0
    time = (own + 3 * np.arange(4)[:, None]).ravel()
    stimulus = {"start": 3.0 * np.arange(4), "stop": 3.0 * np.arange(4) + 1}
    values = np.arange(24, dtype=np.float32)[:, None]
    source = Recording.from_arrays({"dff": values}, time=time, stimulus=stimulus)
    windows = cut(source, duration=1.0, align="events", irregular=True)
    assert len(windows) == 4
    np.testing.assert_allclose(windows.clock(), own)
    np.testing.assert_array_equal(windows.values()[0][..., 0], np.arange(24).reshape(4, 6))
    fewer = cut(source, duration=0.6, align="events", irregular=True)
    assert fewer.frames == (own < 0.6).sum(1).min()
    np.testing.assert_allclose(fewer.clock(), own[:, : fewer.frames])


def test_irregular_frames_need_events():
    with pytest.raises(ValidationError, match="begin at events"):
        WindowConfig(irregular=True)


def test_the_horizon_is_the_last_part_of_every_window():
    windows = cut(recording(), duration=1.6, horizon=0.64)
    assert (windows.frames, windows.horizon) == (16, 6)
    assert cut(recording(), duration=1.6).horizon == 0


def test_a_window_is_taken_over_its_own_baseline():
    values = 2.0 + np.abs(np.sin(np.arange(700, dtype=np.float32)[:, None] * np.array([0.3, 0.01, 0.2])))
    values[:, 2] -= 2.0 + values[:, 2].mean()  # a cell that lies around zero has no baseline
    one = Recording.from_arrays({"dff": values.astype(np.float32)}, rate_hz=RATE)
    plain, mask = cut(one, duration=2.0, horizon=1.0).values()
    relative, there = cut(one, duration=2.0, horizon=1.0, baseline=0.5).values()
    level = plain[:, 5:10].mean(1, keepdims=True)
    np.testing.assert_allclose(relative[..., 1], (plain / level - 1)[..., 1], atol=1e-5)
    assert mask.all()
    assert there[..., 1].all()
    bad = ~there[..., 2].any(1)
    assert bad.mean() > 0.5
    assert np.array_equal(there.any(1), there.all(1))  # whole windows of a cell, or nothing
    assert (relative[~there] == 0).all()


def test_frames_of_the_horizon_do_not_change_the_baseline():
    values = 5.0 + RNG.random((700, 2)).astype(np.float32)
    spoiled = values.copy()
    spoiled[10:20] *= 3
    both = [
        cut(Recording.from_arrays({"dff": x}, rate_hz=RATE), duration=2.0, horizon=1.0, baseline=0.5).values()[0][0]
        for x in (values, spoiled)
    ]
    np.testing.assert_array_equal(both[0][:10], both[1][:10])


def test_models_are_told_of_the_event_in_which_the_horizon_begins():
    one = recording(shuffle=True)
    at_events = cut(one, duration=2.0, horizon=1.0, align="events", offset=-1.0, stimuli=("level", "number"))
    numbers, condition = at_events.stimulus()
    assert numbers.shape == (10, 3)
    assert at_events.code.conditions[condition[4]] == ("1.0", "4.0")
    np.testing.assert_allclose(numbers[:, 1], (np.arange(10) - 4.5) / np.arange(10).std(), rtol=1e-5)
    stream = cut(one, duration=2.0, horizon=1.0, stimuli=("number",))
    numbers, condition = stream.stimulus()
    begins = stream.start + 1.0
    expected = np.floor((begins - 2.5) / 7.0).astype(int)
    known = np.array([float(stream.code.conditions[k][0]) if k >= 0 else -1 for k in condition])
    np.testing.assert_array_equal(known, np.clip(expected, -1, 9))
    assert (numbers[condition < 0] == 0).all()


def test_angles_go_round_names_stand_apart_and_blanks_are_marked():
    start = np.arange(4) * 2.0
    table = {
        "start": start,
        "stop": start + 1,
        "direction": np.array([0.0, 90.0, 360.0, np.nan]),
        "image": np.array(["a", "b", "a", "c"]),
    }
    one = Recording.from_arrays({"dff": np.zeros((100, 2), np.float32)}, rate_hz=RATE, stimulus=table)
    code = StimulusCode.fit([one], ["direction"])
    numbers, condition = code.encode(one)
    np.testing.assert_allclose(numbers[1], [1, 0, 0, -1, 0], atol=1e-6)
    np.testing.assert_allclose(numbers[0], numbers[2], atol=1e-6)
    np.testing.assert_array_equal(numbers[3], [0, 0, 0, 0, 1])
    assert len(set(condition)) == 4
    named = StimulusCode.fit([one], ["image"])
    np.testing.assert_array_equal(named.encode(one)[0][:, :3], np.eye(3)[[0, 1, 0, 2]])
    assert StimulusCode.model_validate(code.model_dump(mode="json")) == code
    fewer = Recording.from_arrays(
        {"dff": np.zeros((100, 2), np.float32)},
        rate_hz=RATE,
        stimulus={"start": start[:1], "stop": start[:1] + 1, "direction": [45.0]},
    )
    assert code.encode(fewer)[1].tolist() == [-1]


@pytest.mark.parametrize(
    ("blocks", "parts"),
    [
        ([10], {"train": 6, "valid": 1, "test": 3}),
        ([10, 10], {"train": 5, "valid": 5, "test": 10}),
        ([10, 10, 10], {"train": 17, "valid": 3, "test": 10}),
    ],
)
def test_the_last_block_of_the_stimulus_is_the_test(blocks, parts):
    start = np.concatenate([100.0 * k + 3 + 2.0 * np.arange(count) for k, count in enumerate(blocks)])
    table = {"start": start, "stop": start + 1}
    one = Recording.from_arrays({"dff": np.zeros((3000, 2), np.float32)}, rate_hz=RATE, stimulus=table)
    windows = cut(one, duration=2.0, align="events", offset=-0.5, split="stimulus_blocks")
    split = windows.split()
    assert {name: len(part) for name, part in split.items()} == parts
    assert split["train"].start.max() < split["valid"].start.min() < split["test"].start.min()


def test_what_reaches_into_the_next_stimulus_block_belongs_to_none():
    start = 3 + 2.0 * np.arange(20)
    table = {"start": start, "stop": start + 1}
    one = Recording.from_arrays({"dff": np.zeros((600, 2), np.float32)}, rate_hz=RATE, stimulus=table)
    split = cut(one, duration=3.0, align="events", offset=-1.0, split="stimulus_blocks").split()
    assert not frames_of(split["train"]) & frames_of(split["valid"])
    assert not frames_of(split["valid"]) & frames_of(split["test"])
    assert len(split["train"]) == 11


def test_cells_are_named_by_their_ids_and_not_by_whether_they_are_cells():
    def names(cell: np.ndarray) -> tuple[tuple[str, ...], ...]:
        rois = xr.Dataset({"cell": ("roi", cell)})
        made = Recording.from_arrays({"dff": np.zeros((60, 2), np.float32)}, rate_hz=10, rois=rois)
        return Windows.cut([made], WindowConfig(duration=1.0)).names

    assert names(np.array([517, 33])) == (("517", "33"),)
    assert names(np.array([True, False])) == ()


def test_what_follows_a_window_ends_at_other_parts_gaps_and_the_end():
    time = np.arange(700) / RATE
    time[300:] += 5
    parts = cut(recording(time=time), duration=1.0, ahead=0.5).split()
    for name, windows in parts.items():
        values, mask = windows.future()
        others = {frame for other, one in parts.items() if other != name for _, frame in frames_of(one)}
        for first, row, known in zip(windows.first, values[..., 0], mask[..., 0], strict=True):
            expected = [
                f < 700 and f not in others and not (first + 10 <= 300 <= f) for f in range(first + 10, first + 15)
            ]
            expected = np.logical_and.accumulate(expected)
            np.testing.assert_array_equal(known, expected)
            np.testing.assert_array_equal(row, np.where(expected, first + 10 + np.arange(5), 0))
    assert parts["train"].future()[1].any()


def test_denser_training_windows_hold_the_same_frames():
    parts = cut(recording(), duration=1.0, stride=1.0, train_stride=0.1).split()
    dense = parts["train"].to_train()
    assert frames_of(dense) == frames_of(parts["train"])
    np.testing.assert_array_equal(np.diff(dense.first), 1)
    kept = np.isin(dense.first, parts["train"].first)
    np.testing.assert_array_equal(dense.trial[kept], parts["train"].trial)
    np.testing.assert_array_equal(dense.values()[0][kept], parts["train"].values()[0])
    plain = cut(recording(), duration=1.0).split()["train"]
    assert plain.to_train() is plain


@pytest.mark.parametrize(
    "wrong",
    [
        {"ahead": 0.5, "horizon": 0.5},
        {"ahead": 0.5, "align": "events", "irregular": True},
        {"train_stride": 0.1, "align": "events"},
        {"train_stride": 0.1, "split": "random"},
    ],
)
def test_what_lies_ahead_and_how_dense_must_fit_the_windows(wrong):
    with pytest.raises(ValidationError, match="ahead|train_stride"):
        WindowConfig(**wrong)
