"""The cells of a recording: where they lie, what each looks like and does, and which of them ask for a look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.figure import SubFigure

from neurodyn.data.recording import Recording
from neurodyn.report.blocks import Block, Figure, Section, Text, number
from neurodyn.report.outlines import draw_outlines, outlines
from neurodyn.report.raster import Looked, look, raster_figure
from neurodyn.report.rois import areas
from neurodyn.report.signals import best_variable, thinned
from neurodyn.report.style import BLACK, GREY, ORANGE, SKY, draw, image
from neurodyn.report.trials import Trials, trials_of

PICTURES = {"mean_image": "mean", "max_projection": "maximum", "correlation_image": "correlation"}
NUMBERED = 150
SHOWN, COLUMNS = 24, 2
# Asked of every cell; what lies beyond is shown first. Pure noise has a peak of 2.3 standard deviations and no skewness.
LEAST_SNR, LEAST_SKEW, MOST_SHARED, LEAST_MATCH = 3.0, 0.1, 0.5, 0.8
SIZES = (0.4, 2.5)  # of the median


@dataclass(frozen=True)
class Cell:
    """One cell and what asks for a look at it.

    Parameters
    ----------
    roi
        Its row.
    snr, skew
        Of its trace.
    flags
        In words; empty where nothing asks for a look.
    """

    roi: int
    snr: float
    skew: float
    flags: tuple[str, ...]


def cells_section(recording: Recording) -> Section | None:
    """Show the cells: pictures of the plane with their outlines, all of them over time, and single ones, flagged ones first.

    None for a recording without traces of ROIs.
    """
    name = best_variable(recording)
    if recording.neural[name].dims != ("time", "roi"):
        return None
    looked = look(recording, name)
    cells = judged(recording, looked)
    flagged = [cell for cell in cells if cell.flags]
    blocks: list[Block | None] = [
        plane_figure(recording, {cell.roi for cell in flagged}),
        Text(f"{len(cells)} cells; {len(flagged)} of them ask for a look{_reasons(flagged)}."),
        raster_figure(recording, looked),
        gallery_figure(recording, name, cells),
    ]
    return Section(f"Cells: {recording.session}", [block for block in blocks if block is not None])


def _reasons(flagged: list[Cell]) -> str:
    kinds = [flag.partition(" (")[0] for cell in flagged for flag in cell.flags]
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items(), key=lambda item: -item[1]))
    return f": {told}" if told else ""


def judged(recording: Recording, looked: Looked) -> list[Cell]:
    """Return every cell with its measures and flags, in order of the table."""
    table = recording.table("rois")
    table = xr.Dataset() if table is None else table
    size = areas(table)
    typical = None if size is None else np.median(size[size > 0]) if (size > 0).any() else None
    found = []
    for roi, (snr, skewness, missing) in enumerate(zip(looked.snr, looked.skew, looked.missing, strict=True)):
        flags = _of_table(table, roi)
        if size is not None and typical is not None:
            flags += [f"small ({size[roi]:.0f} px)"] if size[roi] < SIZES[0] * typical else []
            flags += [f"large ({size[roi]:.0f} px)"] if size[roi] > SIZES[1] * typical else []
        flags += _of_trace(snr, skewness, missing)
        found.append(Cell(roi, float(snr), float(skewness), tuple(flags)))
    return found


def _of_trace(snr: float, skewness: float, missing: float) -> list[str]:
    """Return what a trace says against its cell."""
    if missing == 1:
        return ["no data"]
    flags = [f"gaps ({missing:.0%})"] if missing > 0 else []
    if np.isnan(snr):
        return [*flags, "constant"]
    return [*flags, "faint"] if snr < LEAST_SNR else [*flags, "no events"] if skewness < LEAST_SKEW else flags


def _of_table(table: xr.Dataset, roi: int) -> list[str]:
    """Return what the table of ROIs says against a cell."""
    verdict = next((table[n] for n in ("accepted", "cell") if n in table and table[n].dtype.kind == "b"), None)
    flags = ["not a cell"] if verdict is not None and not verdict.values[roi] else []
    if "overlap" in table and table["overlap"].values[roi] > MOST_SHARED:
        flags.append(f"overlaps ({table['overlap'].values[roi]:.0%})")
    if "match_probability" in table and table["match_probability"].values[roi] < LEAST_MATCH:
        flags.append(f"match unsure ({table['match_probability'].values[roi]:.2f})")
    return flags


def plane_figure(recording: Recording, flagged: set[int]) -> Figure | None:
    """Draw the plane's pictures with numbered outlines; None without masks."""
    table, seen = recording.table("rois"), recording.table("qc")
    if table is None or not {"mask_roi", "mask_y", "mask_x"} <= set(map(str, table.variables)):
        return None
    pictures = {name: seen[name].values for name in PICTURES if name in seen} if seen is not None else {}
    lines = outlines(table)
    shape = tuple(int(table[name].values.max()) + 1 for name in ("mask_y", "mask_x"))
    shown = list((pictures or {"": np.zeros(shape)}).items())
    shown = [("plain", shown[0][1]), *shown] if len(shown) == 1 and pictures else shown
    numbered = len(lines) <= NUMBERED
    first = shown[0][1]
    height = min(6.0, 0.35 + 7.4 / max(2, len(shown)) * first.shape[0] / first.shape[1])

    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(1, max(2, len(shown)), squeeze=False)[0]
        for place, (axes, (name, picture)) in enumerate(zip(panels, shown, strict=False)):
            low, high = np.nanpercentile(picture, [1, 99.5])
            image(axes, picture, None, cmap="gray", vmin=low, vmax=max(high, low + 1e-9))
            if name == "plain":
                continue
            draw_outlines(axes, [line for roi, line in enumerate(lines) if roi not in flagged], ORANGE, 0.6)
            draw_outlines(axes, [line for roi, line in enumerate(lines) if roi in flagged], SKY, 0.6)
            axes.set_title(PICTURES.get(name, "masks"))
            if numbered and place == (shown[0][0] == "plain"):
                _number(axes, lines, flagged)
        for axes in panels[len(shown) :]:
            axes.axis("off")

    numbers = "numbered as the table of ROIs, " if numbered else ""
    caption = f"The plane and its {len(lines)} ROIs, {numbers}blue where one asks for a look. Greys end at the 1st and 99.5th percentile."
    return draw(paint, height=height, alt="Outlines of all ROIs on the plane", caption=caption, pixels=True)


def _number(axes: Axes, lines: list[list[np.ndarray]], flagged: set[int]) -> None:
    size = 5.5 if len(lines) <= 60 else 4.0
    for roi, each in enumerate(lines):
        if each:
            high = each[0][:, 0].min() < 0.04 * axes.get_ylim()[0]  # at the upper edge there is room below alone
            at = each[0][each[0][:, 0].argmax() if high else each[0][:, 0].argmin()]
            up = {"va": "top" if high else "bottom", "ha": "center", "clip_on": True}
            colour = SKY if roi in flagged else ORANGE
            axes.text(at[1], at[0] + (0.5 if high else -0.5), str(roi), color=colour, fontsize=size, **up)


def chosen(cells: list[Cell]) -> list[Cell]:
    """Return the cells to show: flagged ones first, the most flagged of them leading, then others by their noise."""
    flagged = sorted((cell for cell in cells if cell.flags), key=lambda cell: (-len(cell.flags), cell.roi))
    sound = sorted((cell for cell in cells if not cell.flags), key=lambda cell: -cell.snr)
    kept = flagged[: max(SHOWN // 2, SHOWN - len(sound))]
    room = min(SHOWN - len(kept), len(sound))
    places = np.unique(np.linspace(0, len(sound) - 1, room).round().astype(int)) if room else []
    return [*kept, *(sound[place] for place in places)]


def gallery_figure(recording: Recording, name: str, cells: list[Cell]) -> Figure:
    """Draw single cells: a crop of the mean image, the trace, the mean over trials, and what is measured."""
    shown, trials = chosen(cells), trials_of(recording)
    table, seen = recording.table("rois"), recording.table("qc")
    masked = table is not None and "mask_roi" in table
    lines = outlines(table) if masked and table is not None else None
    mean = seen["mean_image"].values if seen is not None and "mean_image" in seen else None
    rows = -(-len(shown) // COLUMNS)

    def paint(canvas: Canvas) -> None:
        for column, half in enumerate(canvas.subfigures(1, COLUMNS, squeeze=False)[0]):
            mine = shown[column * rows : (column + 1) * rows]
            _column(half, recording, name, mine, rows, mean, lines, trials)

    flagged = sum(bool(cell.flags) for cell in shown)
    whole = sum(bool(cell.flags) for cell in cells)
    first = f"{flagged} of the {whole} that ask for a look first, then" if flagged else "Here are"
    onset = (
        f"; right: mean over {trials.words}, from {trials.before:g} s before the start" if trials is not None else ""
    )
    caption = (
        f"Single cells. {first} {len(shown) - flagged} others, from the least noise to the most. Left: the mean image around "
        f"each; {name} over the recording{onset}. SNR: 99th percentile less the median, over the noise."
    )
    return draw(paint, height=0.42 * rows + 0.35, alt="Single cells", caption=caption, pixels=True)


def _column(
    half: SubFigure, recording: Recording, name: str, cells: list[Cell], rows: int, mean: np.ndarray | None,
    lines: list[list[np.ndarray]] | None, trials: Trials | None,
) -> None:  # fmt: skip
    grid = half.subplots(rows, 4, squeeze=False, width_ratios=(0.5, 2.0, 0.7 if trials else 0.01, 1.15))
    for axes in grid.ravel():
        axes.axis("off")
    for (crop, trace, response, words), cell in zip(grid, cells, strict=False):
        values = recording.neural[name].variable[:, cell.roi].values.astype(float)
        colour = SKY if cell.flags else ORANGE
        if lines is not None and lines[cell.roi]:
            _crop(crop, mean, lines[cell.roi], colour)
        trace.plot(thinned(recording.time), thinned(values), color=BLACK, lw=0.5)
        trace.set_xlim(recording.time[0], recording.time[-1])
        if trials is not None:
            trials.draw(response, values, recording.time)
        words.text(0, 0.98, f"ROI {cell.roi}", fontsize=7, weight="bold", va="top", transform=words.transAxes)
        told = f"SNR {number(cell.snr, 1)}, skew {number(cell.skew, 1)}"
        words.text(0, 0.62, told, fontsize=6, va="top", color=GREY, transform=words.transAxes)
        verdict = "; ".join(cell.flags[:2]) or "ok"
        words.text(0, 0.3, verdict, fontsize=6, va="top", color=BLACK, transform=words.transAxes)


def _crop(axes: Axes, mean: np.ndarray | None, lines: list[np.ndarray], colour: str) -> None:
    points = np.concatenate(lines)
    middle, reach = (points.min(axis=0) + points.max(axis=0)) / 2, 1.0 * np.ptp(points, axis=0).max() + 2
    if mean is not None:
        y, x = (slice(max(0, int(at - reach)), int(at + reach) + 2) for at in middle)
        part = mean[y, x]
        low, high = np.nanpercentile(part, [1, 99.5]) if np.isfinite(part).any() else (0, 1)
        extent = (x.start - 0.5, x.start + part.shape[1] - 0.5, y.start + part.shape[0] - 0.5, y.start - 0.5)
        axes.imshow(part, cmap="gray", vmin=low, vmax=max(high, low + 1e-9), interpolation="nearest", extent=extent)
    draw_outlines(axes, [lines], colour, 0.8)
    axes.set(xlim=(middle[1] - reach, middle[1] + reach), ylim=(middle[0] + reach, middle[0] - reach), aspect="equal")
