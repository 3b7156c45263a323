"""Units of time, what a rate says of them, and what frame times say of frames that are not there."""

from __future__ import annotations

import logging
import re
from typing import Literal

import numpy as np

LOGGER = logging.getLogger(__name__)
Unit = Literal["s", "ms", "us", "min"]
SECONDS: dict[Unit, float] = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0}
WORDS: dict[Unit, tuple[str, ...]] = {
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"),
    "us": ("us", "\u00b5s", "\u03bcs", "usec", "usecs", "micros", "microsecond", "microseconds"),
    "min": ("min", "mins", "minute", "minutes"),
}
UNIT_OF: dict[str, Unit] = {word: unit for unit, words in WORDS.items() for word in words}
IN_BRACKETS = re.compile(r"[\s_]*[(\[{]\s*(?:in\s+)?([^\W\d_]+)\.?\s*[)\]}]\s*$")
AT_THE_END = re.compile(r"[\s_.\-]+([^\W\d_]+)$")
TIME = re.compile(r"(^|_)(t|times?|timestamps?|time_stamps?)($|_)")
GAP_FRAMES = 1.5
RATES = (0.5, 2000.0)  # Hz; others are asked about where they follow from times whose unit nothing says


def split_unit(name: str) -> tuple[str, Unit | None]:
    """Return the name of a column in lower case with underscores, without its unit, and the unit; as in "Time Stamp (ms)"."""
    unit, rest = None, name.strip()
    if (
        (found := IN_BRACKETS.search(rest))
        and found[1].lower() in UNIT_OF
        or (found := AT_THE_END.search(rest))
        and found[1].lower() in UNIT_OF
        and found[1].lower() != "min"
    ):
        unit, rest = UNIT_OF[found[1].lower()], rest[: found.start()]
    return re.sub(r"[\s.\-]+", "_", rest.strip().lower()), unit


def is_time(name: str) -> bool:
    """Say whether a column is called after time."""
    return TIME.search(split_unit(name)[0]) is not None


def seconds(values: np.ndarray, name: str, told: Unit | None, said: Unit | None = None) -> np.ndarray:
    """Return times in seconds, in the unit told, else in the one the file says, else in the one of their name.

    Parameters
    ----------
    told
        By the user; where it contradicts the file, it counts, with a warning.
    said
        By the file beside the name.
    """
    said = said or split_unit(name)[1]
    if told and said and told != said:
        LOGGER.warning("%s says %s; it is read in %s, as told.", name, said, told)
    return values * SECONDS[told or said or "s"]


def likelier_unit(rate_hz: float) -> Unit | None:
    """Return the unit in which times would give a rate as recordings have it, where seconds do not; None where none does.

    Parameters
    ----------
    rate_hz
        As the times give it, taken for seconds.
    """
    units: tuple[Unit, ...] = ("ms", "us", "min")
    return next((unit for unit in units if RATES[0] <= rate_hz / SECONDS[unit] <= RATES[1]), None)


def is_usual(rate_hz: float) -> bool:
    """Say whether a frame rate is one that recordings have."""
    return RATES[0] <= rate_hz <= RATES[1]


def alternates(time: np.ndarray) -> tuple[float, float] | None:
    """Return the two lengths, s, between which the intervals of frames alternate; None where they do not.

    Parameters
    ----------
    time
        Frame times, s, shape (time,).
    """
    steps = np.diff(time)
    if steps.size < 6:
        return None
    pair = (steps[::2], steps[1::2])
    one, other = (float(np.median(each)) for each in pair)
    spread = max(float(np.median(np.abs(each - middle))) for each, middle in zip(pair, (one, other), strict=True))
    return (one, other) if abs(one - other) > max(0.1 * min(one, other), 4 * spread) else None


def missing_frames(time: np.ndarray, rate_hz: float) -> np.ndarray:
    """Return how many frames are missing between each two, whole numbers, shape (time - 1,).

    Parameters
    ----------
    time
        Frame times, s, shape (time,).
    """
    return np.maximum(np.rint(np.diff(time) * rate_hz).astype(np.int64), 1) - 1


def stretch_starts(time: np.ndarray, rate_hz: float) -> np.ndarray:
    """Return the first frame of every stretch that no gap of 1.5 frames or more interrupts.

    Parameters
    ----------
    time
        Frame times, s, shape (time,).
    """
    return np.r_[0, np.flatnonzero(np.diff(time) * rate_hz > GAP_FRAMES) + 1].astype(np.int64)


def stretch_slices(starts: np.ndarray, frames: int) -> list[slice]:
    """Return the stretches as slices of time."""
    return [slice(int(a), int(b)) for a, b in zip(starts, np.r_[starts[1:], frames], strict=True)]
