# pynwb makes its attributes at run time, so that a type checker cannot see them.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
"""The clock of an NWB series: times of its samples, in seconds, and what is done where they cannot be."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from pynwb import TimeSeries

from neurodyn.core.errors import DataError
from neurodyn.data.damage import check_packed
from neurodyn.readers.questions import Need, QuestionError
from neurodyn.readers.sources import NoRateError

LOGGER = logging.getLogger(__name__)
SECONDS = {"second": 1.0, "sec": 1.0, "s": 1.0, "millisecond": 1e-3, "msec": 1e-3, "ms": 1e-3, "microsecond": 1e-6}
SAME = 0.01  # of a frame by which times of one clock may differ


@dataclass(frozen=True)
class Clock:
    """Times of a series' samples.

    Parameters
    ----------
    times
        In seconds, shape (time,); finite and increasing.
    rate_hz
        As the series says it, or the user where it says none; None where it has times alone.
    said
        What was done to the times in the file; "" where they are as the file has them.
    """

    times: np.ndarray
    rate_hz: float | None
    said: str = ""

    @classmethod
    def of(cls, path: Path, key: str, item: TimeSeries, count: int, fs: float | None) -> Self:
        """Return the times of a series; where the file's cannot be, those of the rate that the user gives.

        Parameters
        ----------
        key
            What the series is called in messages.
        count
            How many samples it has.
        fs
            Samples per second, where the user gives them.

        Raises
        ------
        QuestionError
            If the file's times or rate cannot be, and no rate is given.
        """
        found, wrong = stated(path, item, count)
        if not wrong:
            return cls(found, item.rate)
        if fs is None:
            raise _question(path, key, item, found, wrong)
        start = float(found[0]) if found.size and np.isfinite(found[0]) else 0.0
        said = f"{key}: {wrong} The frames are taken to be {fs:g} per second from {start:g} s on, as --fs says."
        return cls(start + np.arange(count) / fs, fs, said)

    def apart(self, other: Clock) -> str:
        """Say how two clocks differ; "" where they do not."""
        if self.times.size != other.times.size:
            return f"with {self.times.size} and {other.times.size} frames"
        frame = float(np.median(np.diff(self.times))) if self.times.size > 1 else np.inf
        off = np.abs(self.times - other.times)
        if not (off > SAME * frame).any():
            return ""
        return f"which differ by up to {off.max():.4g} s, and begin at {self.times[0]:g} and {other.times[0]:g} s"


def stated(path: Path, item: TimeSeries, count: int) -> tuple[np.ndarray, str]:
    """Return the times that a series states, s, and what is wrong with them; "" where nothing is.

    Raises
    ------
    DataError
        If they are in a unit that is none of time.
    """
    if item.timestamps is not None:
        second = _second(path, item.timestamps)
        times = np.asarray(item.timestamps[:], dtype=np.float64) * second
        return times, _fault(times, count)
    start = _start(path, item)
    if item.rate is None or not np.isfinite(item.rate) or item.rate <= 0:
        return np.array([start]), f"its rate is {item.rate}, and it has no times."
    check_packed(path, (count,), np.uint8)
    return start + np.arange(count) / item.rate, ""


def _start(path: Path, item: TimeSeries) -> float:
    start = item.starting_time
    if start is None or not np.isfinite(start):
        return 0.0
    group: Any = item.data.parent if isinstance(item.data, h5py.Dataset) else {}
    return float(start) * (_second(path, group["starting_time"]) if "starting_time" in group else 1.0)


def _second(path: Path, dataset: Any) -> float:
    """Return seconds per unit of times; NWB demands seconds, and some files say that they have others."""
    unit = dataset.attrs.get("unit", "seconds") if isinstance(dataset, h5py.Dataset) else "seconds"
    name = (unit.decode() if isinstance(unit, bytes) else str(unit)).strip().lower()
    second = SECONDS.get(name, SECONDS.get(name.removesuffix("s"))) if name else 1.0
    if second is None:
        raise DataError(
            f"{path}: the times of {dataset.parent.name} are in '{unit}'.",
            f"Expected seconds, as NWB demands; also read: {', '.join(SECONDS)}.",
            "Mend the attribute 'unit' of its timestamps with h5py.",
        )
    if second != 1.0:
        LOGGER.warning("The times of %s are in %s, against the standard; they are read so.", dataset.parent.name, unit)
    return second


def _fault(times: np.ndarray, count: int) -> str:
    if times.size != count:
        return f"it has {times.size} times for {count} frames."
    steps = np.diff(times)
    if np.isfinite(times).all() and (steps > 0).all():
        return ""
    bad = int(np.argmax(~np.isfinite(times) | np.r_[False, ~(steps > 0)]))
    before = f", after one at {times[bad - 1]:g} s" if bad and np.isfinite(times[bad]) else ""
    return f"its times do not increase: frame {bad} is at {times[bad]:g} s{before}."


def _question(path: Path, key: str, item: TimeSeries, times: np.ndarray, wrong: str) -> QuestionError:
    steps = np.diff(times)
    steps = steps[np.isfinite(steps) & (steps > 0)]
    plane = getattr(item, "imaging_plane", None) or getattr(getattr(item, "rois", None), "table", None)
    plane = getattr(plane, "imaging_plane", plane)
    planned = getattr(plane, "imaging_rate", None)
    rate, why = None, ""
    if steps.size:
        rate, why = float(f"{1 / np.median(steps):.6g}"), "; the median interval says this"
    elif planned is not None and np.isfinite(planned) and planned > 0:
        rate, why = float(planned), "; the imaging plane says this"
    lines = (f"{path}: the times of {key} cannot be used.", f"{wrong[0].upper()}{wrong[1:]}")
    fix = f"Give the rate, which takes their place: --fs {f'{rate:g}' if rate else '30'}"
    if rate is None:
        return NoRateError(*lines, fix, need=Need("--fs HZ", f"{key}: {wrong}"), guess={"fs": 1.0})
    return QuestionError(*lines, fix, need=Need(f"--fs {rate:g}", f"{key}: {wrong[:-1]}{why}"), guess={"fs": rate})
