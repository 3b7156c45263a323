"""What was recorded: traces or a movie over the whole time, and a minute of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from neurodyn.data.recording import Recording
from neurodyn.data.store import chunk_shape
from neurodyn.report.blocks import Figure, Section, Table
from neurodyn.report.style import BLACK, BLUE, SKY, draw, image

SECONDS = 60.0
LONGER = 2  # times a minute, from which on a minute is shown by itself
READ_BYTES, BLOCK_BYTES = 2**30, 16 * 2**20
POINTS = 2000
MOST_EVENTS = 100
SHOWN_ROIS = 8
PREFERENCE = ("dff", "corrected", "zscore", "spikes", "fluorescence")


def data_table(recordings: list[Recording]) -> Table:
    """Say what each recording is, in numbers with units."""
    rows = []
    for recording in recordings:
        first = recording.neural[recording.variables[0]]
        size = " × ".join(map(str, first.shape[1:])) + (" pixels" if first.ndim == 3 else " ROIs")
        table = recording.table("stimulus")
        events = "–" if table is None else str(table.sizes.get("event", 0))
        units = ", ".join(f"{name} ({recording.neural[name].attrs['units']})" for name in recording.variables)
        span = recording.time[-1] - recording.time[0]
        rows.append(
            [recording.session, recording.indicator, size, f"{recording.rate_hz:g}", f"{span:.0f}", events, units]
        )
    header = ["Session", "Indicator", "Frame", "Rate (Hz)", "Length (s)", "Events", "Variables (unit)"]
    return Table("Recordings.", header, rows, frozenset({3, 4, 5}))


def best_variable(recording: Recording) -> str:
    """Return the variable to show: the most processed one with a name the package knows, else the last."""
    names = recording.variables
    return next((name for name in PREFERENCE if name in names), names[-1])


def signals_section(recording: Recording, variable: str | None = None) -> Section:
    """Show one variable over the whole recording, then a minute of it in which single responses can be seen."""
    name = variable if variable in recording.variables else best_variable(recording)
    seen = overview(recording, name)
    movie = recording.neural[name].ndim == 3
    figures = [_movie(recording, name, seen) if movie else _traces(recording, name, seen, slice(None))]
    frames = stretch(recording)
    if frames.stop - frames.start < recording.time.size / LONGER:
        figures.append(_course(recording, name, seen, frames) if movie else _traces(recording, name, seen, frames))
    return Section(f"Signals: {recording.session}", figures)


@dataclass(frozen=True)
class Overview:
    """What one reading of a variable shows.

    Parameters
    ----------
    mean, spread
        Mean and standard deviation over time of each ROI or pixel, shape (*space).
    course
        Mean over ROIs or the brain of each frame that was read, NaN for the others, shape (time,).
    share
        Share of the frames that were read.
    """

    mean: np.ndarray
    spread: np.ndarray
    course: np.ndarray
    share: float


def overview(recording: Recording, name: str) -> Overview:
    """Read a variable in blocks of frames: all of it, or of one beyond 1 GiB evenly spaced blocks."""
    array, brain = recording.neural[name], recording.brain
    space = array.shape[1:]
    mask = brain if brain is not None and brain.shape == space else np.ones(space, dtype=bool)
    total, squares, count = (np.zeros(space) for _ in range(3))
    course = np.full(array.shape[0], np.nan)
    stretches = _blocks(array.shape, array.dtype.itemsize)
    for frames in stretches:
        read = array.variable[frames].values
        good = np.isfinite(read)
        values = np.where(good, read, 0).astype(float)
        total += values.sum(axis=0)
        squares += np.square(values).sum(axis=0)
        count += good.sum(axis=0)
        counted = good[:, mask].sum(axis=1)
        course[frames] = np.divide(
            values[:, mask].sum(axis=1), counted, out=np.full(counted.shape, np.nan), where=counted > 0
        )
    known = np.maximum(count, 1)
    mean = np.where(count > 0, total / known, np.nan)
    spread = np.where(count > 0, np.sqrt(np.maximum(squares / known - np.square(total / known), 0)), np.nan)
    return Overview(mean, spread, course, sum(s.stop - s.start for s in stretches) / array.shape[0])


def _blocks(shape: tuple[int, ...], itemsize: int) -> list[slice]:
    """Return blocks of frames, whole chunks each: all, or evenly spaced ones within the budget."""
    frame = itemsize * math.prod(shape[1:])
    chunk = chunk_shape(shape)[0]
    step = chunk * max(1, BLOCK_BYTES // max(1, frame * chunk))
    starts = np.arange(0, shape[0], step)
    most = max(2, READ_BYTES // max(1, frame * step))
    if starts.size > most:
        starts = starts[np.unique(np.linspace(0, starts.size - 1, most).round().astype(int))]
    return [slice(int(start), min(int(start) + step, shape[0])) for start in starts]


def stretch(recording: Recording) -> slice:
    """Return the frames of a minute from just before the first event."""
    table = recording.table("stimulus")
    begin = recording.time[0]
    if table is not None and table.sizes.get("event", 0):
        begin = max(begin, float(table["start"].values.min()) - 2.0)
    first, last = (int(at) for at in np.searchsorted(recording.time, (begin - 1e-9, begin + SECONDS)))
    return slice(first, max(last, first + 2))


def shade_events(axes: Axes, recording: Recording, begin: float, end: float) -> None:
    """Shade the time of each stimulus event between two times, s; none where there are too many to be told apart."""
    for start, stop in _events(recording, begin, end):
        axes.axvspan(max(start, begin), min(stop, end), color=SKY, alpha=0.22, lw=0)


def _events(recording: Recording, begin: float, end: float) -> list[tuple[float, float]]:
    table = recording.table("stimulus")
    if table is None:
        return []
    pairs = zip(table["start"].values.tolist(), table["stop"].values.tolist(), strict=True)
    found = [(start, stop) for start, stop in pairs if stop > begin and start < end]
    return found if len(found) <= MOST_EVENTS else []


def _shading(recording: Recording, begin: float, end: float) -> str:
    """Say what is shaded between two times, s."""
    if recording.table("stimulus") is None:
        return ""
    return " Shaded: stimulus on." if _events(recording, begin, end) else ""


def _when(recording: Recording, time: np.ndarray) -> str:
    whole = time.size == recording.time.size
    return f"{time[0]:.0f} to {time[-1]:.0f} s{', the whole recording' if whole else ''}"


def _read(seen: Overview) -> str:
    if seen.share == 1:
        return ""
    return f" Of this large movie {seen.share:.0%} of the frames were read, in blocks spread evenly over it."


def _traces(recording: Recording, name: str, seen: Overview, frames: slice) -> Figure:
    time, unit = recording.time[frames], recording.neural[name].attrs["units"]
    shown = np.sort(np.argsort(-np.nan_to_num(seen.spread), kind="stable")[:SHOWN_ROIS])
    values = np.stack(
        [thinned(recording.neural[name].variable[frames, int(roi)].values.astype(float)) for roi in shown], axis=1
    )
    at = thinned(time)
    step = 1.1 * float(np.nanmax(np.nanmax(values, axis=0) - np.nanmin(values, axis=0))) or 1.0

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        shade_events(axes, recording, time[0], time[-1])
        for row in range(shown.size):
            axes.plot(at, values[:, -1 - row] - np.nanmedian(values[:, -1 - row]) + row * step, color=BLACK, lw=0.7)
        axes.set_yticks(np.arange(shown.size) * step, [f"ROI {roi}" for roi in shown[::-1]])
        axes.set_xlabel("time (s)")
        axes.set_ylabel(f"{name} ({unit}), one row = {step:.2g}")
        axes.set_xlim(time[0], time[-1])

    averaged = "" if at.size == time.size else f" Each point is the mean of {-(-time.size // at.size)} frames."
    caption = (
        f"{name} of the {shown.size} ROIs that vary most, {_when(recording, time)}.{averaged}"
        f"{_shading(recording, time[0], time[-1])}"
    )
    return draw(paint, height=3.4, alt=f"Traces of {name} over time", caption=caption)


def _movie(recording: Recording, name: str, seen: Overview) -> Figure:
    time, unit, brain = recording.time, recording.neural[name].attrs["units"], recording.brain
    brain = brain if brain is not None and brain.shape == seen.mean.shape else None

    def paint(canvas: Canvas) -> None:
        mean, spread, course = canvas.subplots(1, 3, width_ratios=(1, 1, 1.5))
        for axes, frame, title in ((mean, seen.mean, "mean"), (spread, seen.spread, "standard deviation")):
            bar = image(axes, frame, brain, cmap="viridis")
            canvas.colorbar(bar, ax=axes, shrink=0.7, label=unit)
            axes.set_title(title)
        _draw_course(course, recording, name, seen, slice(None))
        course.set_title("mean over the brain" if brain is not None else "mean over the frame")

    caption = (
        f"{name}, {_when(recording, time)}: each pixel's mean and standard deviation over time, and the mean over pixels."
        f"{_read(seen)}{_shading(recording, time[0], time[-1])}{' Pale: outside the brain.' if brain is not None else ''}"
    )
    return draw(paint, height=2.1, alt=f"Mean and variation of {name}", caption=caption, pixels=True)


def _course(recording: Recording, name: str, seen: Overview, frames: slice) -> Figure:
    time = recording.time[frames]

    def paint(canvas: Canvas) -> None:
        _draw_course(canvas.subplots(), recording, name, seen, frames)

    caption = f"The same mean from {_when(recording, time)}.{_shading(recording, time[0], time[-1])}"
    return draw(paint, height=1.7, alt=f"Mean {name} of a minute", caption=caption)


def _draw_course(axes: Axes, recording: Recording, name: str, seen: Overview, frames: slice) -> None:
    time, unit = recording.time[frames], recording.neural[name].attrs["units"]
    shade_events(axes, recording, time[0], time[-1])
    axes.plot(thinned(time), thinned(seen.course[frames]), color=BLUE, lw=0.9)
    axes.set(xlabel="time (s)", ylabel=f"mean {name} ({unit})", xlim=(time[0], time[-1]))


def thinned(values: np.ndarray) -> np.ndarray:
    """Return at most 2000 points, each the mean of a stretch; NaN where a stretch has no number."""
    step = -(-values.size // POINTS)
    stretches = np.full(-(-values.size // step) * step, np.nan)
    stretches[: values.size] = values
    stretches = stretches.reshape(-1, step)
    good = np.isfinite(stretches)
    count = good.sum(axis=1)
    total = np.where(good, stretches, 0).sum(axis=1)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
