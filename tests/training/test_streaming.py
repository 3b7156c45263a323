"""Windows of recordings that need not fit into memory: the same batches, bounded reads."""

import pickle
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from neurodyn.data.recording import Recording
from neurodyn.data.store import create_variable
from neurodyn.data.streaming import ChunkStore, prefetch
from neurodyn.data.windows import Windows
from neurodyn.training.batches import TrainingBatches, ValidationBatches, prepare, read_batch
from neurodyn.training.config import load_run_config
from neurodyn.training.fit import _built, fit

LIMIT = "neurodyn.data.window_view.IN_MEMORY_BYTES"
MEGABYTE = 2**20


def long_movie(folder: Path, frames: int, side: int = 32, name: str = "long") -> Path:
    """Save a movie without ever holding it."""
    start = np.random.default_rng(0).normal(size=(64, side, side)).astype(np.float32)
    path = Recording.from_arrays({"dff": start[:1]}, rate_hz=10, session=name).save(folder / f"{name}.zarr")
    return _grown(path, start, frames)


def _grown(path: Path, start: np.ndarray, frames: int) -> Path:
    import zarr

    root = zarr.open_group(path, mode="a")
    attrs = dict(root["neural/dff"].attrs)
    del root["neural/dff"], root["neural/time"]
    target = create_variable(root, "dff", (frames, *start.shape[1:]), ("time", "y", "x"), np.float32, attrs)
    for first in range(0, frames, 512):
        count = min(512, frames - first)
        target[first : first + count] = np.resize(start, (count, *start.shape[1:])) + np.float32(first)
    time = root["neural"].create_array("time", shape=(frames,), dtype="float64", dimension_names=("time",))
    time[:] = np.arange(frames) / 10
    time.attrs["units"] = "s"
    return path


@pytest.fixture
def recording(tmp_path) -> Path:
    return long_movie(tmp_path, 2300, side=8)


def windows_of(path: Path, **changed) -> Windows:
    config = load_run_config("cst-tiny", None, ["windows.duration=1.3", "windows.stride=0.7"])[0].windows
    return Windows.cut([Recording.open(path)], config.model_copy(update=changed)).split()["train"]


def every_batch(windows: Windows, **place) -> list[dict]:
    epochs = [list(TrainingBatches(windows, 12, steps, 5, epoch, **place)) for epoch, steps in ((0, None), (1, 40))]
    pieces = [one for epoch in epochs for step in epoch for one in step] + list(ValidationBatches(windows, 7))
    assert all(len(step) == place.get("accumulate", 1) for epoch in epochs for step in epoch)
    return [vars(piece.batch) | {"rows": piece.rows, "whole": piece.whole} for piece in pieces]


@pytest.mark.parametrize("place", [{}, {"rank": 1, "ranks": 2, "accumulate": 3}])
@pytest.mark.parametrize("limit", [0, 500_000])
def test_streamed_batches_are_those_from_memory_bit_for_bit(recording, monkeypatch, limit, place):
    expected = every_batch(windows_of(recording), **place)
    monkeypatch.setattr(LIMIT, limit)
    streamed = windows_of(recording)
    assert streamed.streamed
    found = every_batch(streamed, **place)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for name, value in other.items():
            assert torch.equal(one[name], value) if isinstance(value, torch.Tensor) else one[name] == value, name


def test_a_streamed_run_ends_with_the_same_weights(recording, tmp_path, monkeypatch):
    sets = ["model.patch=[4,4]", "windows.duration=0.8", "training.epochs=2", "training.batch=4", "training.warmup=2"]
    config = load_run_config("cst-tiny", None, [*sets, "training.steps_per_epoch=4", "training.accumulate=2"])[0]
    whole = fit(config, None, [recording], tmp_path / "whole", gpu="none")
    monkeypatch.setattr(LIMIT, 300_000)
    streamed = fit(config, None, [recording], tmp_path / "streamed", gpu="none")
    for name in ("model.safetensors", "metrics.csv"):
        assert (streamed / name).read_bytes() == (whole / name).read_bytes()


def test_windows_on_disk_survive_the_way_to_another_process(recording, monkeypatch):
    monkeypatch.setattr(LIMIT, 0)
    windows = windows_of(recording)
    values, _ = windows.values(slice(0, 5))
    again = pickle.loads(pickle.dumps(windows))
    assert len(pickle.dumps(windows)) < 200_000
    np.testing.assert_array_equal(again.values(slice(0, 5))[0], values)


class Counting:
    """An array on disk that counts how often each of its stretches is read."""

    def __init__(self, values: np.ndarray, chunk: int) -> None:
        self.values, self.encoding, self.reads = values, {"chunks": (chunk, 1)}, []

    def __getitem__(self, key: slice) -> xr.Variable:
        self.reads.append((key.start, key.stop))
        return xr.Variable(("time", "roi"), self.values[key])


def test_every_chunk_is_read_once_where_windows_are_read_in_order():
    array = Counting(np.arange(100.0)[:, None], 10)
    store = ChunkStore([array], limit=0)
    for first in range(0, 94, 3):
        np.testing.assert_array_equal(store.read(0, first, 7)[:, 0], np.arange(first, first + 7))
    np.testing.assert_array_equal(store.read(0, 71, 29)[:, 0], np.arange(71, 100))
    assert array.reads[:10] == [(start, start + 10) for start in range(0, 100, 10)]
    assert store.bytes == 2 * 80


def test_the_store_keeps_what_was_used_last_within_its_limit():
    arrays = [Counting(np.full((40, 1), float(k)), 10) for k in range(2)]
    store = ChunkStore(arrays, limit=3 * 80)
    for array, first in ((0, 0), (1, 0), (0, 10), (0, 0), (0, 20), (0, 0), (1, 0)):
        assert (store.read(array, first, 5) == array).all()
    assert arrays[0].reads == [(0, 10), (10, 20), (20, 30)]
    assert arrays[1].reads == [(0, 10), (0, 10)]
    assert store.bytes == 240


def test_a_batch_reads_what_it_needs_from_every_chunk_at_once(recording, monkeypatch):
    monkeypatch.setattr(LIMIT, 0)
    windows, reads = windows_of(recording), []
    stretch = ChunkStore._stretch

    def counted(self, array, number):
        before = self.bytes, list(self._kept)
        found = stretch(self, array, number)
        if (array, number) not in before[1]:
            reads.append(number)
        return found

    monkeypatch.setattr(ChunkStore, "_stretch", counted)
    read_batch(windows, np.random.default_rng(0).permutation(len(windows))[:64])
    assert sorted(set(reads)) == sorted(reads)


def test_items_are_made_ahead_and_errors_are_raised_where_they_are_used():
    made = []

    def items():
        for number in range(10):
            made.append(number)
            yield number
            if number == 5:
                raise OSError("a damaged chunk")

    seen = []
    with pytest.raises(OSError, match="damaged"):
        for item in prefetch(items()):
            seen.append(item)
    assert seen == [0, 1, 2, 3, 4, 5]
    threads = threading.active_count()
    for item in prefetch(range(1000)):
        if item == 3:
            break
    assert threading.active_count() == threads


def peak(path: Path, monkeypatch) -> int:
    """Return the largest memory that preparing a model and two epochs of batches took, bytes."""
    monkeypatch.setattr(LIMIT, 8 * MEGABYTE)
    windows = windows_of(path, stride=None)
    assert windows.streamed
    backend = _built(load_run_config("cst-tiny", None, ["model.patch=[8,8]"])[0], windows, 0)
    tracemalloc.start()
    try:
        prepare(backend, windows)
        for epoch in range(2):
            for _ in TrainingBatches(windows, 16, 20, 0, epoch):
                pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_recording(tmp_path, monkeypatch):
    short, long = (long_movie(tmp_path, frames, name=str(frames)) for frames in (3000, 20000))
    sizes = [peak(path, monkeypatch) / MEGABYTE for path in (short, long)]  # of 12 and 78 MB
    assert sizes[1] < 1.15 * sizes[0]
    assert sizes[1] < 78 / 2
