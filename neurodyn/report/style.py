"""How figures look, and how they get into the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from neurodyn.report.blocks import Figure

# Okabe & Ito's palette, told apart with any colour vision and in grey print.
BLACK, ORANGE, SKY, GREEN, BLUE, RED = "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00"
GREY, PALE = "#777777", "#E6E6E6"
WIDTH = 7.6
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.2,
    "svg.hashsalt": "neurodyn",
    "path.simplify": True,
}
SIGNED = "PuOr_r"


def draw(
    paint: Callable[[Canvas], None],
    *,
    height: float,
    alt: str,
    caption: str,
    pixels: bool = False,
    width: float = WIDTH,
) -> Figure:
    """Draw a figure and embed it: as vectors, or as pixels where it is made of images.

    Parameters
    ----------
    paint
        Fills the empty canvas.
    height, width
        Inches.
    """
    data = _saved(paint, (width, height), "png" if pixels else "svg")
    kind = "png" if pixels else "svg+xml"
    return Figure(f"data:image/{kind};base64,{base64.b64encode(data).decode()}", alt, caption)


def png(paint: Callable[[Canvas], None], *, height: float, width: float = WIDTH) -> bytes:
    """Draw a figure that stands alone, as the bytes of a PNG file.

    Parameters
    ----------
    paint
        Fills the empty canvas.
    height, width
        Inches.
    """
    return _saved(paint, (width, height), "png")


def _saved(paint: Callable[[Canvas], None], size: tuple[float, float], kind: str) -> bytes:
    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=size, layout="constrained")
        FigureCanvasAgg(canvas)
        paint(canvas)
        buffer = io.BytesIO()
        if kind == "png":
            canvas.savefig(buffer, format="png", dpi=170, metadata={"Software": None})
        else:
            canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def image(axes: Axes, values: np.ndarray, brain: np.ndarray | None, **options: Any) -> Any:
    """Show a frame, pixels outside the brain left pale; return the mappable for a colour bar."""
    shown = np.asarray(values, dtype=float)
    shown = np.where(brain, shown, np.nan) if brain is not None else shown
    axes.set_facecolor(PALE)
    mappable = axes.imshow(shown, interpolation="nearest", **options)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return mappable


def symmetric(values: np.ndarray) -> tuple[float, float]:
    """Return colour limits about 0 that hold 99 % of the finite values."""
    finite = np.abs(values[np.isfinite(values)])
    limit = float(np.quantile(finite, 0.99)) if finite.size else 1.0
    return -(limit or 1.0), limit or 1.0
