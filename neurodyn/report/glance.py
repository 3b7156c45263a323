"""A session in one picture: the plane with its cells, what some of them do, and what the best of them prefers."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.gridspec import GridSpec
from matplotlib.patheffects import withStroke

from neurodyn.data.recording import Recording
from neurodyn.report.blocks import Section
from neurodyn.report.outlines import draw_outlines, outlines
from neurodyn.report.raster import look
from neurodyn.report.response_cells import angle_of, draw_courses, draw_tuning, shown_cells
from neurodyn.report.signals import best_variable, shade_events, stretch, thinned
from neurodyn.report.style import BLACK, BLUE, GREY, ORANGE, SKY, draw, image

SHOWN = 7  # cells whose traces are drawn
BENEATH = 0.3  # of a row, which spikes have to themselves


def glance_section(recording: Recording, found: xr.Dataset | None) -> Section | None:
    """Draw a session of cells in one picture; None without traces, masks, or a picture of the plane.

    Parameters
    ----------
    found
        What `neurodyn respond` found in it, where it was asked.
    """
    table, seen = recording.table("rois"), recording.table("qc")
    name = best_variable(recording)
    masked = table is not None and {"mask_roi", "mask_y", "mask_x"} <= set(map(str, table.variables))
    if not masked or table is None or seen is None or "mean_image" not in seen:
        return None
    if recording.neural[name].dims != ("time", "roi") or not table.sizes["roi"]:
        return None
    tuned = found if found is not None and _same_cells(found, table) else None
    best = shown_cells(tuned)[:1] if tuned is not None else []
    rois = chosen(look(recording, name).snr, best[0][1] if best else None)

    def paint(canvas: Canvas) -> None:
        grid = canvas.add_gridspec(2, 2 + bool(best), width_ratios=(1.15, 1.35, 0.75) if best else (1.0, 1.5))
        _plane(canvas.add_subplot(grid[:, 0]), seen["mean_image"].values, outlines(table), rois)
        _traces(canvas.add_subplot(grid[:, 1]), recording, name, rois)
        if best and tuned is not None:
            _tuning(canvas, grid, tuned, best[0][1])

    caption = _caption(recording, name, rois, tuned if best else None)
    figure = draw(paint, height=3.1, alt="The session at a glance", caption=caption, pixels=True)
    return Section("At a glance", [figure])


def chosen(snr: np.ndarray, first: int | None) -> list[int]:
    """Return the cells whose traces are shown, from the largest signal to noise; one is shown in any case, first.

    Parameters
    ----------
    snr
        Shape (roi,).
    """
    order = [int(roi) for roi in np.argsort(-np.nan_to_num(snr, nan=-np.inf), kind="stable") if roi != first]
    return ([] if first is None else [first]) + order[: SHOWN - (first is not None)]


def _same_cells(found: xr.Dataset, table: xr.Dataset) -> bool:
    return "y" not in found.dims and found["peak_response"].size == table.sizes["roi"]


def _plane(axes: Axes, mean: np.ndarray, lines: list[list[np.ndarray]], rois: list[int]) -> None:
    low, high = np.nanpercentile(mean, [1, 99.5])
    image(axes, mean, None, cmap="gray", vmin=low, vmax=max(high, low + 1e-9))
    draw_outlines(axes, [line for roi, line in enumerate(lines) if roi not in rois], ORANGE, 0.6)
    draw_outlines(axes, [lines[roi] for roi in rois], SKY, 1.0)
    for roi in rois:
        if lines[roi]:
            y, x = np.concatenate(lines[roi]).mean(axis=0)
            label = axes.text(x, y, str(roi), color="white", fontsize=7, ha="center", va="center", clip_on=True)
            label.set_path_effects([withStroke(linewidth=1.6, foreground=BLACK)])  # cells are as white as numbers
    axes.set_title(f"{len(lines)} cells")


def _traces(axes: Axes, recording: Recording, name: str, rois: list[int]) -> None:
    frames = stretch(recording)
    time = recording.time[frames]
    shade_events(axes, recording, time[0], time[-1])
    for row, roi in enumerate(rois):
        base = len(rois) - 1 - row
        axes.plot(thinned(time), base + BENEATH + _scaled(recording, name, frames, roi) * 0.65, color=BLACK, lw=0.6)
        if "spikes" in recording.variables and name != "spikes":
            spikes = _scaled(recording, "spikes", frames, roi, lowest=0.0)
            axes.fill_between(thinned(time), base, base + BENEATH * spikes, color=BLUE, lw=0.3)
    axes.set_yticks(np.arange(len(rois))[::-1] + BENEATH, [str(roi) for roi in rois], fontsize=7)
    axes.tick_params(axis="y", length=0, labelcolor=GREY)
    axes.spines["left"].set_visible(False)
    axes.set(xlabel="time (s)", xlim=(time[0], time[-1]), ylim=(-0.1, len(rois) + 0.1))
    title = {"dff": "ΔF/F", "zscore": "z-score"}.get(name, name)
    axes.set_title(f"{title} and spikes" if "spikes" in recording.variables and name != "spikes" else title)


def _scaled(recording: Recording, name: str, frames: slice, roi: int, lowest: float | None = None) -> np.ndarray:
    """Return a cell's course from 0 to 1, thinned."""
    values = thinned(recording.neural[name].variable[frames, roi].values.astype(float))
    if not np.isfinite(values).any():
        return np.zeros(values.size)
    low = np.nanmin(values) if lowest is None else lowest
    return np.nan_to_num((values - low) / max(np.nanmax(values) - low, 1e-12))


def _tuning(canvas: Canvas, grid: GridSpec, found: xr.Dataset, cell: int) -> None:
    """Draw the best cell's mean course, where events have one, and its tuning, where there are conditions."""
    course = "average" in found
    several = found.sizes["condition"] > 1
    if course:
        axes = canvas.add_subplot(grid[0, 2] if several else grid[:, 2])
        draw_courses(axes, found, cell, True)
        axes.set_title(f"cell {cell}")
        axes.set_xlabel("s from the onset")
    if several:
        polar = {"projection": "polar"} if angle_of(found) is not None else {}
        draw_tuning(canvas.add_subplot(grid[1, 2] if course else grid[:, 2], **polar), found, cell, True)


def _caption(recording: Recording, name: str, rois: list[int], found: xr.Dataset | None) -> str:
    spikes = ", inferred spikes blue beneath" if "spikes" in recording.variables and name != "spikes" else ""
    events = " Shaded: stimulus on." if recording.table("stimulus") is not None else ""
    text = (
        f"The mean image with its cells, and {name} of {len(rois)} of them (blue outlines){spikes}, each on a scale of its own: "
        f"{'the best cell first, then ' if found is not None else ''}those with the least noise.{events}"
    )
    if found is None:
        return text
    word = "tuned" if "tuned" in found else "responsive"
    best = f"the most reliable {word} cell" if found[word].values.any() else f"no cell is {word}; the one nearest to it"
    return f"{text} Right: {best}; means over trials, its preferred condition orange, and what it prefers."
