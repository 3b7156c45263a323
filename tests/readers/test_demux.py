"""Interleaved channels with dropped frames are told apart and put in their places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neurodyn.core.errors import ConfigError, DataError
from neurodyn.readers.demux import by_likeness, cycles, places
from neurodyn.readers.options import ReadOptions, VariablePlace
from neurodyn.readers.read import read

FRAMES = 60


def interleaved(seed: int = 0) -> np.ndarray:
    """Return alternating frames of two patterns with slow changes and noise, shape (2 * FRAMES, 16, 16)."""
    generator = np.random.default_rng(seed)
    patterns = generator.uniform(500, 1500, (2, 16, 16))
    drift = 1 + 0.05 * np.sin(np.arange(2 * FRAMES) / 20)
    movie = patterns[np.arange(2 * FRAMES) % 2] * drift[:, None, None]
    return (movie + generator.normal(0, 20, movie.shape)).astype(np.uint16)


def save(folder: Path, movie: np.ndarray, **more: np.ndarray) -> Path:
    path = folder / "movie.npz"
    np.savez(path, movie=movie, **more)
    return path


def test_an_undisturbed_stream_is_split_as_by_order(tmp_path):
    path = save(tmp_path, interleaved())
    channels = ("fluorescence", "reference")
    plain = read(path, ReadOptions(fs=10, channels=channels))
    told = read(path, ReadOptions(fs=10, channels=channels, demux="correlation"))
    for name in channels:
        np.testing.assert_array_equal(told[name].values, plain[name].values)
    np.testing.assert_allclose(told.time, plain.time)
    assert told.rate_hz == plain.rate_hz
    assert not told.table("qc")["demux_dropped"].values.any()


@pytest.mark.parametrize("demux", ["correlation", "table"])
def test_dropped_frames_are_found_and_placed(tmp_path, demux):
    movie = interleaved()
    lost = [21, 40, 41, 90]  # one reference frame, a whole cycle, one signal frame
    kept = np.setdiff1d(np.arange(len(movie)), lost)
    np.save(tmp_path / "leds.npy", kept % 2)
    np.save(tmp_path / "unused.npy", kept)
    path = save(tmp_path, movie[kept], seconds=kept / 20)
    table = {"frame_channel": "leds.npy"} if demux == "table" else {}
    options = ReadOptions(key="movie", times="seconds", channels=("fluorescence", "reference"), demux=demux, **table)
    recording = read(path, options)
    dropped = recording.table("qc")["demux_dropped"].values
    assert {2 * row + column for row, column in np.argwhere(dropped)} == set(lost)
    for channel, name in enumerate(options.channels):
        truth = movie[channel::2]
        there = ~dropped[:, channel]
        np.testing.assert_array_equal(recording[name].values[there], truth[there])
        for row in np.flatnonzero(~there):
            between = np.round((truth[row - 1].astype(float) + truth[row + 1]) / 2)
            np.testing.assert_array_equal(recording[name].values[row], between)
    np.testing.assert_allclose(recording.time, np.arange(FRAMES) / 10, atol=1e-9)


def test_without_times_the_order_shows_single_drops(tmp_path):
    movie = interleaved()
    path = save(tmp_path, np.delete(movie, [21, 90], axis=0))
    recording = read(path, ReadOptions(fs=10, channels=("fluorescence", "reference"), demux="correlation"))
    assert np.argwhere(recording.table("qc")["demux_dropped"].values).tolist() == [[10, 1], [45, 0]]
    assert recording["fluorescence"].shape[0] == FRAMES
    np.testing.assert_array_equal(recording["reference"].values[-1], movie[-1])


def test_slices_of_a_placed_movie_equal_the_whole(tmp_path):
    path = save(tmp_path, np.delete(interleaved(), [7, 8, 9, 30], axis=0))
    movie = read(path, ReadOptions(fs=10, channels=("a", "b"), demux="correlation"))["a"]
    whole = movie.values
    for start, stop in ((0, 5), (2, 9), (14, 17), (50, None)):
        np.testing.assert_array_equal(movie.variable[start:stop].values, whole[start:stop])
    np.testing.assert_array_equal(movie.variable[::3].values, whole[::3])


def test_a_pause_is_not_filled():
    channel = np.arange(40) % 2
    time = np.arange(40) / 20 + np.where(np.arange(40) >= 20, 60.0, 0.0)
    table, begin = places(channel, cycles(channel, 2, time), 2)
    assert begin == 0
    np.testing.assert_array_equal(table, np.arange(40).reshape(20, 2))


def test_three_channels_by_order_alone():
    channel = np.array([0, 1, 2, 0, 2, 0, 1, 2, 1, 2])  # channel 0 is not seen in the last cycle
    table, _ = places(channel, cycles(channel, 3), 3)
    np.testing.assert_array_equal(table, [[0, 1, 2], [3, -1, 4], [5, 6, 7]])


def test_channels_survive_a_global_change_of_brightness():
    movie = interleaved().astype(np.float64)
    movie[50:] *= 1.7
    channel, margin = by_likeness(movie, 2)
    np.testing.assert_array_equal(channel, np.arange(len(movie)) % 2)
    assert margin.min() > 3


def test_a_wrong_table_and_missing_channels_are_named(tmp_path):
    path = save(tmp_path, interleaved())
    np.save(tmp_path / "leds.npy", np.zeros(5))
    with pytest.raises(DataError, match="channels of the frames cannot be told"):
        read(path, ReadOptions(fs=10, channels=("a", "b"), demux="table", frame_channel="leds.npy"))
    with pytest.raises(DataError, match="no table of channels"):
        read(path, ReadOptions(fs=10, channels=("a", "b"), demux="table", frame_channel="nothing.csv"))
    with pytest.raises(ConfigError, match="no interleaved channels"):
        read(path, ReadOptions(fs=10, demux="correlation"))


def test_real_frames_dropped_on_purpose(shared_data, tmp_path):
    import h5py

    with h5py.File(shared_data / "yulong_widefield" / "widefield_bin4_128_frames0-199.h5") as file:
        cameras = {name: np.asarray(file[name]) for name in ("red_camera", "green_camera", "frame_times_s")}
    lost = [31, 77, 120, 121]
    path = tmp_path / "short.npz"
    np.savez(path, **{name: np.delete(values, lost, axis=0) for name, values in cameras.items()})
    variables = {
        "fluorescence": VariablePlace(key="green_camera", first=0, every=2),
        "reference": VariablePlace(key="green_camera", first=1, every=2),
    }
    recording = read(path, ReadOptions(variables=variables, times="frame_times_s", demux="correlation"))
    dropped = recording.table("qc")["demux_dropped"].values
    assert {2 * row + column for row, column in np.argwhere(dropped)} == set(lost)
    there = ~dropped[:, 1]
    np.testing.assert_array_equal(recording["reference"].values[there], cameras["green_camera"][1::2][there])


def alike(seed: int, ratio: float, frames: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Two channels of one pattern, the second `ratio` times as bright, a tenth of a per cent of frames dropped, with photon noise."""
    generator = np.random.default_rng(seed)
    pattern = generator.uniform(200, 600, (24, 24))
    channel = np.delete(np.arange(frames) % 2, generator.choice(np.arange(4, frames - 4), 6, replace=False))
    slow = 1 + 0.01 * np.sin(np.arange(channel.size) / 30)
    level = np.where(channel == 1, ratio, 1.0) * slow
    return generator.poisson(pattern * level[:, None, None]).astype(np.uint16), channel


@pytest.mark.parametrize("ratio", [0.7, 0.9, 1.2])
def test_channels_that_differ_in_brightness_alone_are_told_apart(ratio):
    for seed in range(7):
        movie, truth = alike(seed, ratio)
        channel, margin = by_likeness(movie, 2)
        np.testing.assert_array_equal(channel, truth)
        assert np.mean(margin > 3) > 0.99


def test_channels_alike_in_all_are_refused_with_the_way_out(tmp_path):
    for seed in range(20):
        path = save(tmp_path, alike(seed, 1.0)[0])
        with pytest.raises(DataError, match="too much alike") as error:
            read(path, ReadOptions(fs=10, channels=("fluorescence", "reference"), demux="correlation"))
        assert "source.demux=table" in error.value.fix


def test_a_wrong_choice_is_never_silent(tmp_path):
    for seed in range(20):
        movie, truth = alike(seed, 1.0 + 0.002 * seed, frames=200)
        path = save(tmp_path, movie)
        try:
            made = read(path, ReadOptions(fs=10, channels=("a", "b"), demux="correlation"))
        except DataError:
            continue
        there = ~made.table("qc")["demux_dropped"].values[:, 0]
        given = made["a"].values[there]
        assert all((frame == movie[truth == 0]).all(axis=(1, 2)).any() for frame in given)
