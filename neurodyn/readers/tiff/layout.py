"""In which order frames lie in files: a table of time points, planes and channels; ImageJ's and other plain headers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurodyn.core.errors import DataError
from neurodyn.readers.lazy_views import frames_at
from neurodyn.readers.stacks import Stack

TO_SECONDS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("µs", "us", "usec", "\\u00B5s"), 1e-6),
    **dict.fromkeys(("min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
}
MOST = 2**25  # frames that a header may promise; a table of more would not be small any more
AXES = {"T": "time points", "Z": "planes", "C": "channels"}


@dataclass(frozen=True)
class Order:
    """Which frame is which.

    Parameters
    ----------
    rows
        Frame of the source, or -1 where it is missing, shape (time, plane, channel).
    rate_hz
        Frames per second, channel and plane; where `slots` tell of bursts, within one.
    slots
        When each frame was taken, in frames at `rate_hz`, shape (time, plane); None where one follows the other.
    times
        When each frame was taken, s, shape (time, plane), where the source says so.
    span
        How many slots there would be were none missing; None: one per time point.
    words
        What the frames were recognised as, and by what.
    losses
        Frames that are missing or left out, in words.
    """

    rows: np.ndarray
    rate_hz: float | None = None
    slots: np.ndarray | None = None
    times: np.ndarray | None = None
    span: float | None = None
    words: str = ""
    losses: tuple[str, ...] = ()

    @property
    def length(self) -> float:
        """How many slots there would be were none missing."""
        return float(len(self.rows)) if self.span is None else self.span

    @property
    def clock(self) -> np.ndarray:
        """When each frame was taken, in slots, shape (time, plane)."""
        if self.slots is not None:
            return self.slots
        return np.repeat(np.arange(len(self.rows), dtype=np.float64)[:, None], self.rows.shape[1], axis=1)

    def within(self, count: int) -> Order:
        """Return the time points whose frames are all among the first `count`."""
        whole = np.all((self.rows >= 0) & (self.rows < count), axis=(1, 2))
        if np.all(whole):
            return self
        gap = not np.all(whole[: int(np.sum(whole))])
        slots = self.clock[whole] if gap or self.slots is not None else None
        times = None if self.times is None else self.times[whole]
        return replace(self, rows=self.rows[whole], slots=slots, times=times, span=self.length)

    def stack(self, frames: Any) -> Stack:
        """Return the stack over frames in the order of the source, shape (frame, y, x)."""
        slots, times = self.slots, self.times
        return Stack(
            lambda channel, plane: frames_at(frames, self.rows[:, plane, channel]),
            channels=self.rows.shape[2],
            planes=self.rows.shape[1],
            rate_hz=self.rate_hz,
            slots=None if slots is None else lambda plane: slots[:, plane],
            times=None if times is None else lambda plane: times[:, plane],
            layout="; ".join((*filter(None, (self.words,)), *self.losses)),
            losses=self.losses,
        )


def of_sizes(sizes: Mapping[str, int], rate_hz: float | None = None, words: str = "") -> Order:
    """Return the order of frames that lie in nested loops over T, Z and C, the slowest first; what is missing has one."""
    table = np.arange(int(np.prod(list(sizes.values()), dtype=np.int64))).reshape(tuple(sizes.values()))
    present = [axis for axis in "TZC" if axis in sizes]
    table = table.transpose([list(sizes).index(axis) for axis in present])
    shape = tuple(sizes.get(axis, 1) for axis in "TZC")
    return Order(table.reshape(shape), rate_hz, words=words)


def counted(sizes: Mapping[str, int]) -> str:
    """Say how many time points, planes and channels there are, as a line of words."""
    several = [f"{sizes[axis]} {AXES[axis]}" for axis in "TZC" if sizes.get(axis, 1) > 1]
    return ", ".join(several) or "one frame"


def joined(orders: Sequence[Order], counts: Sequence[int]) -> Order:
    """Lay orders end to end in time.

    Parameters
    ----------
    counts
        Frames that each one's source has.
    """
    if len(orders) == 1:
        return orders[0]
    first, borders = orders[0], np.cumsum([0, *counts])
    losses = tuple(dict.fromkeys(loss for order in orders for loss in order.losses))
    rows = np.concatenate([order.rows + border for order, border in zip(orders, borders[:-1], strict=True)])
    rate = next((order.rate_hz for order in orders if order.rate_hz), None)
    regular = all(order.slots is None and order.length == len(order.rows) for order in orders[:-1])
    slots = None
    if not regular or orders[-1].slots is not None:
        begins = np.cumsum([0.0, *(order.length for order in orders)])
        slots = np.concatenate([order.clock + begin for order, begin in zip(orders, begins[:-1], strict=True)])
    return replace(first, rows=rows, rate_hz=rate, slots=slots, times=_continued(orders), span=None, losses=losses)


def _continued(orders: Sequence[Order]) -> np.ndarray | None:
    """Lay the times of orders end to end, s, shape (time, plane); a clock that starts again goes on one frame later."""
    parts: list[np.ndarray] = []
    for order in orders:
        if order.times is None or len(order.times) < 2 and not parts:
            return None
        if parts:
            last, period = parts[-1][-1], float(np.median(np.diff(parts[0][:, 0])))
            again = order.times[0, 0] <= last.max()
            parts.append(order.times - order.times[0, 0] + last[0] + period if again else order.times)
        else:
            parts.append(order.times)
    return np.concatenate(parts)


def rising(times: np.ndarray) -> bool:
    """Say whether times are finite and increase from frame to frame in every plane, shape (time, plane)."""
    return bool(np.isfinite(times).all() and (np.diff(times, axis=0) > 0).all())


def of_imagej(path: Path, header: Mapping[str, Any], pages: int) -> tuple[Order, int]:
    """Return the order that ImageJ's header gives, and how many frames it promises.

    ImageJ writes slices where nothing was said of time; slices without frames are taken for time points.

    Raises
    ------
    DataError
        If the header contradicts itself, or promises fewer frames than there are pages.
    """
    order = str(header.get("order", "czt")).lower()
    names = {"T": "frames", "Z": "slices", "C": "channels"}
    said = {axis: max(1, _count(header.get(name))) for axis, name in names.items()}
    promised, images = math.prod(said.values()), _count(header.get("images"))
    check_promise(path, max(promised, images))
    if promised == 1:
        said["T"] = promised = max(images, pages)
    listed = ", ".join(f"{name} {said[axis]}" for axis, name in names.items()) + f", images {images}"
    if pages > promised or sorted(order) != sorted("czt") and order != "default":
        raise DataError(
            f"{path}: ImageJ's header does not fit the frames.",
            f"The header says {listed}; the file has {pages} pages.",
            "Save it again from ImageJ (Image > Properties sets channels, slices and frames).",
        )
    loops = [axis.upper() for axis in reversed("czt" if order == "default" else order)]
    sizes = timed({axis: said[axis] for axis in loops})
    words = f"ImageJ's header: {counted(sizes)}"
    if said["T"] == 1 and said["Z"] > 1 and said["C"] == 1:
        words += " (slices taken for time points)"
    return of_sizes(sizes, imagej_rate(header), words), promised


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 1


def check_promise(path: Path, frames: int) -> None:
    """Refuse a header that promises more frames than any file has: it is damaged.

    Raises
    ------
    DataError
        Before memory is asked for.
    """
    if frames > MOST:
        raise DataError(
            f"{path} says that it holds more than it can.",
            f"Its header promises {frames:,} frames; at most {MOST:,} are read.",
            "Check that the file is whole; copy it again.",
        )


def timed(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the sizes of loops, one that is alone and no channel counting time points."""
    several = [axis for axis, size in sizes.items() if size > 1]
    if len(several) == 1 and several[0] != "C":
        return {"T": sizes[several[0]]}
    return {axis: size for axis, size in sizes.items() if size > 1 or axis == "T"}


def imagej_rate(header: Mapping[str, Any]) -> float | None:
    """Return frames per second where ImageJ's header says them."""
    return rate_of(header.get("finterval"), str(header.get("tunit", "s")))


def rate_of(period: Any, unit: str) -> float | None:
    """Return the rate of a period in a unit; None where it is none, or the unit is unknown."""
    try:
        seconds = float(period) * TO_SECONDS.get(unit.strip().lower(), 0.0)
    except (TypeError, ValueError):
        return None
    return 1 / seconds if np.isfinite(seconds) and seconds > 0 else None


def of_axes(path: Path, axes: str, shape: tuple[int, ...]) -> Order:
    """Return the order of one image series from the axes that tifffile names.

    Raises
    ------
    DataError
        If it is no series of grey frames.
    """
    leading = {axis: int(n) for axis, n in zip(axes[:-2], shape[:-2], strict=True) if n > 1}
    if len(leading) == 1 and "C" not in leading:
        leading = {"T": next(iter(leading.values()))}
    if not axes.endswith("YX") or set(leading) - set("TZC"):
        raise not_a_stack(path, f"axes {axes} of shape {shape}")
    check_promise(path, math.prod(leading.values()))
    sizes = leading if "T" in leading else {"T": 1} | leading
    return of_sizes(sizes, words="" if list(sizes) == ["T"] else f"axes {axes}: {counted(sizes)}")


def natural(name: str) -> list[int | str]:
    """Return a key that sorts names by the numbers in them: "2" before "10"."""
    return [int(part) if k % 2 else part for k, part in enumerate(re.split(r"(\d+)", name))]


def not_a_stack(path: Path, found: str) -> DataError:
    """Return what to tell the user of a TIFF that is no movie."""
    return DataError(
        f"{path} is not a stack of grey frames.",
        f"Found {found}; expected (time, y, x), perhaps with channels and planes.",
        "Export it as a grey stack; name interleaved channels: --channels a,b",
    )
