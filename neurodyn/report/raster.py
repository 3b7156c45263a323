"""All cells at once: their activity over the recording, neighbours in the picture being alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure as Canvas
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.distance import squareform
from scipy.stats import skew

from neurodyn.data.recording import Recording
from neurodyn.report.blocks import Figure
from neurodyn.report.signals import shade_events
from neurodyn.report.style import draw

BINS = 1200
ROIS_AT_ONCE = 64
OPTIMAL = 300  # cells up to which the best order of leaves is looked for; its time grows with their square and more
SMOOTH = 2.0  # bins


@dataclass(frozen=True)
class Looked:
    """What one reading of all traces shows.

    Parameters
    ----------
    name
        The variable.
    snr
        Peak over noise: the 99th percentile less the median, over the noise's standard deviation, shape (roi,).
    skew
        Skewness, shape (roi,).
    missing
        Share of frames without a number, shape (roi,).
    binned
        Means of stretches of time, in standard deviations from each cell's mean, shape (bin, roi).
    """

    name: str
    snr: np.ndarray
    skew: np.ndarray
    missing: np.ndarray
    binned: np.ndarray


def look(recording: Recording, name: str) -> Looked:
    """Read all traces of a variable, some cells at a time."""
    variable = recording.neural[name].variable
    parts = []
    for first in range(0, variable.shape[1], ROIS_AT_ONCE):
        values = variable[:, first : first + ROIS_AT_ONCE].values.astype(float)
        parts.append((*measures(values), _binned(values)))
    snr, skewness, missing, binned = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))
    spread = np.nanstd(binned, axis=0)
    return Looked(
        name, snr, skewness, missing, (binned - np.nanmean(binned, axis=0)) / np.where(spread > 0, spread, np.inf)
    )


def measures(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return signal to noise, skewness and the share missing of traces, shape (time, roi); NaN of one that is empty.

    The noise is told from differences between neighbouring frames, whose median leaves events out: 1.4826 · median |difference|
    / √2 is its standard deviation.
    """
    with np.errstate(all="ignore"):
        gone = ~np.isfinite(values)
        whole = np.where(gone, np.nan, values)
        known = ~gone.all(axis=0)
        found = np.full((2, values.shape[1]), np.nan)
        if known.any():
            low, high = np.nanpercentile(whole[:, known], [50, 99], axis=0)
            noise = 1.4826 * np.nanmedian(np.abs(np.diff(whole[:, known], axis=0)), axis=0) / np.sqrt(2)
            found[0, known] = np.where(noise > 0, (high - low) / np.where(noise > 0, noise, 1), np.nan)
            found[1, known] = np.ma.filled(skew(np.ma.masked_invalid(whole[:, known]), axis=0), np.nan)
    return found[0], found[1], gone.mean(axis=0)


def _binned(values: np.ndarray) -> np.ndarray:
    """Average stretches of time into at most 1200 bins; what is missing counts as the cell's mean, shape (bin, roi)."""
    size = -(-len(values) // BINS)
    count = len(values) // size
    good = np.isfinite(values)
    middle = np.where(good, values, 0).sum(axis=0) / np.maximum(good.sum(axis=0), 1)
    return np.where(good, values, middle)[: count * size].reshape(count, size, -1).mean(axis=1)


def order_of(binned: np.ndarray) -> np.ndarray:
    """Return the cells in an order in which neighbours are alike, shape (roi,).

    They are joined by the correlation of their smoothed activity (average linkage), and the branches turned so that neighbouring
    leaves are as alike as they can be (Bar-Joseph et al. 2001); the idea of rastermap (Stringer et al. 2025), for fewer cells.
    """
    if binned.shape[1] < 3:
        return np.arange(binned.shape[1])
    smooth = np.asarray(gaussian_filter1d(binned, SMOOTH, axis=0))
    centred = smooth - smooth.mean(axis=0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=0), 1e-12)
    apart = np.clip(1 - unit.T @ unit, 0, 2)
    tree = linkage(squareform(apart, checks=False), "average", optimal_ordering=binned.shape[1] <= OPTIMAL)
    return leaves_list(tree)


def raster_figure(recording: Recording, looked: Looked) -> Figure | None:
    """Draw the activity of all cells, sorted by correlation; None for fewer than three."""
    cells = looked.binned.shape[1]
    if cells < 3:
        return None
    shown = looked.binned[:, order_of(looked.binned)].T
    time = recording.time

    def paint(canvas: Canvas) -> None:
        raster, mean = canvas.subplots(2, 1, height_ratios=(5, 1), sharex=True)
        edges = (time[0], time[-1], cells, 0)
        bar = raster.imshow(
            shown, aspect="auto", cmap="gray_r", vmin=-0.3, vmax=3, extent=edges, interpolation="nearest"
        )
        canvas.colorbar(bar, ax=[raster, mean], label="SD from the mean", shrink=0.6, aspect=30)
        raster.set_ylabel("cells, sorted")
        at = np.linspace(time[0], time[-1], shown.shape[1])
        shade_events(mean, recording, time[0], time[-1])
        mean.plot(at, shown.mean(axis=0), color="black", lw=0.7)
        mean.set(xlabel="time (s)", ylabel="mean", xlim=(time[0], time[-1]))

    each = recording.time.size / looked.binned.shape[0]
    averaged = f" A column is the mean of {each:.0f} frames." if each > 1.5 else ""
    caption = (
        f"{looked.name} of all {cells} cells, each in its own standard deviations, sorted so that neighbours are correlated.{averaged}"
        " Below: their mean."
    )
    return draw(paint, height=3.6, alt="Activity of all cells over time", caption=caption, pixels=True)
