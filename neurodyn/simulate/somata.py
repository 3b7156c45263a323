"""Two-photon movies of somata as microscopes show them: filled or ringed, active or silent, amid neuropil and vessels."""

from __future__ import annotations

import numpy as np
import xarray as xr
from pydantic import Field
from scipy.ndimage import gaussian_filter

from neurodyn.core.config import Params
from neurodyn.data.recording import Recording, entry
from neurodyn.simulate.base import Simulator
from neurodyn.simulate.signals import calcium, pink
from neurodyn.simulate.tissue import distance, neuropil, scatter, soft, specks, vessels

NUCLEUS = 0.6, 0.82  # least and largest share of a soma's diameter: from a thick to a thin rim
LEVEL = 100.0  # mean counts of the neuropil


class SomataParams(Params):
    """What the field holds, and how it is imaged."""

    active: int = Field(default=25, ge=0, description="cells that fire")
    silent: int = Field(default=25, ge=0, description="cells that do not fire, seen by their shape alone")
    holes: int = Field(default=8, ge=0, description="dark nuclei of cells without indicator")
    diameter: float = Field(default=10.0, ge=4, description="median diameter of a soma, pixels")
    apart: float = Field(default=1.1, gt=0, description="least distance of two cells' centres, diameters")
    filled: float = Field(default=0.3, ge=0, le=1, description="share of cells whose nucleus is bright, too")
    brightness: float = Field(default=0.6, gt=0, description="median of a cell's rim above the neuropil, share of that")
    silent_brightness: float = Field(default=0.6, gt=0, description="the same of silent cells")
    texture: float = Field(default=0.12, ge=0, description="standard deviation of fine and of wide neuropil, share")
    specks: int = Field(default=60, ge=0, description="bright cuts through neurites")
    vessels: int = Field(default=2, ge=0, description="vessels across the field")
    rate: float = Field(
        default=0.15, ge=0, description="transients of an active cell per s, raised threefold by a tone"
    )
    amplitude: float = Field(default=1.0, gt=0, description="median peak of a transient, ΔF/F of the cell")
    decay: float = Field(default=0.7, gt=0, description="decay time constant, s")
    waves: float = Field(default=0.05, ge=0, description="standard deviation of the neuropil's course, share of it")
    photons: float = Field(default=4.0, gt=0, description="photons per frame and pixel of neuropil")
    duration: float = Field(default=60.0, gt=0, description="length of the movie, s")
    rate_hz: float = Field(default=8.0, gt=0, description="frames per second, Hz")
    height: int = Field(default=192, ge=32, description="frame height, pixels")
    width: int = Field(default=192, ge=32, description="frame width, pixels")
    indicator: str = Field(default="GCaMP6f (simulated)", description="name written into the recording")
    seed: int = Field(default=0, ge=0, description="seed of every draw")


class Somata(Simulator):
    """Somata with dark or bright nuclei amid neuropil with a texture, vessels, dark nuclei and specks of neurites.

    F(t, pixel) = G(pixel) ∗ [N(1 + n(t)) outside somata, and in them b(1 + a c(t)) of the cytoplasm, less in the
    nucleus], counted in photons; G is the optics' Gaussian, c the response to spikes. Silent cells have c = 0.
    """

    Params = SomataParams
    params: SomataParams

    def make(self) -> Recording:
        """Return the recording; `rois` has centres and whether a cell is active, `truth` footprints and calcium."""
        p = self.params
        place_rng, tissue_rng, fire_rng, noise_rng = np.random.default_rng(p.seed).spawn(4)
        time = np.arange(round(p.duration * p.rate_hz)) / p.rate_hz
        tones = np.arange(5.0, p.duration - 2, 10.0)
        rois, cells, masks, dark = _cells(p, place_rng)
        courses = _courses(p, time, tones, fire_rng)
        still = _still(p, masks, dark, tissue_rng)
        movie = _movie(p, still, cells, masks, courses, noise_rng)
        truth = {
            "footprint": (("roi", "y", "x"), (masks > 0.5).astype(np.float32), {"units": "1"}),
            "calcium": (("time", "roi"), courses.astype(np.float32), {"units": "ΔF/F"}),
        }
        return Recording.from_arrays(
            {"fluorescence": movie},
            rate_hz=p.rate_hz,
            session=f"somata-{p.seed}",
            indicator=p.indicator,
            stimulus={"start": tones, "stop": tones + 1.0},
            rois=rois,
            truth=xr.Dataset(truth).assign_coords(time=time),
            history=[entry("simulate somata", p.model_dump(mode="json"))],
        )


def _cells(p: SomataParams, rng: np.random.Generator) -> tuple[xr.Dataset, np.ndarray, np.ndarray, np.ndarray]:
    """Return the table of cells, their light and their masks, each shape (roi, y, x), and the holes' map."""
    count, shape = p.active + p.silent, (p.height, p.width)
    centres = scatter(count + p.holes, shape, p.apart * p.diameter, 0.6 * p.diameter, rng)
    radius = p.diameter / 2 * np.clip(rng.normal(1, 0.1, len(centres)), 0.75, 1.25)
    from_centre = np.stack(
        [distance(shape, c, rng.uniform(1, 1.3), rng.uniform(0, np.pi)) for c in centres]
    )  # (roi, y, x)
    edge = radius[:, None, None]
    bodies, nuclei = soft(edge - from_centre), soft(rng.uniform(*NUCLEUS, edge.shape) * edge - from_centre)
    active = np.arange(count) < p.active
    median = np.where(active, p.brightness, p.silent_brightness)
    rim = 1 + median * rng.lognormal(0, 0.4, count)
    full = rng.random(count) < p.filled
    # a bright soma is mostly a full one: its indicator enters the nucleus
    inside = np.where(full, rim * rng.uniform(1, 1.4, count), rng.uniform(0.5, 0.9, count))
    light = rim[:, None, None] * bodies[:count] + (inside - rim)[:, None, None] * nuclei[:count]
    dark = 1 - 0.6 * nuclei[count:].sum(axis=0)
    table = {"y": ("roi", centres[:count, 0]), "x": ("roi", centres[:count, 1]), "active": ("roi", active)}
    rois = xr.Dataset(table).assign(radius=("roi", radius[:count], {"units": "pixel"}))
    return rois, light, bodies[:count], np.clip(dark, 0.3, 1)


def _courses(p: SomataParams, time: np.ndarray, tones: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return each cell's response, ΔF/F, shape (time, roi); silent ones stay 0."""
    rates = np.full((time.size, p.active), p.rate)
    during = ((time[:, None] >= tones) & (time[:, None] < tones + 1)).any(axis=1)
    rates[during] *= 3
    sizes = p.amplitude * rng.lognormal(0, 0.3, p.active)
    response = sizes * calcium(rng.poisson(rates / p.rate_hz).astype(float), p.rate_hz, 0.05, p.decay)
    return np.hstack([response, np.zeros((time.size, p.silent))])


def _still(p: SomataParams, masks: np.ndarray, dark: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return what surrounds the cells, share of the neuropil's mean, shape (y, x)."""
    shape = (p.height, p.width)
    around = neuropil(shape, p.diameter, p.texture, rng) * dark
    around += 0.8 * specks(shape, p.specks, p.diameter, rng)
    return around * vessels(shape, p.vessels, p.diameter, rng) * (1 - np.clip(masks.sum(axis=0), 0, 1))


def _movie(
    p: SomataParams,
    still: np.ndarray,
    light: np.ndarray,
    masks: np.ndarray,
    courses: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return counts, uint16, shape (time, y, x)."""
    blur = max(0.6, 0.06 * p.diameter)
    still, rest = gaussian_filter(still, blur), gaussian_filter(light.sum(axis=0), blur)
    moving = np.stack([gaussian_filter(one, blur) for one in light[: p.active]]) if p.active else light[:0]
    wave = p.waves * np.real(pink(len(courses), 1, rng))[:, 0]
    movie = np.empty((len(courses), p.height, p.width), np.uint16)
    for frame, values in enumerate(courses):
        expected = still * (1 + wave[frame]) + rest + np.tensordot(values[: p.active], moving, axes=1)
        movie[frame] = np.rint(rng.poisson(np.maximum(expected, 0) * p.photons) * (LEVEL / p.photons))
    return movie
