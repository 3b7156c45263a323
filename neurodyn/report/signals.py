"""What was recorded: a stretch of traces, or of a movie."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from neurodyn.data.recording import Recording
from neurodyn.report.blocks import Figure, Section, Table
from neurodyn.report.style import BLACK, BLUE, SKY, draw, image

SECONDS = 60.0
STRETCH_BYTES = 256 * 2**20
SHOWN_ROIS = 8
PREFERENCE = ("dff", "corrected", "spikes", "fluorescence")


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
    """Show a stretch of one variable."""
    name = variable if variable in recording.variables else best_variable(recording)
    frames = _stretch(recording, name)
    array = recording.neural[name]
    values = np.asarray(array.variable[frames].values, dtype=float)
    show = _movie if values.ndim == 3 else _traces
    return Section(f"Signals: {recording.session}", [show(recording, name, frames, values)])


def _stretch(recording: Recording, name: str) -> slice:
    """Return up to a minute from just before the first event, within a bound on memory."""
    table = recording.table("stimulus")
    begin = recording.time[0]
    if table is not None and table.sizes.get("event", 0):
        begin = max(begin, float(table["start"].values.min()) - 2.0)
    frame_bytes = 8 * int(np.prod(recording.neural[name].shape[1:]))
    longest = max(2, min(round(SECONDS * recording.rate_hz), STRETCH_BYTES // max(1, frame_bytes)))
    first = int(np.searchsorted(recording.time, begin - 1e-9))
    first = max(0, min(first, recording.time.size - longest))
    return slice(first, min(first + longest, recording.time.size))


def shade_events(axes: Axes, recording: Recording, begin: float, end: float) -> None:
    """Shade the time of each stimulus event between two times, s."""
    table = recording.table("stimulus")
    if table is None:
        return
    for start, stop in zip(table["start"].values, table["stop"].values, strict=True):
        if stop > begin and start < end:
            axes.axvspan(max(start, begin), min(stop, end), color=SKY, alpha=0.22, lw=0)


def _shading(recording: Recording) -> str:
    return "" if recording.table("stimulus") is None else " Shaded: stimulus on."


def _traces(recording: Recording, name: str, frames: slice, values: np.ndarray) -> Figure:
    time, unit = recording.time[frames], recording.neural[name].attrs["units"]
    spread = np.nan_to_num(np.nanstd(values, axis=0))
    shown = np.sort(np.argsort(-spread, kind="stable")[:SHOWN_ROIS])
    step = 1.1 * float(np.nanmax(np.ptp(values[:, shown], axis=0))) or 1.0

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        shade_events(axes, recording, time[0], time[-1])
        for row, roi in enumerate(shown[::-1]):
            axes.plot(time, values[:, roi] - np.nanmedian(values[:, roi]) + row * step, color=BLACK, lw=0.7)
        axes.set_yticks(np.arange(shown.size) * step, [f"ROI {roi}" for roi in shown[::-1]])
        axes.set_xlabel("time (s)")
        axes.set_ylabel(f"{name} ({unit}), one row = {step:.2g}")
        axes.set_xlim(time[0], time[-1])

    caption = f"{name} of the {shown.size} ROIs that vary most, {time[0]:.0f} to {time[-1]:.0f} s.{_shading(recording)}"
    return draw(paint, height=3.4, alt=f"Traces of {name} over time", caption=caption)


def _movie(recording: Recording, name: str, frames: slice, values: np.ndarray) -> Figure:
    time, unit, brain = recording.time[frames], recording.neural[name].attrs["units"], recording.brain
    inside = values[:, brain] if brain is not None else values.reshape(len(values), -1)

    def paint(canvas: Canvas) -> None:
        mean, spread, course = canvas.subplots(1, 3, width_ratios=(1, 1, 1.5))
        for axes, frame, title in ((mean, values.mean(0), "mean"), (spread, values.std(0), "standard deviation")):
            bar = image(axes, frame, brain, cmap="viridis")
            canvas.colorbar(bar, ax=axes, shrink=0.7, label=unit)
            axes.set_title(title)
        shade_events(course, recording, time[0], time[-1])
        course.plot(time, inside.mean(axis=1), color=BLUE, lw=0.9)
        course.set(xlabel="time (s)", ylabel=f"mean {name} ({unit})", xlim=(time[0], time[-1]))
        course.set_title("mean over the brain" if brain is not None else "mean over the frame")

    caption = (
        f"{name} from {time[0]:.0f} to {time[-1]:.0f} s: each pixel's mean and standard deviation over time, and the "
        f"mean over pixels.{_shading(recording)} Pale: outside the brain."
    )
    return draw(paint, height=2.1, alt=f"Mean and variation of {name}", caption=caption, pixels=True)
