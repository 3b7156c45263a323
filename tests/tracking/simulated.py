"""Sessions of one field of known cells: shifted, turned, stretched, with cells that come and go from day to day."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import ndimage

from neurodyn.data.recording import Recording

SHAPE = (256, 256)
RADIUS = 6.0


@dataclass
class Mouse:
    """A field: where its cells lie, their forms, how bright they are, and the tissue between."""

    centres: np.ndarray
    axes: np.ndarray
    lean: np.ndarray
    bright: np.ndarray
    tissue: np.ndarray


def mouse(seed, count=120, gap=1.7):
    """Scatter cells, some of which touch."""
    rng = np.random.default_rng(seed)
    centres = np.empty((0, 2))
    while len(centres) < count:
        one = rng.uniform(0.03, 0.97, 2) * SHAPE
        if not len(centres) or np.linalg.norm(centres - one, axis=1).min() > gap * RADIUS:
            centres = np.vstack([centres, one])
    tissue = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 3) * 30
    return Mouse(
        centres,
        RADIUS * rng.uniform(0.8, 1.2, (count, 2)),
        rng.uniform(0, np.pi, count),
        rng.gamma(2, 0.5, count),
        tissue,
    )


@dataclass
class Day:
    """How a session differs: rotation in degrees, shift in pixels, stretch, share of cells seen, jitter of masks in pixels."""

    angle: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    stretch: float = 1.0
    share: float = 0.7
    jitter: float = 0.7
    mean: bool = True

    def place(self, places):
        """Return where places of the field lie in this session, shape (place, 2)."""
        cosine, sine = np.cos(np.deg2rad(self.angle)), np.sin(np.deg2rad(self.angle))
        middle = (np.array(SHAPE) - 1) / 2
        return (places - middle) @ (self.stretch * np.array([[cosine, -sine], [sine, cosine]])).T + middle + self.shift


def session(field, day, seed, name="day"):
    """Return a recording of the cells seen that day, and which cells of the field its rows are."""
    rng = np.random.default_rng(seed)
    seen = rng.permutation(len(field.centres))[: round(day.share * len(field.centres))]
    places = day.place(field.centres)
    inside = ((places > 2) & (places < np.array(SHAPE) - 3)).all(axis=1)
    seen = seen[inside[seen]]
    masks = [_mask(field, cell, places[cell] + day.jitter * rng.standard_normal(2), day, rng) for cell in seen]
    table = {
        "number": ("roi", np.arange(seen.size)),
        "mask_roi": ("mask", np.repeat(np.arange(seen.size), [len(mask[0]) for mask in masks])),
        "mask_y": ("mask", np.concatenate([mask[0] for mask in masks])),
        "mask_x": ("mask", np.concatenate([mask[1] for mask in masks])),
        "mask_weight": ("mask", np.concatenate([mask[2] for mask in masks])),
    }
    qc = {"mean_image": (("y", "x"), _mean(field, day, places, rng), {"units": "counts"})} if day.mean else None
    traces = np.tile(seen * 1.0, (30, 1))
    recording = Recording.from_arrays(
        {"dff": traces}, rate_hz=10, time=np.arange(30) / 10, session=name, rois=xr.Dataset(table),
        qc=None if qc is None else xr.Dataset(qc),
    )  # fmt: skip
    return recording, seen


def _distance(field, cell, place, angle):
    """Return the squared distance of all pixels from a cell in units of its axes, shape (y, x)."""
    dy, dx = np.arange(SHAPE[0])[:, None] - place[0], np.arange(SHAPE[1]) - place[1]
    lean = field.lean[cell] - np.deg2rad(angle)
    along, across = dy * np.cos(lean) + dx * np.sin(lean), dx * np.cos(lean) - dy * np.sin(lean)
    return (along / field.axes[cell, 0]) ** 2 + (across / field.axes[cell, 1]) ** 2


def _mask(field, cell, place, day, rng):
    """Return rows, columns and weights; a mask is as loose or tight as detection was, and some pixels are missed."""
    apart = _distance(field, cell, place, day.angle)
    y, x = np.nonzero((apart < rng.uniform(0.7, 1.3)) & (rng.random(SHAPE) < 0.95))
    return y, x, np.exp(-apart[y, x]) * rng.uniform(0.5, 1.5, y.size)


def _mean(field, day, places, rng):
    picture = 100 + _carried(field.tissue, day)
    for cell, place in enumerate(places):
        picture += 60 * field.bright[cell] * rng.uniform(0.5, 1.5) * np.exp(-_distance(field, cell, place, day.angle))
    y, x = (np.linspace(-1, 1, size) for size in SHAPE)
    vignette = 1 - 0.4 * (y[:, None] ** 2 + x**2) / 2
    return (picture * vignette + 4 * rng.standard_normal(SHAPE)).astype(np.float32)


def _carried(tissue, day):
    """Return the tissue as this session has it."""
    middle = (np.array(SHAPE) - 1) / 2
    cosine, sine = np.cos(np.deg2rad(day.angle)), np.sin(np.deg2rad(day.angle))
    back = np.array([[cosine, sine], [-sine, cosine]]) / day.stretch
    return ndimage.affine_transform(tissue, back, middle - back @ (middle + day.shift), order=1, mode="reflect")


def week(seed, days=5, count=120, gap=1.7, **more):
    """Return sessions of one mouse on several days, and which cells their rows are."""
    rng, field = np.random.default_rng([seed, 1]), mouse(seed, count, gap)
    made = []
    for k in range(days):
        moved = Day(rng.uniform(-3, 3), tuple(rng.uniform(-12, 12, 2)), rng.uniform(0.99, 1.01), **more)
        made.append(session(field, moved if k else Day(**more), [seed, 2, k], f"day{k}"))
    return [one for one, _ in made], [seen for _, seen in made]
