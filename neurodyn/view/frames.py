"""Movie frames as a browser draws them: the blocks around a frame read from disk, kept in bounded memory, made 8-bit."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import xarray as xr

BLOCK = 90 * 2**20  # bytes of movie kept as one: neighbours of a frame cost no more reading than the frame
KEPT = 2  # blocks: the one that is shown, and the next
PLAYING = 60  # frames that a movie goes on between two pictures, at most
UNCHUNKED = 16  # frames per block of what is not in Zarr
LARGEST = 1024  # pixels along an edge; of larger frames every second, third, … pixel is shown
GREYS = (1.0, 99.8)  # percentiles shown as black and white


@dataclass(frozen=True)
class Movie:
    """A movie on disk.

    Parameters
    ----------
    name
        Of the variable.
    variable
        Shape (time, y, x).
    time
        s, shape (time,).
    chunk
        Frames that are read together, as a Zarr chunk holds.
    """

    name: str
    variable: xr.Variable
    time: np.ndarray
    chunk: int = UNCHUNKED

    @property
    def step(self) -> int:
        """Every which pixel is shown."""
        return -(-max(self.variable.shape[1:]) // LARGEST)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a frame as shown."""
        rows, columns = (-(-size // self.step) for size in self.variable.shape[1:])
        return rows, columns

    @property
    def length(self) -> int:
        """Frames in a block: a part of a chunk that divides it evenly enough, within `BLOCK` bytes."""
        frame = self.variable.dtype.itemsize * int(np.prod(self.shape))
        pieces = -(-self.chunk * frame // BLOCK)
        return max(1, -(-self.chunk // pieces))

    def index(self, at: float) -> int:
        """Return the frame that is on the screen at a time, s."""
        half = 0.5 * float(np.median(np.diff(self.time[:100]))) if self.time.size > 1 else 0.0
        return int(np.clip(np.searchsorted(self.time, at + half, side="right") - 1, 0, self.time.size - 1))

    def read(self, first: int, stop: int) -> np.ndarray:
        """Read frames as shown, shape (time, y, x)."""
        return np.asarray(self.variable[first:stop, :: self.step, :: self.step].values)


class Frames:
    """Frames of several movies; the next block is read ahead while a movie plays."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int], Future[np.ndarray]] = OrderedDict()
        self._lock = threading.Lock()
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="frames")  # one for who waits, one ahead
        self._last = ("", 0)

    def frame(self, movie: Movie, index: int) -> np.ndarray:
        """Return one frame, shape (y, x)."""
        number, place = divmod(index, movie.length)
        block = self._block(movie, number)
        plays = self._last[0] == movie.name and 0 < index - self._last[1] <= PLAYING
        self._last = movie.name, index
        if plays and place >= movie.length // 2 and (number + 1) * movie.length < movie.time.size:
            self._block(movie, number + 1)
        return block.result()[place]

    def close(self) -> None:
        """Read nothing more."""
        self._readers.shutdown(wait=False, cancel_futures=True)

    def _block(self, movie: Movie, number: int) -> Future[np.ndarray]:
        """Return a block that is read, or being read."""
        key = movie.name, number
        with self._lock:
            known = self._kept.get(key)
            if known is None or (known.done() and known.exception() is not None):  # a failure is tried again
                while len(self._kept) >= KEPT:
                    self._kept.popitem(last=False)
                first = number * movie.length
                self._kept[key] = self._readers.submit(movie.read, first, first + movie.length)
            self._kept.move_to_end(key)
            return self._kept[key]


@dataclass(frozen=True)
class Levels:
    """What is black and what is white, and the lowest and highest value that there is, in units of the picture."""

    low: float
    high: float
    lowest: float
    highest: float


def levels(picture: np.ndarray) -> Levels:
    """Choose levels from a picture by its percentiles, NaN left out.

    Parameters
    ----------
    picture
        Any shape.
    """
    finite = picture[np.isfinite(picture)]
    if not finite.size:
        return Levels(0.0, 1.0, 0.0, 1.0)
    low, high = (float(value) for value in np.percentile(finite, GREYS))
    lowest, highest = float(finite.min()), float(finite.max())
    if high <= low:
        low, high = lowest, highest
    return Levels(low, high if high > low else low + 1.0, lowest, highest if highest > lowest else lowest + 1.0)


def greys(picture: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return a picture as 8-bit greys from `low` (black) to `high` (white), NaN black.

    Parameters
    ----------
    picture
        Shape (y, x).
    """
    scaled = (picture.astype(np.float32) - np.float32(low)) * np.float32(255.0 / max(high - low, 1e-30))
    return np.nan_to_num(np.clip(scaled, 0, 255)).astype(np.uint8)
