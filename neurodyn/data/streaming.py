"""Reading what does not fit into memory: Zarr chunks decoded once, kept within bounds, and ahead of their use."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from queue import Empty, Queue
from typing import TypeVar

import numpy as np
import xarray as xr

FRAMES = 512  # of what comes without chunks
T = TypeVar("T")
Key = tuple[int, int]


class ChunkStore:
    """Stretches of frames of several arrays on disk, each as long as a Zarr chunk, the latest used kept in memory.

    It keeps two stretches at least, so that a window over the border of two is read once.

    Parameters
    ----------
    arrays
        On disk, time first.
    limit
        Bytes to keep.
    readable
        Frames of each array that may be read, bool, shape (time,); None for all.
    """

    def __init__(self, arrays: Sequence[xr.Variable], limit: int, readable: Sequence[np.ndarray] | None = None) -> None:
        self.arrays, self.limit, self.bytes, self.readable = tuple(arrays), limit, 0, readable
        self.lengths = [_chunk_length(array) for array in self.arrays]
        self._kept: OrderedDict[Key, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return type(self), (self.arrays, self.limit, self.readable)

    def read(self, array: int, first: int, frames: int) -> np.ndarray:
        """Return `frames` frames of an array from `first` on."""
        length = self.lengths[array]
        numbers = range(first // length, (first + frames - 1) // length + 1)
        parts = []
        for number in numbers:
            begin = number * length
            parts.append(self._stretch(array, number)[max(0, first - begin) : first + frames - begin])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _stretch(self, array: int, number: int) -> np.ndarray:
        key, length = (array, number), self.lengths[array]
        with self._lock:
            if key not in self._kept:
                may = None if self.readable is None else self.readable[array]
                found = read_frames(self.arrays[array], number * length, (number + 1) * length, may)
                self._kept[key] = found
                self.bytes += found.nbytes
                while self.bytes > self.limit and len(self._kept) > 2:
                    self.bytes -= self._kept.popitem(last=False)[1].nbytes
            self._kept.move_to_end(key)
            return self._kept[key]


def read_frames(array: xr.Variable, first: int, stop: int, may: np.ndarray | None = None) -> np.ndarray:
    """Read frames of an array from `first` to before `stop`.

    Parameters
    ----------
    may
        Frames of the array that may be read, bool, shape (time,), NaN in place of the others; None for all.
    """
    asked = np.ones(0, dtype=bool) if may is None else may[first:stop]
    if asked.all():
        return np.asarray(array[first:stop].values)
    out = np.full((asked.size, *array.shape[1:]), np.nan, dtype=np.float32)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], asked, [False]])))
    for begin, end in edges.reshape(-1, 2):
        out[begin:end] = array[first + begin : first + end].values
    return out


def _chunk_length(array: xr.Variable) -> int:
    chunks = array.encoding.get("chunks")
    return int(chunks[0]) if chunks else FRAMES


def prefetch(items: Iterable[T]) -> Iterator[T]:
    """Yield items, one of which is made in a thread while another is in use.

    What making them raises is raised here; the thread ends with this iterator.
    """
    queue: Queue[tuple[T | None, BaseException | None]] = Queue(maxsize=1)
    over = threading.Event()
    thread = threading.Thread(target=_fill, args=(items, queue, over), daemon=True)
    thread.start()
    try:
        while True:
            item, error = queue.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
            del item
    finally:
        over.set()
        while thread.is_alive():
            try:
                queue.get(timeout=0.01)
            except Empty:
                continue


def _fill(items: Iterable[T], queue: Queue[tuple[T | None, BaseException | None]], over: threading.Event) -> None:
    try:
        for item in items:
            if over.is_set():
                return
            queue.put((item, None))
        queue.put((None, None))
    except BaseException as error:  # noqa: BLE001 - raised again where the items are used
        queue.put((None, error))
