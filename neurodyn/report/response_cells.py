"""Single cells and their trials: the best of those that are tuned, and the middle ones."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from neurodyn.data.columns import words_of
from neurodyn.report.blocks import Figure
from neurodyn.report.style import BLACK, BLUE, GREY, ORANGE, SKY, draw

EACH = 3  # best cells, and middle ones
LEVEL = 0.99  # quantile that ends the colours of trials


def shown_cells(found: xr.Dataset) -> list[tuple[str, int]]:
    """Return the best and the middle cells of those that are tuned (or respond; of all, where none does), with a word."""
    chosen = found["tuned" if "tuned" in found else "responsive"].values
    cells = np.flatnonzero(chosen if chosen.any() else np.isfinite(found["peak_response"].values))
    by = found["reliability"] if "reliability" in found else found["peak_response"]
    order = cells[np.argsort(-np.nan_to_num(by.values[cells], nan=-np.inf), kind="stable")]
    best = [("best", int(cell)) for cell in order[:EACH]]
    middle = max(EACH, order.size // 2 - EACH // 2)
    return best + [("middle", int(cell)) for cell in order[middle : middle + EACH]]


def gallery_figure(found: xr.Dataset) -> Figure | None:
    """Draw trials, mean courses and tuning of single cells; None where there is nothing to tell of one."""
    cells = shown_cells(found)
    if not cells:
        return None
    columns = [draw_one for draw_one, there in (
        (_draw_trials, "trials" in found),
        (draw_courses, "average" in found),
        (draw_tuning, found.sizes["condition"] > 1),
    ) if there]  # fmt: skip
    across = 1 if len(columns) > 1 else 3
    rows = -(-len(cells) // across)
    polar = angle_of(found) is not None

    def paint(canvas: Canvas) -> None:
        widths = [0.75 if polar and one is draw_tuning else 1.0 for one in columns] * across
        grid = canvas.add_gridspec(rows, across * len(columns), width_ratios=widths)
        for number, (word, cell) in enumerate(cells):
            for place, draw_one in enumerate(columns):
                spot = grid[number // across, number % across * len(columns) + place]
                kind = "polar" if polar and draw_one is draw_tuning else None
                axes = canvas.add_subplot(spot, projection=kind)
                draw_one(axes, found, cell, number // across == rows - 1)
                if place == 0:
                    axes.set_title(_title(found, word, cell))

    height = 1.6 * rows + 0.4 if across == 1 else 1.8 * rows
    return draw(paint, height=height, alt="Trials and tuning of single cells", caption=_caption(found), pixels=True)


def _caption(found: xr.Dataset) -> str:
    chosen = "tuned" if "tuned" in found else "responsive"
    there = found["tuned" if "tuned" in found else "responsive"].values.any()
    whose = (
        f"the most reliable and the middle ones of the {chosen} cells"
        if there
        else f"no cell is {chosen}; those nearest to it"
    )
    trials = " Left: every trial, a line between conditions, blue low and orange high." if "trials" in found else ""
    course = (
        " Courses: the preferred condition orange with its standard error, the others grey."
        if "average" in found
        else ""
    )
    units = "trials" if "response" in found else "stretches of time"
    tuning = f" Tuning: means with 95 % intervals ({units} resampled)." if found.sizes["condition"] > 1 else ""
    return f"Single cells: {whose}.{trials}{course}{tuning}"


def _title(found: xr.Dataset, word: str, cell: int) -> str:
    name = found[found["peak_response"].dims[0]].values[cell]
    q = found["selective_q" if "selective_q" in found else "responsive_q"].values[cell]
    return f"{word}: cell {name}, q {q:.3f}" if np.isfinite(q) else f"{word}: cell {name}"


def _draw_trials(axes: Axes, found: xr.Dataset, cell: int, last: bool) -> None:
    code, time = found["event_condition"].values, found["time"].values
    order = np.argsort(np.where(code < 0, np.iinfo(int).max, code), kind="stable")[: int((code >= 0).sum())]
    trials = found["trials"][:, :, cell].values[order]
    limit = float(np.nanquantile(np.abs(trials), LEVEL)) if np.isfinite(trials).any() else 1.0
    edges = (time[0], time[-1], order.size, 0)
    axes.imshow(trials, aspect="auto", cmap="PuOr_r", vmin=-limit, vmax=limit, extent=edges, interpolation="nearest")
    borders = np.flatnonzero(np.diff(code[order])) + 1
    axes.hlines(borders, time[0], time[-1], color=BLACK, lw=0.3)
    axes.axvline(0, color=BLACK, lw=0.7)
    middles = (np.append(0, borders) + np.append(borders, order.size)) / 2
    step = -(-middles.size // 8)
    names = found["condition"].values[np.unique(code[order])] if middles.size > 1 else np.array([""])
    axes.set_yticks(middles[::step], list(names[::step]), fontsize=6)
    axes.set(ylabel="trials", xlabel="time from the onset (s)" if last else "")


def draw_courses(axes: Axes, found: xr.Dataset, cell: int, last: bool) -> None:
    """Draw a cell's mean course of every condition, the preferred one orange; `last`: with the name of the axis."""
    time, courses, error = (
        found["time"].values,
        found["average"].values[..., cell],
        found["average_sem"].values[..., cell],
    )
    best = int(found["preferred"].values[cell])
    axes.axvspan(0, found.attrs["event_duration"], color=SKY, alpha=0.25, lw=0)
    for k, course in enumerate(courses):
        if k != best:
            axes.plot(time, course, color=GREY, lw=0.5, alpha=0.7)
    axes.fill_between(time, courses[best] - error[best], courses[best] + error[best], color=ORANGE, alpha=0.3, lw=0)
    axes.plot(time, courses[best], color=ORANGE, lw=1.3)
    if len(courses) > 1:
        name = str(found["condition"].values[best])
        where = {"transform": axes.transAxes, "ha": "right", "va": "top"}
        axes.text(0.98, 0.97, name, color=ORANGE, fontsize=7.5, weight="bold", **where)
    axes.set(
        ylabel=str(found.attrs["units"]), xlabel="time from the onset (s)" if last else "", xlim=(time[0], time[-1])
    )


def draw_tuning(axes: Axes, found: xr.Dataset, cell: int, last: bool) -> None:
    """Draw a cell's tuning with its intervals, on polar axes where `angle_of` says so; `last`: with the name of the axis."""
    mean, low, high = (found[name].values[:, cell] for name in ("tuning", "tuning_low", "tuning_high"))
    name = angle_of(found)
    if name is not None:
        _draw_polar(axes, found[f"condition_{name}"], (mean, low, high))
        return
    names = list(json.loads(found.attrs["kinds"]).items())
    if len(names) == 1 and names[0][1] != "class":
        level = found[f"condition_{names[0][0]}"]
        at, units = level.values.astype(float), level.attrs.get("units", "")
        if "contrast" in words_of(names[0][0]) and at.min() >= 0:
            axes.set_xscale("symlog", linthresh=float(at[at > 0].min()), linscale=0.4)
            axes.set_xticks(at, [f"{one:g}" for one in at], fontsize=6.5)
            axes.minorticks_off()
        axes.set_xlabel(f"{names[0][0]}{f' ({units})' if units else ''}" if last else "")
    else:
        at = np.arange(mean.size)
        axes.set_xticks(at[:: -(-at.size // 8)], list(found["condition"].values[:: -(-at.size // 8)]), rotation=45)
        axes.tick_params(axis="x", labelsize=6.5)
    axes.fill_between(at, low, high, color=BLUE, alpha=0.25, lw=0)
    axes.plot(at, mean, "o-", color=BLUE, ms=2.5, lw=1)
    axes.axhline(0, color=GREY, lw=0.5)
    axes.set_ylabel(str(found.attrs["units"]))


def _draw_polar(axes: Axes, level: xr.DataArray, curve: tuple[np.ndarray, ...]) -> None:
    """Draw a curve round the circle; orientations, which are half of it, twice."""
    radians = np.deg2rad(level.values) if level.attrs.get("units") == "degrees" else level.values.astype(float)
    order = np.argsort(radians)
    radians, curve = radians[order], tuple(part[order] for part in curve)
    if np.ptp(radians) < np.pi:
        radians, curve = np.append(radians, radians + np.pi), tuple(np.tile(part, 2) for part in curve)
    radians, (mean, low, high) = (
        np.append(radians, radians[0] + 2 * np.pi),
        (np.append(part, part[0]) for part in curve),
    )
    axes.fill_between(radians, low, high, color=BLUE, alpha=0.25, lw=0)
    axes.plot(radians, mean, "o-", color=BLUE, ms=2.5, lw=1)
    axes.plot(np.linspace(0, 2 * np.pi, 100), np.zeros(100), color=GREY, lw=0.5)
    top = float(np.nanmax(high))
    axes.set(ylim=(min(0.0, float(np.nanmin(low))), top), rlabel_position=135)
    axes.set_yticks([top], [f"{top:.2g}"])
    axes.set_xticks(np.deg2rad([0, 90, 180, 270]), ["0°", "90°", "180°", "270°"])
    axes.tick_params(labelsize=6.5, pad=-3)


def angle_of(found: xr.Dataset) -> str | None:
    """Return the only column, if it is an angle round the whole or half circle."""
    names = json.loads(found.attrs["kinds"])
    only = next(iter(names), None) if len(names) == 1 else None
    if (
        only is None
        or names[only] != "angle"
        or found[f"condition_{only}"].attrs.get("units") not in ("degrees", "radians")
    ):
        return None
    return only
