"""Responses and tuning: the population first, then all cells sorted by what they prefer, then single cells and their trials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from neurodyn.data.circle import find_circle
from neurodyn.data.columns import words_of
from neurodyn.report.blocks import Block, Cited, Figure, Items, Part, Section, Text
from neurodyn.report.encoding import METHODS, encoding_blocks
from neurodyn.report.response_cells import gallery_figure
from neurodyn.report.style import BLACK, BLUE, GREY, ORANGE, SKY, draw, image
from neurodyn.respond.encoded import is_encoding
from neurodyn.respond.output import open_responses
from neurodyn.respond.population import reading, sentences, shares
from neurodyn.respond.share import Share

MOST_ROWS = 400  # of the heat map: more cells are averaged with their neighbours in order
HISTOGRAMS = {
    "osi": "OSI",
    "dsi": "DSI",
    "c50": "c50",
    "spatial_information": "spatial information (bits per event)",
    "reliability": "split-half correlation",
    "latency": "half rise (s)",
}
SOURCES = {
    "selective_p": (
        "Cells were called tuned where null labels made conditions differ as much in fewer recordings than chance allows "
        "(null: {null}).",
        "",
    ),
    "responsive_p": (
        "Cells were called responsive by a paired test of response against baseline with random signs.",
        "",
    ),
    "osi": (
        "Orientation and direction selectivity were measured on trials that did not choose the preferred angle.",
        "Mazurek M, Kager M, Van Hooser SD (2014). Robust quantification of orientation selectivity and direction "
        "selectivity. Front Neural Circuits 8:92.",
    ),
    "c50": (
        "Contrast responses were fitted by the hyperbolic ratio.",
        "Naka KI, Rushton WAH (1966). S-potentials from colour units in the retina of fish. J Physiol 185:536-555.",
    ),
    "spatial_information": (
        "Spatial information was taken less its mean over shifts of the behaviour.",
        "Skaggs WE, McNaughton BL, Gothard KM, Markus EJ (1993). An information-theoretic approach to deciphering the "
        "hippocampal code. NIPS 5:1030-1037.",
    ),
}
CORRECTED = Cited(
    "The false discovery rate over cells was controlled.",
    ["Benjamini Y, Hochberg Y (1995). Controlling the false discovery rate. J R Stat Soc B 57:289-300."],
)


def responses_part(path: Path) -> Part:
    """Show what `neurodyn respond` wrote."""
    found = open_responses(path)
    if is_encoding(found):
        return _encoding_part(found)
    asked = f" to {found.attrs['condition']}" if found.attrs["target"] else " to events"
    section = _maps(found) if "y" in found.dims else _cells(found)
    return Part(
        title=f"{found.attrs['session']}: responses{asked}",
        subtitle="Responses",
        summary=sentences(found),
        sections=[Section(f"Responses: {found.attrs['session']}", [*section, Items(reading(found))])],
        methods=_methods(found),
    )


def _encoding_part(found: xr.Dataset) -> Part:
    regressors = ", ".join(found["regressor"].values)
    return Part(
        title=f"{found.attrs['session']}: what cells encode of {regressors}",
        subtitle="Encoding models",
        summary=sentences(found),
        sections=[
            Section(f"Encoding models: {found.attrs['session']}", [*encoding_blocks(found), Items(reading(found))])
        ],
        methods=[*METHODS, CORRECTED],
    )


def _methods(found: xr.Dataset) -> list[Cited]:
    target = found.attrs["condition"] if found.attrs["target"] else "events"
    said = [Cited(f"Responses of {found.attrs['variable']} to {target} were taken as {found.attrs['measured']}.")]
    for name, (text, source) in SOURCES.items():
        if name in found or f"direction_{name}" in found:
            said.append(Cited(text.format(null=found.attrs["null"]), [source] if source else []))
    return [*said, CORRECTED]


def _cells(found: xr.Dataset) -> list[Block]:
    blocks: list[Block | None] = [population_figure(found), heat_figure(found), gallery_figure(found)]
    if "tuned" in found and not found["tuned"].values.any():
        blocks.insert(1, Text("No cell is tuned by this test; what follows shows the cells that come nearest to it."))
    return [block for block in blocks if block is not None]


def population_figure(found: xr.Dataset) -> Figure | None:
    """Draw how many cells respond and are tuned, what they prefer, and how sharply."""
    told, names = shares(found), [name for name in HISTOGRAMS if name in found][:2]
    if not told:
        return None
    prefers = "tuned" in found and bool(found["tuned"].values.any()) and found.sizes["condition"] > 1

    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(1, 1 + prefers + len(names), squeeze=False)[0]
        _draw_shares(panels[0], told)
        if prefers:
            _draw_preferences(panels[1], found)
        for axes, name in zip(panels[1 + prefers :], names, strict=True):
            _draw_histogram(axes, found, name)

    chosen = "tuned" if "tuned" in found else "responsive"
    caption = (
        "The population. Left: shares of cells, bars their 95 % intervals (Wilson)."
        f"{' Then: what tuned cells prefer.' if prefers else ''} Right: all cells pale, {chosen} ones blue."
    )
    return draw(paint, height=2.1, alt="Shares of cells, preferences and selectivity", caption=caption)


def _draw_shares(axes: Axes, told: list[Share]) -> None:
    for place, share in enumerate(told):
        value = share.count / share.of
        axes.plot([100 * share.low, 100 * share.high], [place, place], color=BLUE, lw=2)
        axes.plot(100 * value, place, "o", color=BLUE, ms=6)
        axes.text(100 * value, place + 0.18, f"{share.count} of {share.of}", ha="center", fontsize=7.5)
    axes.set_yticks(range(len(told)), [share.name for share in told])
    axes.set(xlim=(-3, 103), ylim=(-0.5, len(told) - 0.3), xlabel="cells (%)", title="shares")


def _draw_preferences(axes: Axes, found: xr.Dataset) -> None:
    preferred = found["preferred"].values[found["tuned"].values]
    number = np.bincount(preferred, minlength=found.sizes["condition"])
    axes.bar(np.arange(number.size), number, color=SKY, width=0.85)
    step = -(-number.size // 9)
    axes.set_xticks(np.arange(0, number.size, step), list(found["condition"].values[::step]), rotation=45)
    axes.tick_params(axis="x", labelsize=7)
    axes.set(xlabel=_named(found), ylabel="tuned cells", title="preferred")


def _draw_histogram(axes: Axes, found: xr.Dataset, name: str) -> None:
    values = found[name].values
    chosen = found["tuned" if "tuned" in found else "responsive"].values
    finite = values[np.isfinite(values)]
    if not finite.size:
        axes.axis("off")
        return
    low, high = np.quantile(finite, [0.01, 0.99])
    edges = np.linspace(low, high, 21)
    edges = edges if np.ptp(edges) > 0 else np.linspace(finite[0] - 0.5, finite[0] + 0.5, 21)
    axes.hist(values, edges, color="#CCCCCC")
    axes.hist(values[chosen], edges, color=BLUE)
    axes.set(xlabel=HISTOGRAMS[name], ylabel="cells")


def sorted_cells(found: xr.Dataset) -> np.ndarray:
    """Return cells by what they prefer: tuned (or responsive) ones first, the strongest of each preference first."""
    chosen = found["tuned" if "tuned" in found else "responsive"].values
    return np.lexsort((-np.nan_to_num(found["peak_response"].values), found["preferred"].values, ~chosen))


def heat_figure(found: xr.Dataset) -> Figure:
    """Draw the mean responses of all cells, sorted by what they prefer: courses of every condition, or bins of behaviour."""
    order = sorted_cells(found)
    chosen = int(found["tuned" if "tuned" in found else "responsive"].values.sum())
    courses = found.get("average")
    table = (found["tuning"] if courses is None else courses).values
    table = table[..., order].reshape(-1, order.size) if courses is not None else table[:, order]
    known = np.isfinite(table)  # of a cell without data, nothing
    low = np.where(known, table, np.inf).min(axis=0) if courses is None else 0.0
    scaled = (table - low) / np.maximum(np.where(known, np.abs(table - low), 0.0).max(axis=0), 1e-12)
    rows = _merged(scaled.T, order.size)

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        span = (
            {"cmap": "viridis", "vmin": 0, "vmax": 1} if courses is None else {"cmap": "PuOr_r", "vmin": -1, "vmax": 1}
        )
        bar = axes.imshow(rows, aspect="auto", extent=(0, len(table), order.size, 0), interpolation="nearest", **span)
        canvas.colorbar(bar, ax=axes, label="share of the cell's largest response", shrink=0.7, aspect=25)
        _conditions_below(axes, found, len(table))
        if 0 < chosen < order.size:
            axes.axhline(chosen, color=BLACK, lw=0.9)
        axes.set_ylabel("cells, sorted")

    what = "mean activity in every bin" if courses is None else "courses of every condition, one beside the other"
    what = "mean course" if found.sizes["condition"] == 1 else what
    word = "tuned" if "tuned" in found else "responsive"
    line = f" Above the line: {word} cells." if 0 < chosen < order.size else ""
    onset = " Dashed: onsets." if courses is not None else ""
    caption = f"All {order.size} cells, sorted by what they prefer: {what}, each cell relative to its own largest.{line}{onset}"
    height = float(np.clip(0.9 + 0.02 * order.size, 2.4, 5.0))
    return draw(paint, height=height, alt="Mean responses of all cells", caption=caption, pixels=True)


def _merged(rows: np.ndarray, count: int) -> np.ndarray:
    size = -(-count // MOST_ROWS)
    if size == 1:
        return rows
    starts, known = np.arange(0, count, size), np.isfinite(rows)
    total = np.add.reduceat(np.where(known, rows, 0.0), starts)
    number = np.add.reduceat(known, starts, dtype=int)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _conditions_below(axes: Axes, found: xr.Dataset, width: int) -> None:
    conditions = found.sizes["condition"]
    each = width // conditions
    if "average" in found:
        onset = int((found["time"].values < -1e-9).sum())
        for k in range(conditions):
            axes.axvline(k * each, color=BLACK, lw=0.5)
            axes.axvline(k * each + onset, color=GREY, lw=0.6, ls=(0, (2, 2)))
    if conditions == 1:
        time = found["time"].values
        whole = np.arange(np.ceil(time[0]), time[-1])
        axes.set_xticks(np.interp(whole, time, np.arange(each)), [f"{one:g}" for one in whole])
        axes.set_xlabel("time from the onset (s)")
        return
    step = -(-conditions // 12)
    labels = list(found["condition"].values)
    axes.set_xticks((np.arange(conditions)[::step] + 0.5) * each, labels[::step])
    axes.set_xlabel(_named(found))


def _named(found: xr.Dataset) -> str:
    """Return the name of the conditions with its unit, for an axis."""
    names = json.loads(found.attrs["kinds"])
    if len(names) != 1:
        return str(found.attrs["condition"])
    units = found[f"condition_{next(iter(names))}"].attrs.get("units", "")
    return f"{next(iter(names))}{f' ({units})' if units else ''}"


def _maps(found: xr.Dataset) -> list[Block]:
    """Draw a movie's maps: response, preference, when it rises, and which pixels are tuned."""
    panels: list[tuple[str, np.ndarray, dict[str, Any], str]] = [
        ("largest response", found["peak_response"].values, {"cmap": "viridis"}, found.attrs["units"])
    ]
    chosen = found["tuned" if "tuned" in found else "responsive"].values
    names = json.loads(found.attrs["kinds"])
    for name, kind in list(names.items())[:1]:
        levels = found[f"condition_{name}"].values
        values = levels if levels.dtype.kind == "f" else np.arange(levels.size)
        around: dict[str, Any] = (
            {"cmap": "twilight", "vmin": 0, "vmax": _period(name, values)} if kind == "angle" else {"cmap": "viridis"}
        )
        shown = np.where(chosen, values[found["preferred"].values], np.nan)
        panels.append((f"preferred {name}", shown, around, found[f"condition_{name}"].attrs.get("units", "")))
    if "latency" in found and np.isfinite(found["latency"].values).any():
        panels.append(("half rise", np.where(chosen, found["latency"].values, np.nan), {"cmap": "viridis"}, "s"))
    p = found["selective_p" if "selective_p" in found else "responsive_p"].values
    panels.append(("−log10 p", -np.log10(p), {"cmap": "magma", "vmin": 0}, ""))

    def paint(canvas: Canvas) -> None:
        for axes, (title, values, how, label) in zip(canvas.subplots(1, len(panels)), panels, strict=True):
            bar = image(axes, values, None, **how)
            canvas.colorbar(bar, ax=axes, shrink=0.6, label=label)
            axes.set_title(title)

    word = "tuned" if "tuned" in found else "responsive"
    caption = f"Maps of {found.attrs['variable']}; preference and half rise of {word} pixels alone."
    return [
        draw(paint, height=1.9, alt="Maps of responses", caption=caption, pixels=True),
        _course_figure(found, chosen),
    ]


def _period(name: str, levels: np.ndarray) -> float:
    return find_circle(words_of(name), levels, "", None).period


def _course_figure(found: xr.Dataset, chosen: np.ndarray) -> Figure:
    where = chosen if chosen.any() else np.ones_like(chosen)
    courses = found["average"].values[:, :, where].mean(axis=2)

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        axes.axvspan(0, found.attrs["event_duration"], color=SKY, alpha=0.25, lw=0)
        for k, course in enumerate(courses):
            best = k == int(np.nanargmax(np.nanmean(np.abs(courses), axis=1)))
            axes.plot(found["time"].values, course, color=ORANGE if best else GREY, lw=1.4 if best else 0.7,
                      label=str(found["condition"].values[k]) if best else None)  # fmt: skip
        axes.set(xlabel="time from the onset (s)", ylabel=f"{found.attrs['variable']} ({found.attrs['units']})")
        axes.legend()

    caption = (
        "Mean course over the pixels that are tuned or, without a column, respond; orange: the strongest condition."
    )
    return draw(paint, height=2.2, alt="Mean courses", caption=caption)
