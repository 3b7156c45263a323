"""Two-photon sessions with drifting gratings: spikes, calcium, neuropil and baseline known."""

from __future__ import annotations

from typing import Self

import numpy as np
import xarray as xr
from pydantic import Field, model_validator

from neurodyn.core.config import Params
from neurodyn.data.recording import Recording, entry
from neurodyn.simulate.base import Simulator
from neurodyn.simulate.signals import calcium, pink, smooth_field

Arrays = dict[str, np.ndarray]


class TwoPhotonParams(Params):
    """What is imaged, shown and planted."""

    cells: int = Field(default=50, ge=1, description="number of cells")
    directions: int = Field(default=8, ge=1, description="drift directions, evenly spaced over 360 degrees")
    repeats: int = Field(default=8, ge=1, description="presentations of each direction")
    on: float = Field(default=2.0, gt=0, description="duration of a grating, s")
    off: float = Field(default=2.0, gt=0, description="blank before each grating, s")
    rate_hz: float = Field(default=30.0, gt=0, description="frames per second, Hz")
    untuned: float = Field(default=0.2, ge=0, le=1, description="share of cells that ignore the gratings")
    spontaneous_rate: float = Field(default=0.3, ge=0, description="spontaneous firing, spikes/s")
    evoked_rate: float = Field(default=6.0, ge=0, description="mean extra firing at the preferred direction, spikes/s")
    concentration: float = Field(default=3.0, ge=0, description="von Mises concentration of the tuning curve")
    opposite: float = Field(
        default=0.4, ge=0, le=1, description="response to the opposite direction, share of the preferred"
    )
    indicator: str = Field(default="GCaMP6f (simulated)", description="name written into the recording")
    rise: float = Field(default=0.05, ge=0, description="rise time constant, s; 0 gives an AR(1) response")
    decay: float = Field(default=0.4, gt=0, description="decay time constant, s")
    amplitude: float = Field(default=0.2, gt=0, description="peak of the response to one spike, ΔF/F")
    noise: float = Field(
        default=0.05, ge=0, description="standard deviation of noise in a cell's trace, fraction of F0"
    )
    baseline: float = Field(default=500.0, gt=0, description="median baseline fluorescence, counts")
    drift: float = Field(
        default=0.1, ge=0, lt=0.5, description="standard deviation of slow baseline drift, fraction of F0"
    )
    neuropil: float = Field(default=300.0, ge=0, description="mean neuropil fluorescence, counts")
    contamination: float = Field(default=0.7, ge=0, description="share r of the neuropil that enters a cell's trace")
    movie: bool = Field(default=False, description="make a movie instead of traces")
    height: int = Field(default=64, ge=16, description="frame height, pixels (movie)")
    width: int = Field(default=64, ge=16, description="frame width, pixels (movie)")
    radius: float = Field(default=2.5, gt=0, description="standard deviation of a cell's Gaussian disk, pixels (movie)")
    seed: int = Field(default=0, ge=0, description="seed of every draw")
    animal: int | None = Field(
        default=None,
        ge=0,
        description="seed of the cells, their tuning and where they lie: one for sessions of several days",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.rise >= self.decay:
            raise ValueError("rise must be shorter than decay")
        return self

    @property
    def frames(self) -> int:
        """Frames in the session; two blank seconds end it."""
        return round((self.directions * self.repeats * (self.on + self.off) + 2) * self.rate_hz)


def tuning(
    direction: np.ndarray, preferred: np.ndarray, concentration: float | np.ndarray, opposite: float | np.ndarray
) -> np.ndarray:
    """Return two-peaked von Mises tuning: exp(k (cos d - 1)) + o exp(k (cos(d - 180) - 1)), d from the preferred.

    Parameters
    ----------
    direction, preferred
        Degrees, shapes that broadcast.
    concentration
        k of the von Mises curve.
    opposite
        o, height of the peak at the opposite direction.
    """
    cosine = np.cos(np.deg2rad(direction - preferred))
    return np.exp(concentration * (cosine - 1)) + opposite * np.exp(concentration * (-cosine - 1))


class TwoPhoton(Simulator):
    """Direction-tuned cells: Poisson spikes, AR calcium, drifting baseline, neuropil contamination, noise.

    F = B(t) (1 + a c(t)) + r N(t) + noise, where c is AR(2) (AR(1) with rise 0) driven by Poisson spikes, B drifts
    slowly and N is the neuropil of the cell's surround. As a movie, cells are Gaussian disks on a neuropil background
    with Poisson noise, and `rois` has their centres.
    """

    Params = TwoPhotonParams
    params: TwoPhotonParams

    def make(self) -> Recording:
        """Return the recording; `truth` has spikes, calcium, rates, baselines and tuning."""
        p = self.params
        cell_rng, spike_rng, tissue_rng, noise_rng, place_rng = np.random.default_rng(p.seed).spawn(5)
        if p.animal is not None:
            cell_rng, _, _, _, place_rng = np.random.default_rng(p.animal).spawn(5)
        time = np.arange(p.frames) / p.rate_hz
        stimulus = _gratings(p, spike_rng)
        cells = _cells(p, cell_rng)
        truth = _activity(p, time, stimulus, cells, spike_rng) | _tissue(p, tissue_rng)
        rois, maps = None, {}
        if p.movie:
            rois, maps = _place(p, place_rng)
            neural = {"fluorescence": _movie(p, truth, maps, noise_rng)}
        else:
            neural = _traces(p, truth, noise_rng)
        return Recording.from_arrays(
            neural,
            rate_hz=p.rate_hz,
            session=f"two-photon-{p.seed}",
            indicator=p.indicator,
            stimulus=stimulus,
            rois=rois,
            truth=_truth(p, truth, cells, maps).assign_coords(time=time),
            history=[entry("simulate two_photon", p.model_dump(mode="json"))],
        )


def _gratings(p: TwoPhotonParams, rng: np.random.Generator) -> Arrays:
    angles = np.arange(p.directions) * 360.0 / p.directions
    direction = np.concatenate([rng.permutation(angles) for _ in range(p.repeats)])
    start = np.arange(direction.size) * (p.on + p.off) + p.off
    return {"start": start, "stop": start + p.on, "direction": direction}


def _cells(p: TwoPhotonParams, rng: np.random.Generator) -> Arrays:
    """Return preferred direction (degrees), evoked rate (spikes/s; 0 for untuned cells), tuned; all shape (roi,)."""
    tuned = rng.permutation(p.cells) >= round(p.untuned * p.cells)
    evoked = p.evoked_rate * rng.gamma(4.0, 0.25, p.cells) * tuned
    return {"preferred_direction": rng.uniform(0, 360, p.cells), "evoked_rate": evoked, "tuned": tuned}


def _activity(
    p: TwoPhotonParams, time: np.ndarray, stimulus: Arrays, cells: Arrays, rng: np.random.Generator
) -> Arrays:
    rates = np.full((time.size, p.cells), p.spontaneous_rate)
    for start, stop, direction in zip(stimulus["start"], stimulus["stop"], stimulus["direction"], strict=True):
        shown = slice(*np.searchsorted(time, [start - 1e-9, stop - 1e-9]))
        rates[shown] += cells["evoked_rate"] * tuning(
            direction, cells["preferred_direction"], p.concentration, p.opposite
        )
    spikes = rng.poisson(rates / p.rate_hz)
    return {"rates": rates, "spikes": spikes, "calcium": p.amplitude * calcium(spikes, p.rate_hz, p.rise, p.decay)}


def _tissue(p: TwoPhotonParams, rng: np.random.Generator) -> Arrays:
    """Return baseline and clean neuropil in counts, both shape (time, roi)."""
    level = p.baseline * np.exp(0.3 * rng.standard_normal(p.cells))
    drift = np.clip(p.drift * np.real(pink(p.frames, p.cells, rng, exponent=3.0)), -0.8, None)
    private = 0.0 if p.movie else 0.5  # a movie has one neuropil course on a map of its own
    shared = np.real(pink(p.frames, 1, rng) + private * pink(p.frames, p.cells, rng))
    return {"baseline": level * (1 + drift), "neuropil": p.neuropil * np.maximum(0.0, 1 + 0.1 * shared)}


def _traces(p: TwoPhotonParams, truth: Arrays, rng: np.random.Generator) -> dict[str, np.ndarray]:
    signal = truth["baseline"] * (1 + truth["calcium"]) + p.contamination * truth["neuropil"]
    sd = p.noise * truth["baseline"].mean(axis=0)
    # a surround averages many more pixels than a cell, hence the smaller noise
    surround = truth["neuropil"] + 0.2 * sd * rng.standard_normal(signal.shape)
    fluorescence = signal + sd * rng.standard_normal(signal.shape)
    return {"fluorescence": fluorescence.astype(np.float32), "neuropil": surround.astype(np.float32)}


def _place(p: TwoPhotonParams, rng: np.random.Generator) -> tuple[xr.Dataset, Arrays]:
    """Scatter cells as far apart as random candidates allow.

    Returns
    -------
    rois
        Centres, pixels.
    maps
        `footprint`, peak 1, shape (roi, y, x), and `background`, the neuropil's map, mean 1, shape (y, x).
    """
    margin = min(2 * p.radius, p.height / 4, p.width / 4)
    low, high = np.array([margin, margin]), np.array([p.height, p.width]) - 1 - margin
    centres = rng.uniform(low, high, (1, 2))
    while len(centres) < p.cells:
        candidates = rng.uniform(low, high, (64, 2))
        nearest = np.linalg.norm(candidates[:, None] - centres, axis=2).min(axis=1)
        centres = np.vstack([centres, candidates[nearest.argmax()]])
    y, x = np.arange(p.height)[:, None], np.arange(p.width)
    squares = [((y - cy) ** 2 + (x - cx) ** 2) / p.radius**2 for cy, cx in centres]
    footprints = np.exp(-0.5 * np.stack(squares)) * (np.stack(squares) < 9)
    rois = xr.Dataset({"y": ("roi", centres[:, 0]), "x": ("roi", centres[:, 1])})
    background = np.clip(1 + 0.2 * smooth_field((p.height, p.width), 0.1, rng), 0.2, None)
    maps = {"footprint": footprints, "background": background / background.mean()}
    return rois.assign(radius=("roi", np.full(p.cells, p.radius), {"units": "pixel"})), maps


def _movie(p: TwoPhotonParams, truth: Arrays, maps: Arrays, rng: np.random.Generator) -> np.ndarray:
    """Return counts, uint16, shape (time, y, x); one photon gives as many counts as `noise` asks of a cell's sum."""
    footprints = maps["footprint"]
    counts_per_photon = max(1e-3, p.noise**2 * p.baseline * float((footprints > 0.5).sum(axis=(1, 2)).mean()))
    cells = truth["baseline"] * (1 + truth["calcium"])
    movie = np.empty((p.frames, p.height, p.width), np.uint16)
    for begin in range(0, p.frames, 500):
        chunk = slice(begin, begin + 500)
        neuropil = truth["neuropil"][chunk, :1, None] * maps["background"]
        expected = np.tensordot(cells[chunk], footprints, axes=1) + neuropil
        photons = rng.poisson(expected / counts_per_photon)
        movie[chunk] = np.minimum(np.rint(photons * counts_per_photon), 65535)
    return movie


def _truth(p: TwoPhotonParams, truth: Arrays, cells: Arrays, maps: Arrays) -> xr.Dataset:
    units = {
        "spikes": "spikes/frame",
        "calcium": "ΔF/F",
        "rates": "spikes/s",
        "baseline": "counts",
        "neuropil": "counts",
        "preferred_direction": "degree",
        "evoked_rate": "spikes/s",
        "tuned": "bool",
    }
    small = {"spikes": np.uint16} | dict.fromkeys(("rates", "calcium", "baseline", "neuropil"), np.float32)
    values = {name: (("time", "roi"), array.astype(small[name])) for name, array in truth.items()}
    values |= {name: (("roi",), array) for name, array in cells.items()}
    data = xr.Dataset({name: (dims, array, {"units": units[name]}) for name, (dims, array) in values.items()})
    data["neuropil_r"] = 1.0 if p.movie else p.contamination
    layouts = {"footprint": ("roi", "y", "x"), "background": ("y", "x")}
    return data.assign({name: (layouts[name], array.astype(np.float32)) for name, array in maps.items()})
