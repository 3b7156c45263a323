"""One-photon movies as miniscopes show them: blurred cells on a bright background that glows on its own, vessels, vignetting."""

from __future__ import annotations

import numpy as np
import xarray as xr
from pydantic import Field
from scipy.ndimage import gaussian_filter

from neurodyn.core.config import Params
from neurodyn.data.recording import Recording, entry
from neurodyn.simulate.base import Simulator
from neurodyn.simulate.signals import blob, calcium, pink, smooth_field
from neurodyn.simulate.tissue import distance, scatter, vessels


class MiniscopeParams(Params):
    """What lies in focus, what does not, and how bright it is."""

    cells: int = Field(default=30, ge=1, description="cells in focus")
    blurred: int = Field(default=10, ge=0, description="cells far out of focus, part of the background")
    diameter: float = Field(default=10.0, ge=4, description="median diameter of a cell at half its brightness, pixels")
    apart: float = Field(default=0.9, gt=0, description="least distance of two cells' centres, diameters")
    rate: float = Field(default=0.08, gt=0, description="transients of a cell per s")
    amplitude: float = Field(default=25.0, gt=0, description="median peak of a transient, counts")
    decay: float = Field(default=0.7, gt=0, description="decay time constant, s")
    background: float = Field(default=120.0, gt=0, description="median background, counts")
    glow: float = Field(default=0.06, ge=0, description="standard deviation of the background's course, share of it")
    noise: float = Field(
        default=4.0, gt=0, description="standard deviation of noise where the background is median, counts"
    )
    duration: float = Field(default=80.0, gt=0, description="length of the movie, s")
    rate_hz: float = Field(default=10.0, gt=0, description="frames per second, Hz")
    height: int = Field(default=128, ge=32, description="frame height, pixels")
    width: int = Field(default=128, ge=32, description="frame width, pixels")
    indicator: str = Field(default="GCaMP6f (simulated)", description="name written into the recording")
    seed: int = Field(default=0, ge=0, description="seed of every draw")


class Miniscope(Simulator):
    """Cells on a one-photon background.

    F(t, pixel) = V [B + Σₖ gₖ(t) Gₖ + Σ out of focus] + Σᵢ cᵢ(t) aᵢ + noise: V is vignetting and vessels, Gₖ are wide
    glows with slow courses, aᵢ Gaussian footprints with peak 1; noise grows with the square root of the light.
    """

    Params = MiniscopeParams
    params: MiniscopeParams

    def make(self) -> Recording:
        """Return the recording; `rois` has the centres in focus, `truth` their footprints and courses in counts."""
        p = self.params
        place_rng, tissue_rng, fire_rng, noise_rng = np.random.default_rng(p.seed).spawn(4)
        time = np.arange(round(p.duration * p.rate_hz)) / p.rate_hz
        count, shape = p.cells + p.blurred, (p.height, p.width)
        centres = scatter(count, shape, p.apart * p.diameter, 0.5 * p.diameter, place_rng)
        footprints = _footprints(p, centres[: p.cells], place_rng)
        courses = _courses(p, time.size, count, fire_rng)
        movie = _movie(p, centres[p.cells :], footprints, courses, tissue_rng, noise_rng)
        truth = {
            "footprint": (("roi", "y", "x"), footprints.astype(np.float32), {"units": "1"}),
            "calcium": (("time", "roi"), courses[:, : p.cells].astype(np.float32), {"units": "counts"}),
        }
        ends = np.arange(10.0, p.duration, 20.0)  # a tone that changes nothing
        return Recording.from_arrays(
            {"fluorescence": movie},
            rate_hz=p.rate_hz,
            session=f"miniscope-{p.seed}",
            indicator=p.indicator,
            stimulus={"start": ends - 1, "stop": ends},
            rois=xr.Dataset({"y": ("roi", centres[: p.cells, 0]), "x": ("roi", centres[: p.cells, 1])}),
            truth=xr.Dataset(truth).assign_coords(time=time),
            history=[entry("simulate miniscope", p.model_dump(mode="json"))],
        )


def _footprints(p: MiniscopeParams, centres: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return Gaussians, a little longer than wide, peak 1, shape (roi, y, x)."""
    shape, sigma = (p.height, p.width), p.diameter / 2.355 * np.clip(rng.normal(1, 0.1, len(centres)), 0.75, 1.25)
    away = [distance(shape, c, rng.uniform(1, 1.3), rng.uniform(0, np.pi)) for c in centres]
    return np.exp(-0.5 * (np.stack(away) / sigma[:, None, None]) ** 2)


def _courses(p: MiniscopeParams, frames: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return each cell's light above its rest, counts, shape (time, cell)."""
    sizes = p.amplitude * rng.lognormal(0, 0.4, count)
    spikes = rng.poisson(p.rate / p.rate_hz, (frames, count))
    return sizes * calcium(spikes.astype(float), p.rate_hz, 0.05, p.decay)


def _movie(
    p: MiniscopeParams,
    blurred: np.ndarray,
    footprints: np.ndarray,
    courses: np.ndarray,
    tissue: np.random.Generator,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return counts, uint16, shape (time, y, x)."""
    shape = (p.height, p.width)
    dark = vessels(shape, 2, p.diameter, tissue) * (0.35 + 0.65 * blob(shape, (0.5, 0.5), 0.5))
    still = p.background * np.exp(0.15 * smooth_field(shape, 0.1, tissue))
    glows = np.exp(np.stack([smooth_field(shape, width, tissue) for width in (0.4, 0.25, 0.15)]) * 0.5)
    glowing = p.background * p.glow / 3**0.5 * np.real(pink(len(courses), 3, tissue, 2.0))
    far = np.stack(
        [np.exp(-0.5 * (distance(shape, c) / (1.3 * p.diameter)) ** 2) for c in blurred] or [np.zeros(shape)]
    )
    fading = courses[:, footprints.shape[0] :] if len(blurred) else np.zeros((len(courses), 1))
    dark = gaussian_filter(dark, 1)
    movie = np.empty((len(courses), *shape), np.uint16)
    for frame, values in enumerate(courses):
        light = dark * (still + np.tensordot(glowing[frame], glows, 1) + np.tensordot(fading[frame], far, 1))
        light += np.tensordot(values[: len(footprints)], footprints, 1)
        spread = p.noise * np.sqrt(np.maximum(light, 1) / p.background)
        movie[frame] = np.rint(np.clip(light + spread * rng.standard_normal(shape), 0, 65535))
    return movie
