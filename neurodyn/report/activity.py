"""Where a movie without ROIs is active: pixels that go with their neighbours, and pixels that rise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure as Canvas
from scipy.ndimage import uniform_filter

from neurodyn.data.recording import Recording
from neurodyn.report.blocks import Section
from neurodyn.report.style import draw, image

BINS, READ_BYTES = 400, 2**29
SURROUND = 25  # pixels
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))  # one of each two that lie opposite


@dataclass(frozen=True)
class Activity:
    """What the movie shows, each shape (y, x).

    Parameters
    ----------
    mean
        Of the frames, in the movie's unit.
    correlation
        Mean correlation over time with the eight neighbours.
    peak
        Largest rise of 3 x 3 pixels above their mean, in the movie's unit.
    """

    mean: np.ndarray
    correlation: np.ndarray
    peak: np.ndarray


def activity_section(recording: Recording, name: str) -> Section | None:
    """Show where a movie is active; None where it is no plain movie: traces, or widefield with a mask of the brain."""
    movie = recording.neural[name]
    if movie.ndim != 3 or recording.brain is not None or min(movie.shape[1:]) < 3 or movie.shape[0] < 10:
        return None
    found = activity(recording, name)
    unit = str(movie.attrs["units"])
    panels = (("mean", found.mean, unit), ("correlation with neighbours", found.correlation, ""))
    panels += (("largest rise", found.peak, unit),)

    def paint(canvas: Canvas) -> None:
        for axes, (title, values, label) in zip(canvas.subplots(1, 3), panels, strict=True):
            low, high = np.nanpercentile(values, [1, 99.5])
            bar = image(
                axes, values, None, cmap="gray" if title == "mean" else "magma", vmin=low, vmax=max(high, low + 1e-9)
            )
            canvas.colorbar(bar, ax=axes, shrink=0.7, label=label)
            axes.set_title(title)

    caption = (
        f"{name} of a movie without ROIs. Before correlation and rise, frames were averaged in time and the mean of the "
        f"{SURROUND} × {SURROUND} pixels around was taken off, so that what the whole field does does not count. Cells are bright dots in both."
    )
    height = 0.45 + 1.9 * movie.shape[1] / movie.shape[2]
    figure = draw(paint, height=min(4.0, height), alt="Activity map", caption=caption, pixels=True)
    return Section(f"Activity: {recording.session}", [figure])


def activity(recording: Recording, name: str) -> Activity:
    """Read a movie once in stretches of time, at most half a gigabyte spread evenly over it."""
    variable = recording.neural[name].variable
    frames, *shape = variable.shape
    total, first, highest = (np.zeros(shape) for _ in range(3))
    squares = np.zeros(shape)
    products = np.zeros((len(NEIGHBOURS), *shape))
    stretches = _stretches(frames, variable.dtype.itemsize * shape[0] * shape[1])
    for stretch in stretches:
        plain = np.nan_to_num(variable[stretch].values.astype(np.float32).mean(axis=0))
        local = plain - uniform_filter(plain, SURROUND)
        total += plain
        first += local
        squares += local.astype(float) ** 2
        smooth = uniform_filter(local, 3)  # of single pixels, noise alone would rise the most
        highest = np.maximum(highest, smooth) if stretch is not stretches[0] else smooth
        for k, step in enumerate(NEIGHBOURS):
            products[k] += local * np.roll(local, step, (0, 1))
    count = len(stretches)
    mean = first / count
    spread = np.sqrt(np.maximum(squares / count - mean**2, 1e-12))
    return Activity(total / count, _correlation(products / count, mean, spread), highest - uniform_filter(mean, 3))


def _stretches(frames: int, frame_bytes: int) -> list[slice]:
    """Return stretches of neighbouring frames, as many of them as bins, evenly spread where all cannot be read."""
    bins = min(BINS, frames)
    size = max(1, frames // bins)
    read = max(1, min(size, READ_BYTES // max(1, frame_bytes * bins)))
    return [slice(k * size, k * size + read) for k in range(bins)]


def _correlation(products: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Return the mean correlation with the neighbours that a pixel has inside the frame, shape (y, x)."""
    total, count = np.zeros(mean.shape), np.zeros(mean.shape)
    inside = np.ones(mean.shape)
    for product, step in zip(products, NEIGHBOURS, strict=True):
        other, size = np.roll(mean, step, (0, 1)), np.roll(spread, step, (0, 1))
        found = (product - mean * other) / (spread * size)
        known = inside.copy()  # what came around the edge is no neighbour
        known[0] = 0 if step[0] else known[0]
        known[:, 0 if step[1] > 0 else -1] = 0 if step[1] else known[:, 0]
        total += found * known + np.roll(found * known, (-step[0], -step[1]), (0, 1))
        count += known + np.roll(known, (-step[0], -step[1]), (0, 1))
    return total / np.maximum(count, 1)
