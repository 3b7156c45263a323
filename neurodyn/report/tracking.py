"""How the field of one session lies on that of another: outlines of the cells before and after alignment."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from neurodyn.report.outlines import draw_outlines, outlines
from neurodyn.report.style import ORANGE, SKY, image, png
from neurodyn.tracking.field import Field, entries_of
from neurodyn.tracking.sessions import Tracked

PALE_ORANGE, PALE_SKY = "#F7DDA6", "#C9E6F7"  # cells without a counterpart


def alignment_picture(tracked: Tracked, session: int) -> bytes:
    """Return a PNG of a session's cells over the reference's, as recorded and aligned; matched cells stand out."""
    first, other = tracked.as_recorded[tracked.reference], tracked.as_recorded[session]
    both = [cell for cell in tracked.cells if tracked.reference in cell and session in cell]
    mine = {cell[tracked.reference] for cell in both}
    theirs = {cell[session] for cell in both}
    alignment = tracked.alignments[session]
    lines = [outlines(_table(field)) for field in (first, other)]
    carried = [[alignment.back(line) for line in each] for each in lines[1]]
    shift = alignment.shift(first.shape)

    def paint(canvas: Canvas) -> None:
        before, after = canvas.subplots(1, 2)
        for axes, moved in ((before, lines[1]), (after, carried)):
            _background(axes, first)
            _two_kinds(axes, lines[0], mine, ORANGE, PALE_ORANGE)
            _two_kinds(axes, moved, theirs, SKY, PALE_SKY)
        before.set_title("as recorded")
        after.set_title(f"aligned: {len(both)} cells matched")
        after.set_xlabel(
            f"turned {alignment.angle:+.1f}°, shifted {shift[0]:+.1f} down, {shift[1]:+.1f} right (pixels)".replace(
                "-", "−"
            )
        )
        before.set_xlabel(f"orange {first.session}, blue {other.session}; pale: not matched")

    return png(paint, height=4.1)


def _background(axes: Axes, field: Field) -> None:
    picture = field.picture if field.mean is None else field.mean
    low, high = np.nanpercentile(picture, [1, 99.7])
    image(axes, picture, None, cmap="gray", vmin=low, vmax=high + 0.4 * (high - low))  # dark, so that lines are seen


def _two_kinds(axes: Axes, lines: list[list[np.ndarray]], matched: set[int], colour: str, pale: str) -> None:
    draw_outlines(axes, [each for row, each in enumerate(lines) if row not in matched], pale, 0.5)
    draw_outlines(axes, [each for row, each in enumerate(lines) if row in matched], colour, 1.0)


def _table(field: Field) -> xr.Dataset:
    owner, places, _ = entries_of(field.footprints, field.shape[1])
    columns = {"mask_roi": ("mask", owner), "mask_y": ("mask", places[:, 0]), "mask_x": ("mask", places[:, 1])}
    return xr.Dataset(columns | {"roi": ("roi", np.arange(len(field.centres)))})
