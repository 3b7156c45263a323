"""A session of a movie in one picture: where the brain is, where it responds, and its course there and everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from neurodyn.data.recording import Recording
from neurodyn.report.blocks import Section
from neurodyn.report.response_cells import draw_courses
from neurodyn.report.signals import Overview, best_variable, overview, shade_events, stretch, thinned
from neurodyn.report.style import BLACK, ORANGE, draw, image


def movie_section(recording: Recording, found: xr.Dataset | None) -> Section | None:
    """Draw a session of a movie in one picture; None where there is no movie.

    Parameters
    ----------
    found
        What `neurodyn respond` found in it, where it was asked.
    """
    name = best_variable(recording)
    if recording.neural[name].dims != ("time", "y", "x"):
        return None
    looked = _Looked(recording, name)
    asked = found if found is not None and found.attrs["variable"] == name and _same_pixels(found, recording) else None
    strength = looked.spread if asked is None else asked["peak_response"].values
    shown = strength if recording.brain is None else np.where(recording.brain, strength, np.nan)
    if not np.isfinite(shown).any():
        return None
    place = tuple(int(each) for each in np.unravel_index(np.nanargmax(shown), shown.shape))

    def paint(canvas: Canvas) -> None:
        grid = canvas.add_gridspec(2, 3, width_ratios=(1.0, 1.0, 1.5))
        _picture(canvas.add_subplot(grid[:, 0]), looked.mean, place)
        averaged = asked is not None and "average" in asked
        _strength(canvas, canvas.add_subplot(grid[0, 1] if averaged else grid[:, 1]), shown, place, asked)
        if averaged and asked is not None:
            draw_courses(canvas.add_subplot(grid[1, 1]), asked.isel(y=place[0], x=[place[1]]), 0, True)
        top = canvas.add_subplot(grid[0, 2])
        _draw_minute(top, canvas.add_subplot(grid[1, 2], sharex=top), looked, place)

    figure = draw(paint, height=3.1, alt="The session at a glance", caption=_caption(name, asked), pixels=True)
    return Section("At a glance", [figure])


def _same_pixels(found: xr.Dataset, recording: Recording) -> bool:
    shape = {dim: found.sizes.get(dim) for dim in ("y", "x")}
    return shape == {dim: recording.neural.sizes[dim] for dim in ("y", "x")}


@dataclass(frozen=True)
class _Looked:
    """A movie's pictures and course, as preprocessing left them, else from one reading."""

    recording: Recording
    name: str

    @cached_property
    def _read(self) -> Overview:
        return overview(self.recording, self.name)

    def _kept(self, name: str) -> np.ndarray | None:
        table = self.recording.table("qc")
        return None if table is None or name not in table else table[name].values

    @property
    def spread(self) -> np.ndarray:
        return self._read.spread

    @property
    def mean(self) -> np.ndarray:
        """Mean image of the light, shape (y, x)."""
        found = [
            kept
            for name in (*self.recording.variables, "mean_image")
            if (kept := self._kept(f"{name}_mean")) is not None
        ]
        return found[-1] if found else self._read.mean

    @property
    def course(self) -> np.ndarray:
        """Mean of each frame, shape (time,)."""
        kept = self._kept(f"{self.name}_course")
        return self._read.course if kept is None else kept


def _picture(axes: Axes, mean: np.ndarray, place: tuple[int, ...]) -> None:
    low, high = np.nanpercentile(mean, [1, 99.5])
    image(axes, mean, None, cmap="gray", vmin=low, vmax=max(high, low + 1e-9))
    axes.plot(place[1], place[0], "+", color=ORANGE, ms=9, mew=1.6)
    axes.set_title("mean image")


def _strength(canvas: Canvas, axes: Axes, shown: np.ndarray, place: tuple[int, ...], found: xr.Dataset | None) -> None:
    bar = image(axes, shown, None, cmap="viridis")
    canvas.colorbar(bar, ax=axes, shrink=0.8, label="" if found is None else str(found.attrs["units"]))
    axes.plot(place[1], place[0], "+", color=ORANGE, ms=9, mew=1.6)
    axes.set_title("standard deviation" if found is None else "largest response")


def _draw_minute(top: Axes, bottom: Axes, looked: _Looked, place: tuple[int, ...]) -> None:
    recording, name = looked.recording, looked.name
    frames = stretch(recording)
    time = recording.time[frames]
    pixel = recording.neural[name].variable[frames, place[0], place[1]].values
    told = {"dff": "ΔF/F"}.get(name, name)
    for axes, course, title in (
        (top, looked.course[frames], f"{told}, mean of the field"),
        (bottom, pixel, f"{told} at +"),
    ):
        shade_events(axes, recording, time[0], time[-1])
        axes.plot(thinned(time), thinned(course.astype(float)), color=BLACK, lw=0.7)
        axes.set_title(title)
        axes.set_ylabel(str(recording.neural[name].attrs["units"]))
    top.tick_params(labelbottom=False)
    bottom.set(xlabel="time (s)", xlim=(time[0], time[-1]))


def _caption(name: str, found: xr.Dataset | None) -> str:
    what = f"standard deviation of {name} over time"
    if found is not None:
        what = f"each pixel's largest mean response of {name}"
        what += "; below, mean courses of all conditions at +, the preferred one orange" if "average" in found else ""
    return (
        f"Left: mean image. Middle: {what}. + is where that is largest. Right: {name} in a minute; shaded, stimulus on."
    )
